package audit

import (
	"slices"

	"github.com/prytany/prytany/locks"
)

func (a *Account) acquire(c *locks.AcquireCommand) locks.Result {
	s, no := a.alive(c.Session)
	if s == nil && !c.Open {
		return no
	}
	slots := max(c.Slots, 1)
	if slots > 1 && (c.Shared || c.Campaign) || c.Shared && c.Campaign {
		return refuse(locks.Invalid)
	}
	l := a.lock(c.Lock)
	if l.inUse() && l.slots != slots {
		no := refuse(locks.LimitMismatch)
		no.Slots = l.slots
		return no
	}
	if h := l.holdOf(c.Session); h != nil {
		return a.reacquire(l, h, c)
	}
	free := !l.inUse() || len(l.queue) == 0 && l.admits(c.Shared)
	if !free && !c.Wait {
		return l.notHad()
	}
	if s == nil {
		if a.sessions[c.Session] != nil {
			return refuse(locks.SessionExpired)
		}
		s = a.begin(&session{id: c.Session, ttl: c.TTL, bound: c.Lock})
	}
	a.changed[l] = true
	if !l.inUse() {
		l.slots = slots
	}
	p := place{s, c.Request.ID, c.Shared, c.Campaign, c.Value, c.Note}
	if free {
		s.renewals++
		return granted(l, a.grant(l, p))
	}
	l.queue = append(l.queue, p)
	return locks.Result{Queued: true, Session: s.id, TTL: s.ttl, Position: len(l.queue)}
}

// reacquire is an acquire by who holds l: a renewal, a downgrade or an upgrade.
func (a *Account) reacquire(l *lock, h *hold, c *locks.AcquireCommand) locks.Result {
	switch {
	case h.elected && c.Shared:
		return refuse(locks.Invalid)
	case h.shared && !c.Shared && (len(l.holders) > 1 || l.delay != 0):
		return refuse(locks.UpgradeRefused)
	}
	h.session.renewals++
	a.changed[l] = true
	switch {
	case c.Shared && !h.shared: // those who wait to read join it
		h.shared = true
		l.changed = uint64(a.count)
		a.about(l, h, locks.EventLock)
		a.serve(l)
	case h.shared && !c.Shared: // a new grant
		e := h.event(l, locks.EventUnlock)
		e.Reason = locks.ReasonUpgraded
		a.event(e)
		a.grants[h.id(l)] = e.Reason
		h.fence, h.shared = uint64(a.count), false
		a.grants[h.id(l)] = ""
		if h.fence <= l.last {
			a.fail("I10", "lock %s: fence %d of an upgrade follows %d", l.name, h.fence, l.last)
		}
		l.last, l.changed = h.fence, h.fence
		l.answered()
		a.about(l, h, locks.EventLock)
	}
	if c.Campaign && (!h.elected || h.value != c.Value) {
		a.publish(l, h, c.Value)
	}
	return granted(l, h)
}

func (a *Account) acquireAll(c *locks.AcquireAllCommand) locks.Result {
	s, no := a.alive(c.Session)
	if s == nil {
		return no
	}
	var held, got []locks.HeldItem
	for i, name := range c.Locks {
		if slices.Contains(c.Locks[:i], name) {
			return refuse(locks.Invalid)
		}
		l := a.lock(name)
		own := l.holdOf(s.id)
		if own != nil && !own.shared && l.slots <= 1 || !l.inUse() {
			continue
		}
		no := l.notHad()
		held = append(held, locks.HeldItem{Name: name, Holder: no.Holder, Position: no.Position, Delayed: no.Delayed})
	}
	if len(held) > 0 {
		no := refuse(locks.LockHeld)
		no.Body = locks.EncodeHeld(held)
		return no
	}
	s.renewals++
	for _, name := range c.Locks {
		l := a.lock(name)
		h := l.holdOf(s.id)
		if h == nil {
			l.slots = 1
			h = a.grant(l, place{session: s, note: c.Note})
		}
		item := locks.HeldItem{Name: name}
		item.Holder.Session, item.Holder.Fence = s.id, h.fence
		got = append(got, item)
	}
	return locks.Result{Session: s.id, TTL: s.ttl, Body: locks.EncodeHeld(got)}
}

// cancel gives up a place. What was told "not acquired" is never granted: the
// answer to a request that has not come yet is laid down for it.
func (a *Account) cancel(c *locks.CancelCommand) locks.Result {
	l := a.lock(c.Lock)
	i := slices.IndexFunc(l.queue, func(p place) bool { return p.session.id == c.Session && p.request == c.Request.ID })
	if i >= 0 {
		p := l.queue[i]
		l.queue = slices.Delete(l.queue, i, i+1)
		no := l.notHad()
		no.Position = i + 1
		a.amend(c.Request.ID, no)
		a.serve(l)
		a.endBound(l, p.session, locks.ReasonEnded)
		return no
	}
	g := a.known(c.Request)
	if g != nil && g.Refused {
		return *g
	}
	s, no := a.alive(c.Session)
	if h := l.holdOf(c.Session); h != nil {
		return granted(l, h)
	}
	if g == nil {
		no = a.stamped(l.notHad())
		a.remember(c.Request, &no)
		return no
	}
	if s == nil {
		return no
	}
	return l.notHad()
}

func (a *Account) release(c *locks.ReleaseCommand) locks.Result {
	l := a.lock(c.Lock)
	if c.Force {
		return a.breakLock(l, c.Reason)
	}
	h, no := l.held(c.Fence, c.Session)
	if h == nil {
		return no
	}
	a.dismiss(l, h, locks.ReasonReleased)
	a.serve(l)
	return locks.Result{Session: h.session.id, Fence: c.Fence}
}

// breakLock ends all grants, or the lock-delay.
func (a *Account) breakLock(l *lock, why string) locks.Result {
	if len(l.holders) == 0 {
		if l.delay == 0 {
			return refuse(locks.StaleFence)
		}
		l.delay, l.delayFor = 0, 0
		a.serve(l)
		return locks.Result{}
	}
	first := l.holders[0]
	for _, h := range slices.Clone(l.holders) {
		a.dismiss(l, h, because(locks.ReasonForced, why))
	}
	a.serve(l)
	return locks.Result{Session: first.session.id, Fence: first.fence}
}

func because(reason, why string) string {
	if why == "" {
		return reason
	}
	return reason + ": " + why
}

// endDelay ends a lock-delay if the command is not void. It must not come
// before its time.
func (a *Account) endDelay(c *locks.DelayCommand) {
	l := a.lock(c.Lock)
	if l.delay == 0 || l.delay != c.Since || c.Ballot.Pack() != a.lead {
		return
	}
	if a.now() < l.delayUntil {
		a.early("the lock-delay of %s, of %v, ends at %v; it was to last until %v", l.name, l.delayFor, a.now(), l.delayUntil)
	}
	a.Ends.Delays++
	l.delay, l.delayFor = 0, 0
	a.serve(l)
}

func (a *Account) yield(c *locks.YieldCommand) locks.Result {
	l := a.lock(c.Lock)
	if len(l.holders) == 0 {
		return refuse(locks.LockUnknown)
	}
	a.changed[l] = true
	again := l.within != 0 && l.newest() < l.since // all holders were asked before: they get no more time
	if l.within == 0 || c.Within > 0 && (c.Within < l.within || !again) {
		until := a.now() + a.least(c.Within)
		if again {
			until = min(until, l.yieldUntil)
		}
		l.since, l.within, l.why, l.yieldUntil = uint64(a.count), c.Within, c.Reason, until
	}
	for _, h := range l.holders {
		e := h.event(l, locks.EventYield)
		e.Within, e.Reason = c.Within, c.Reason
		a.event(e)
	}
	return locks.Result{Session: l.holders[0].session.id, Fence: l.holders[0].fence}
}

// endYield ends the grants from before a request to yield, in full time. Later
// ones stay.
func (a *Account) endYield(c *locks.EndYieldCommand) {
	l := a.lock(c.Lock)
	if l.since == 0 || l.since != c.Since || l.within == 0 || c.Ballot.Pack() != a.lead {
		return
	}
	if a.now() < l.yieldUntil {
		a.early("the holders of %s, who had %v, are dismissed at %v; they had until %v", l.name, l.within, a.now(), l.yieldUntil)
	}
	a.Ends.Yields++
	why := because(locks.ReasonYielded, l.why)
	for _, h := range slices.Clone(l.holders) {
		if h.fence < c.Since {
			a.dismiss(l, h, why)
		}
	}
	a.serve(l)
}

// publish makes h the leadership of its election, with value.
func (a *Account) publish(l *lock, h *hold, value string) {
	h.elected, h.value = true, value
	l.changed = uint64(a.count)
	a.changed[l] = true
	a.about(l, h, locks.EventLeader)
}

// leader returns the grant of who leads, nil if nobody does.
func (l *lock) leader() *hold {
	if len(l.holders) == 1 && l.holders[0].elected {
		return l.holders[0]
	}
	return nil
}

// notInTerm refuses what only the leader of another term could do.
func (l *lock) notInTerm() locks.Result {
	no := refuse(locks.StaleFence)
	no.Current = l.newest()
	return no
}

func (a *Account) proclaim(c *locks.ProclaimCommand) locks.Result {
	l := a.lock(c.Lock)
	h := l.leader()
	if h == nil || h.fence != c.Fence {
		return l.notInTerm()
	}
	a.publish(l, h, c.Value)
	return granted(l, h)
}

// transfer ends a term and begins that of a candidate, which then is the only
// leader.
func (a *Account) transfer(c *locks.TransferCommand) locks.Result {
	l := a.lock(c.Lock)
	leader := l.leader()
	i := slices.IndexFunc(l.queue, func(p place) bool { return p.campaign && p.session.id == c.To })
	switch {
	case l.slots == 0: // it was never used
		return refuse(locks.NotCandidate)
	case c.Fence != 0 && (leader == nil || leader.fence != c.Fence):
		return l.notInTerm()
	case leader != nil && leader.session.id == c.To:
		return granted(l, leader)
	case i < 0:
		return refuse(locks.NotCandidate)
	case leader == nil && len(l.holders) > 0:
		no := refuse(locks.NotCandidate)
		no.Current = l.newest()
		return no
	case l.delay != 0:
		return l.notHad()
	}
	if leader != nil {
		a.endGrant(l, leader, locks.ReasonTransferred)
	}
	h := a.serveAt(l, i)
	if leader != nil {
		a.endBound(l, leader.session, locks.ReasonTransferred)
	}
	return granted(l, h)
}
