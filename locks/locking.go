package locks

import (
	"slices"

	"github.com/prytany/prytany/locks/internal/command"
)

// applyAcquire grants a free lock, renews the grant of a holder, or gives a
// place at the end of the queue. A lock is free only if nobody waits for it.
func (m *Machine) applyAcquire(c *AcquireCommand) Result {
	s, no := m.alive(c.Session)
	if s == nil && !c.Open {
		return no
	}
	l, known := m.locks.Get(c.Lock)
	if s != nil && known && l.holder.session == s {
		s.renewals++
		m.lessor.extend(s, m.now)
		return granted(l)
	}
	if known && l.idle == 0 && !c.Wait {
		return m.heldBy(l)
	}
	if no, ok := m.mayQueue(l, s, c); ok {
		return no
	}
	if s == nil {
		s, no = m.open(&session{id: c.Session, ttl: c.TTL, bound: c.Lock})
		if s == nil {
			return no
		}
	}
	l = m.lock(c.Lock)
	if l.idle != 0 {
		s.renewals++
		m.lessor.extend(s, m.now)
		m.grant(l, s, c.Note)
		m.settle(l)
		return granted(l)
	}
	i := slices.IndexFunc(l.waiters, func(w waiter) bool { return w.is(s.id, c.Request) })
	if i < 0 {
		i = len(l.waiters)
		l.waiters = append(l.waiters, waiter{s, c.Request, c.Note, m.revision})
		s.waits[l.name]++
		m.bytes += l.waiters[i].bytes()
		m.settle(l)
	}
	return Result{Queued: true, Session: s.id, TTL: s.ttl, Position: i + 1}
}

// mayQueue refuses an acquire by c that would break a bound. l and s are nil
// if they do not exist.
func (m *Machine) mayQueue(l *lock, s *session, c *AcquireCommand) (Result, bool) {
	if l != nil && len(l.waiters) >= m.bounds.waiters {
		return refused(Overloaded, "the lock has as many waiters as it may"), true
	}
	if s != nil && s.load() >= m.bounds.perSession {
		return refused(Overloaded, "the session has as many locks and entries as it may"), true
	}
	if l == nil || l.idle != 0 {
		if no, ok := m.crowded(); ok {
			return no, true
		}
	}
	return m.full(len(c.Lock) + len(c.Note) + len(c.Request.ID))
}

// granted is the answer to whoever holds l.
func granted(l *lock) Result {
	return Result{Session: l.holder.session.id, TTL: l.holder.session.ttl, Fence: l.holder.fence}
}

// heldBy is the answer to whoever does not get l.
func (m *Machine) heldBy(l *lock) Result {
	r := refused(LockHeld, "")
	r.Position = len(l.waiters) + 1
	if s := l.holder.session; s != nil {
		r.Holder = command.Holder{Session: s.id, Owner: s.owner(), Fence: l.holder.fence, Note: l.holder.note}
	} else {
		r.Delayed = l.delay != 0
	}
	return r
}

// grant gives the free lock l to s. Its fence is the revision of this command:
// no lock is granted twice in one command, so no fence of a lock comes twice.
func (m *Machine) grant(l *lock, s *session, note string) {
	l.holder = holder{s, m.revision, note, m.now}
	l.changed = m.revision
	m.bytes += int64(len(note))
	s.holds[l.name] = l
}

// next grants l, which has no holder, to the first in its queue. Other places
// of the same session are served with it: it holds the lock now.
func (m *Machine) next(l *lock) {
	defer m.settle(l)
	if len(l.waiters) == 0 || l.delay != 0 {
		return
	}
	first := l.waiters[0]
	m.grant(l, first.session, first.note)
	kept := l.waiters[:0]
	for _, w := range l.waiters {
		if w.session != first.session {
			kept = append(kept, w)
			continue
		}
		m.bytes -= w.bytes()
		m.amend(w.request, granted(l))
		m.news.Touch(placeTopic(l.name, w.session.id, w.request))
	}
	clear(l.waiters[len(kept):])
	l.waiters = kept
	delete(first.session.waits, l.name)
}

// free ends the grant of l and passes l on, unless a lock-delay comes first.
func (m *Machine) free(l *lock, reason string) {
	s := l.holder.session
	p := Past{Session: s.id, Owner: s.owner(), Fence: l.holder.fence, Ended: m.revision, Reason: reason}
	l.past = slices.Insert(l.past, 0, p)
	m.bytes += pastBytes(p) - int64(len(l.holder.note))
	if n := m.bounds.history; len(l.past) > n {
		m.bytes -= pastBytes(l.past[n])
		l.past = l.past[:n]
	}
	l.holder = holder{}
	l.changed = m.revision
	delete(s.holds, l.name)
	if reason == reasonExpired && s.lockDelay > 0 {
		l.delay, l.delayFor = p.Fence, s.lockDelay
		m.delayed[l.name] = l
		m.lessor.delay(l, m.now)
	}
	m.next(l)
}

// undelay ends l's lock-delay.
func (m *Machine) undelay(l *lock) {
	l.delay, l.delayFor = 0, 0
	delete(m.delayed, l.name)
	m.lessor.undelayed(l)
	m.next(l)
}

func (m *Machine) applyDelay(c *DelayCommand) {
	if l, ok := m.locks.Get(c.Lock); ok && l.delay != 0 && l.delay == c.Fence {
		m.undelay(l)
	}
}

// applyCancel gives up a place. If the acquire was granted meanwhile, that
// stands; if it has not been applied yet, the answer is laid down for it now.
func (m *Machine) applyCancel(c *CancelCommand) Result {
	t := m.table(c.Request)
	l, ok := m.locks.Get(c.Lock)
	if !ok {
		l = &lock{name: c.Lock}
	}
	i := slices.IndexFunc(l.waiters, func(w waiter) bool { return w.is(c.Session, c.Request) })
	if i < 0 {
		if s := l.holder.session; s != nil && s.id == c.Session {
			return granted(l)
		}
		a := t.Get(c.Request.ID)
		switch {
		case a == nil:
			no := m.heldBy(l)
			no.Revision = m.revision
			if c.Request.ID != "" {
				m.remember(c.Request, no)
			}
			return no
		case a.Result.Refused:
			return a.Result
		}
		if s, no := m.alive(c.Session); s == nil {
			return no
		}
		return m.heldBy(l) // it was granted, and taken away again
	}
	w := l.waiters[i]
	l.waiters = slices.Delete(l.waiters, i, i+1)
	m.bytes -= w.bytes()
	if w.session.waits[l.name]--; w.session.waits[l.name] == 0 {
		delete(w.session.waits, l.name)
	}
	no := m.heldBy(l)
	no.Position = i + 1
	m.amend(w.request, no)
	m.news.Touch(placeTopic(l.name, w.session.id, w.request))
	m.settle(l)
	if w.session.bound == l.name {
		m.end(w.session, reasonEnded)
	}
	return no
}

func (m *Machine) applyRelease(c *ReleaseCommand) Result {
	l, ok := m.locks.Get(c.Lock)
	if !ok {
		return refused(StaleFence, "nobody holds the lock")
	}
	s := l.holder.session
	if c.Force {
		if s == nil && l.delay != 0 {
			m.undelay(l)
			return Result{}
		}
	} else if s == nil || l.holder.fence != c.Fence {
		r := refused(StaleFence, "the grant is over")
		r.Current = l.holder.fence
		return r
	}
	if s == nil {
		return refused(StaleFence, "nobody holds the lock")
	}
	reason := reasonReleased
	if c.Force {
		reason = reasonForced
		if c.Reason != "" {
			reason += ": " + c.Reason
		}
	}
	fence := l.holder.fence
	m.free(l, reason)
	if s.bound == l.name && s.holds[l.name] == nil && s.waits[l.name] == 0 {
		m.end(s, reason)
	}
	return Result{Session: s.id, Fence: fence}
}
