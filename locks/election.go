package locks

import "slices"

// publish makes g the leadership of the election of its lock's name, and value
// what the leader tells everybody.
func (m *Machine) publish(g *grant, value string) {
	m.keep(g.lock)
	m.bytes += int64(len(value) - len(g.value))
	g.elected, g.value = true, value
	g.lock.changed = m.revision
	m.event(g.event(EventLeader))
	m.settle(g.lock)
}

// leader returns the grant of whoever leads the election of l's name, nil if
// nobody does.
func (l *lock) leader() *grant {
	if len(l.holders) == 0 || !l.holders[0].elected {
		return nil
	}
	return l.holders[0]
}

// notInTerm refuses what only the leader in the term of fence may do.
func (l *lock) notInTerm() Result {
	no := refused(StaleFence, "the term is over")
	no.Current = l.newest()
	switch {
	case no.Current == 0:
		no.Detail = "nobody leads"
	case l.leader() == nil:
		no.Detail = "the lock is held by somebody who did not campaign"
	}
	return no
}

func (m *Machine) applyProclaim(c *ProclaimCommand) Result {
	l, ok := m.locks.Get(c.Lock)
	if !ok {
		return refused(StaleFence, "nobody leads")
	}
	g := l.leader()
	if g == nil || g.fence != c.Fence {
		return l.notInTerm()
	}
	if no, ok := m.full(len(c.Value)); ok {
		return no
	}
	m.publish(g, c.Value)
	return granted(g)
}

// applyTransfer hands leadership to a candidate, out of its turn and in this one
// command: there is a new term, and no time without a leader.
func (m *Machine) applyTransfer(c *TransferCommand) Result {
	l, ok := m.locks.Get(c.Lock)
	if !ok {
		return refused(NotCandidate, "there is no such election")
	}
	old := l.leader()
	switch {
	case c.Fence != 0 && (old == nil || old.fence != c.Fence):
		return l.notInTerm()
	case old != nil && old.session.id == c.To:
		return granted(old)
	}
	i := slices.IndexFunc(l.waiters, func(w waiter) bool { return w.campaign && w.session.id == c.To })
	switch {
	case i < 0:
		return refused(NotCandidate, "the session is no candidate")
	case old == nil && len(l.holders) > 0:
		no := refused(NotCandidate, "the lock is held by somebody who did not campaign")
		no.Current = l.newest()
		return no
	case l.delay != 0:
		return m.heldBy(l)
	}
	if old != nil {
		m.free(old, ReasonTransferred)
	}
	w := l.waiters[i]
	g := m.grant(l, &w)
	m.leaveHolders(l)
	if old != nil {
		m.endBound(old, ReasonTransferred)
	}
	m.settle(l)
	return granted(g)
}
