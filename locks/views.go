package locks

import "time"

// What follows copies state for readers. Values of entries are shared: they
// never change.

// viewSession returns s without what it holds and waits for.
func (m *Machine) viewSession(s *session) Session {
	return Session{
		ID: s.id, Name: s.name, TTL: s.ttl, LockDelay: s.lockDelay,
		ExpiresIn: -1, Created: s.created, Bound: s.bound,
	}
}

func (m *Machine) viewLock(l *lock, now time.Duration) Lock {
	v := Lock{Name: l.name, Changed: l.changed}
	if h := l.holder; h.session != nil {
		v.Holder = &Holder{
			Session: h.session.id, Owner: h.session.owner(), Fence: h.fence, Note: h.note,
			Since: h.fence, Held: -1, ExpiresIn: -1,
		}
		if h.seen >= 0 && now >= h.seen {
			v.Holder.Held = now - h.seen
		}
	}
	for _, w := range l.waiters {
		v.Waiters = append(v.Waiters, Waiter{w.session.id, w.session.owner(), w.since})
	}
	v.Past = append(v.Past, l.past...)
	if l.delay != 0 {
		v.LockDelayRemaining = -1
	}
	return v
}
