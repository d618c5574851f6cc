package locks

import (
	"slices"
	"time"

	"github.com/prytany/prytany/internal/mutant"
	"github.com/prytany/prytany/locks/internal/timers"
)

// grant gives l to w. The fence is the revision of this command: a session is
// granted a lock at most once in a command, and no later grant has a fence as
// low. Sessions that are granted a lock together share the number.
func (m *Machine) grant(l *lock, w *waiter) *grant {
	m.keep(l)
	g := &grant{
		lock: l, session: w.session, fence: m.revision, shared: w.shared,
		elected: w.campaign, value: w.value, note: w.note, seen: m.now,
	}
	if mutant.On(mutant.OwnCounter) {
		g.fence = uint64(m.grants) + 1
	}
	if mutant.On(mutant.FenceReused) && len(l.past) > 0 && l.past[0].Session == w.session.id {
		g.fence = l.past[0].Fence
	}
	l.holders = append(l.holders, g)
	l.changed = m.revision
	m.bytes += g.bytes()
	m.grants++
	w.session.holds[l.name] = g
	if g.elected {
		m.event(g.event(EventLeader))
	} else {
		m.event(g.event(EventLock))
	}
	return g
}

// queue gives w a place at the end of l's queue.
func (m *Machine) queue(l *lock, w waiter) {
	m.keep(l)
	l.waiters = append(l.waiters, w)
	w.session.waits[l.name]++
	m.bytes += w.bytes()
	m.places++
}

// left takes note of a place that is no longer in l's queue, and answers the
// request that it was for.
func (m *Machine) left(l *lock, w *waiter, answer Result) {
	if w.session.waits[l.name]--; w.session.waits[l.name] == 0 {
		delete(w.session.waits, l.name)
	}
	m.bytes -= w.bytes()
	m.places--
	m.amend(w.request, answer)
	m.news.Touch(placeTopic(l.name, w.session.id, w.request), m.revision)
}

// serve grants l to those who are next in its queue, as long as it admits them,
// and settles it.
func (m *Machine) serve(l *lock) {
	m.keep(l)
	more := false // places of those who hold l now are left in the queue
	for len(l.waiters) > 0 {
		w := l.waiters[0]
		g := w.session.holds[l.name]
		if g == nil && (len(l.holders) >= m.bounds.holders || !l.admits(w.shared)) {
			break
		}
		l.waiters[0] = waiter{}
		l.waiters = l.waiters[1:]
		if g == nil {
			g = m.grant(l, &w)
		}
		m.left(l, &w, m.placeOf(g, &w))
		more = more || w.session.waits[l.name] > 0
	}
	if more {
		m.leaveHolders(l)
	}
	m.settle(l)
}

// leaveHolders takes the places of those who hold l out of its queue.
func (m *Machine) leaveHolders(l *lock) {
	m.leave(l, func(w *waiter) (Result, bool) {
		g := w.session.holds[l.name]
		if g == nil {
			return Result{}, false
		}
		return m.placeOf(g, w), true
	})
}

// placeOf is the answer to the request for the place w, whose session has g now,
// by this place or by another. It is as if it asked once more, but nothing is
// taken from what the other request was promised.
func (m *Machine) placeOf(g *grant, w *waiter) Result {
	if w.shared != g.shared {
		return refused(UpgradeRefused, "the session got the lock in another mode meanwhile")
	}
	if w.campaign && (!g.elected || g.value != w.value) {
		m.publish(g, w.value)
	}
	return granted(g)
}

// leave takes the places out of l's queue to which answer has one.
func (m *Machine) leave(l *lock, answer func(*waiter) (Result, bool)) {
	m.keep(l)
	kept := l.waiters[:0]
	for _, w := range l.waiters {
		if a, ok := answer(&w); ok {
			m.left(l, &w, a)
		} else {
			kept = append(kept, w)
		}
	}
	clear(l.waiters[len(kept):])
	l.waiters = kept
}

// free ends g. The lock is then to be served.
func (m *Machine) free(g *grant, reason string) {
	l, s := g.lock, g.session
	m.keep(l)
	if l.holders[0] == g { // so it is for each when all end, oldest first
		l.holders[0] = nil
		l.holders = l.holders[1:]
	} else {
		l.holders = slices.DeleteFunc(l.holders, func(o *grant) bool { return o == g })
	}
	l.changed = m.revision
	m.bytes -= g.bytes()
	m.grants--
	m.noteEnd(l, g, reason)
	delete(s.holds, l.name)
	if reason == ReasonExpired && s.lockDelay > 0 {
		l.delay, l.delayFor = m.revision, max(l.delayFor, s.lockDelay)
		m.delayed[l.name] = l
		m.lessor.delay(l, m.now)
	}
	if y := l.yield.since; y != 0 && !slices.ContainsFunc(l.holders, func(o *grant) bool { return o.fence < y }) {
		m.unyield(l)
	}
}

// noteEnd notes in l's memory that g, with its present fence, has ended.
func (m *Machine) noteEnd(l *lock, g *grant, reason string) {
	m.keep(l)
	p := Past{Session: g.session.id, Owner: g.session.owner(), Fence: g.fence, Ended: m.revision, Reason: reason}
	l.past = slices.Insert(l.past, 0, p)
	m.bytes += pastBytes(p)
	for len(l.past) > m.bounds.history {
		last := len(l.past) - 1
		m.bytes -= pastBytes(l.past[last])
		l.past[last] = Past{}
		l.past = l.past[:last]
	}
	e := g.event(EventUnlock)
	e.Reason = reason
	m.event(e)
}

// dismiss ends g for another reason than its session's end, and with it a
// session that lives for this lock alone. The lock is then to be served.
func (m *Machine) dismiss(g *grant, reason string) {
	m.free(g, reason)
	m.endBound(g, reason)
}

// endBound ends the session of g, which is over, if it lived for g's lock alone.
func (m *Machine) endBound(g *grant, reason string) {
	if s := g.session; s.bound == g.lock.name && s.waits[s.bound] == 0 {
		m.end(s, reason)
	}
}

// undelay ends l's lock-delay.
func (m *Machine) undelay(l *lock) {
	m.keep(l)
	l.delay, l.delayFor = 0, 0
	delete(m.delayed, l.name)
	m.lessor.timers.Remove(timers.Key{Kind: timerDelay, Name: l.name})
	m.serve(l)
}

func (m *Machine) applyDelay(c *DelayCommand) {
	if l, ok := m.locks.Get(c.Lock); ok && l.delay != 0 && l.delay == c.Since && c.Ballot.Pack() == m.lead {
		m.undelay(l)
	}
}

// applyCancel gives up a place. If the acquire was granted meanwhile, that
// stands; if it has not been applied yet, the answer is laid down for it now.
func (m *Machine) applyCancel(c *CancelCommand) Result {
	l, ok := m.locks.Get(c.Lock)
	if !ok {
		l = &lock{name: c.Lock}
	}
	i := slices.IndexFunc(l.waiters, func(w waiter) bool { return w.is(c.Session, c.Request) })
	if i < 0 {
		return m.cancelLate(c, l)
	}
	m.keep(l)
	w := l.waiters[i]
	l.waiters = slices.Delete(l.waiters, i, i+1)
	no := m.heldBy(l)
	no.Position = i + 1
	m.left(l, &w, no)
	if w.session.bound == l.name && w.session.waits[l.name] == 0 {
		m.end(w.session, ReasonEnded)
	}
	m.serve(l) // whoever stood behind may come along with those who hold it
	return no
}

// cancelLate is applyCancel for a place that is not, or not yet, in l's queue.
func (m *Machine) cancelLate(c *CancelCommand, l *lock) Result {
	a := m.table(c.Request).Get(c.Request.ID)
	if a != nil && a.Result.Refused {
		return a.Result
	}
	s, no := m.alive(c.Session)
	if s != nil && s.holds[c.Lock] != nil {
		return granted(s.holds[c.Lock])
	}
	switch {
	case a == nil:
		no = m.heldBy(l)
		no.Revision = m.revision
		if c.Request.ID != "" {
			m.remember(c.Request, no)
		}
	case s != nil: // it was granted, and taken away again
		no = m.heldBy(l)
	}
	return no
}

func (m *Machine) applyRelease(c *ReleaseCommand) Result {
	l, ok := m.locks.Get(c.Lock)
	switch {
	case !ok:
		return refused(StaleFence, "nobody holds the lock")
	case c.Force:
		return m.breakLock(l, c.Reason)
	}
	g, no := l.held(c.Fence, c.Session)
	if g == nil {
		return no
	}
	fence, id := g.fence, g.session.id
	m.dismiss(g, ReasonReleased)
	m.serve(l)
	return Result{Session: id, Fence: fence}
}

// held returns the grant of fence, or of all with that fence the one of session
// if that is not "".
func (l *lock) held(fence uint64, session string) (*grant, Result) {
	var found []*grant
	for _, g := range l.holders {
		if (g.fence == fence || mutant.On(mutant.AnyFence)) && (session == "" || g.session.id == session) {
			found = append(found, g)
		}
	}
	switch len(found) {
	case 0:
		no := refused(StaleFence, "the grant is over")
		if len(l.holders) == 0 {
			no.Detail = "nobody holds the lock"
		} else {
			no.Current = l.newest()
		}
		return nil, no
	case 1:
		return found[0], Result{}
	}
	return nil, refused(SessionNeeded, "several sessions hold the lock with this fence")
}

// current reports whether a grant of fence is current.
func (l *lock) current(fence uint64) bool {
	return slices.ContainsFunc(l.holders, func(g *grant) bool { return g.fence == fence })
}

// breakLock ends all grants of l, or its lock-delay if that is all there is.
func (m *Machine) breakLock(l *lock, why string) Result {
	if len(l.holders) == 0 {
		if l.delay != 0 {
			m.undelay(l)
			return Result{}
		}
		return refused(StaleFence, "nobody holds the lock")
	}
	r := Result{Session: l.holders[0].session.id, Fence: l.holders[0].fence}
	for _, g := range slices.Clone(l.holders) {
		m.dismiss(g, because(ReasonForced, why))
	}
	m.serve(l)
	return r
}

func because(reason, why string) string {
	if why == "" {
		return reason
	}
	return reason + ": " + why
}

// applyYield asks the holders of a lock to let go.
func (m *Machine) applyYield(c *YieldCommand) Result {
	l, ok := m.locks.Get(c.Lock)
	if !ok || len(l.holders) == 0 {
		return refused(LockUnknown, "nobody holds the lock")
	}
	if no, ok := m.full(len(c.Reason)); ok {
		return no
	}
	if l.sooner(c.Within) {
		m.keep(l)
		if l.newest() > l.yield.since {
			m.unyield(l) // there is one who is asked for the first time
		}
		m.bytes += int64(len(c.Reason) - len(l.yield.reason))
		l.yield = yield{m.revision, c.Within, c.Reason}
		if c.Within > 0 {
			m.yielding[l.name] = l
			m.lessor.yield(l, m.now)
		}
	}
	for _, g := range l.holders {
		e := g.event(EventYield)
		e.Within, e.Reason = c.Within, c.Reason
		m.event(e)
	}
	m.settle(l)
	return Result{Session: l.holders[0].session.id, Fence: l.holders[0].fence}
}

// sooner reports whether a request to yield within the given time replaces the
// one there is, if any. Whoever asks again and again gives nobody more time.
func (l *lock) sooner(within time.Duration) bool {
	y := l.yield
	return y.within == 0 || within > 0 && (within < y.within || l.newest() > y.since)
}

func (m *Machine) unyield(l *lock) {
	m.keep(l)
	m.bytes -= int64(len(l.yield.reason))
	l.yield = yield{}
	delete(m.yielding, l.name)
	m.lessor.timers.Remove(timers.Key{Kind: timerYield, Name: l.name})
}

func (m *Machine) applyEndYield(c *EndYieldCommand) {
	l, ok := m.locks.Get(c.Lock)
	if !ok || l.yield.since == 0 || l.yield.since != c.Since || l.yield.within == 0 || c.Ballot.Pack() != m.lead {
		return
	}
	since, why := l.yield.since, l.yield.reason
	for _, g := range slices.Clone(l.holders) {
		if g.fence < since {
			m.dismiss(g, because(ReasonYielded, why))
		}
	}
	m.serve(l)
}

// timeSince is how long this node has seen g held, -1 if it did not see the
// grant.
func (g *grant) timeSince(now time.Duration) time.Duration {
	if g.seen < 0 || now < g.seen {
		return -1
	}
	return now - g.seen
}
