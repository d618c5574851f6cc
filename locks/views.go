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

// reach returns a channel that is closed once revision is applied here. Call
// cancel when done.
func (m *Machine) reach(revision uint64) (reached <-chan struct{}, cancel func()) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.revision >= revision {
		done := make(chan struct{})
		close(done)
		return done, func() {}
	}
	return m.news.Await(revision)
}

// A place is what became of a request in a lock's queue.
type place struct {
	fence  uint64          // it was granted, and still is
	news   <-chan struct{} // it still waits: closed when that ends
	cancel func()          // with news
	gone   Result          // else: why it ended
	meta   Meta
}

// place looks up the place that r of session got in the queue of a lock.
func (m *Machine) place(name, session string, r Request) place {
	m.mu.RLock()
	defer m.mu.RUnlock()
	p := place{meta: Meta{Revision: m.revision, Slot: uint64(m.applied)}}
	l, ok := m.locks.Get(name)
	if !ok {
		l = &lock{name: name}
	}
	if s := l.holder.session; s != nil && s.id == session {
		p.fence = l.holder.fence
		p.meta.Revision = p.fence
		return p
	}
	for i := range l.waiters {
		if l.waiters[i].is(session, r) {
			p.news, p.cancel = m.news.Subscribe(placeTopic(name, session, r))
			return p
		}
	}
	if s, no := m.alive(session); s == nil {
		p.gone = no
	} else {
		p.gone = m.heldBy(l)
	}
	return p
}

// held returns how long this node has seen the grant of fence, -1 if unknown.
func (m *Machine) held(name string, fence uint64, now time.Duration) time.Duration {
	m.mu.RLock()
	defer m.mu.RUnlock()
	l, ok := m.locks.Get(name)
	if !ok || l.holder.fence != fence || l.holder.seen < 0 || now < l.holder.seen {
		return -1
	}
	return now - l.holder.seen
}
