package locks

import (
	"fmt"
	"slices"

	"github.com/prytany/prytany/locks/internal/ordered"
	"github.com/prytany/prytany/locks/internal/wire"
)

// snapshotVersion is the first byte of a snapshot. 1 was that of an early
// version without semaphores, elections and events.
const snapshotVersion = 2

// encode returns the state as a snapshot has it.
func (m *Machine) encode() ([]byte, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.unsupported != nil {
		return nil, m.unsupported
	}
	c := wire.Coder{Buf: m.room()}
	m.state.code(&c, m.state.codeSession, m.state.codeLock)
	return wire.Seal(c.Buf), nil
}

// room returns the beginning of a snapshot, with room for the rest.
func (s *state) room() []byte {
	records := s.sessions.Len() + s.locks.Len() + s.entries.Len() + s.fences.Len() + s.grants + s.places +
		s.ended.Len() + s.answers.Len() + s.own.Len()
	size := s.bytes + s.history.Size() + s.answers.Size() + s.own.Size() + 96*int64(records) + 1024
	return append(make([]byte, 0, size), snapshotVersion)
}

// Restore decodes a snapshot and returns what makes it the state.
func (m *Machine) Restore(data []byte) (install func(), err error) {
	body, err := wire.Unseal(data, snapshotVersion)
	if err != nil {
		return nil, fmt.Errorf("locks: restore: %w", err)
	}
	fresh := &Machine{bounds: m.bounds}
	fresh.reset(state{})
	c := wire.Coder{Buf: body, Reading: true}
	fresh.state.code(&c, fresh.codeSession, fresh.codeLock)
	if err := c.End(); err != nil {
		return nil, fmt.Errorf("locks: restore: %w", err)
	}
	return func() { m.install(fresh.state) }, nil
}

// install makes s the state.
func (m *Machine) install(s state) {
	m.mu.Lock()
	next := m.revision + 1
	m.state = s
	m.lessor = lessor{}
	revision := m.revision
	m.news.TouchAll(next) // no view may see the new state and silent bells
	m.news.prefixes.TouchAll(next)
	m.mu.Unlock()
	m.news.Reached(revision)
}

// A coder writes or reads one record, and returns its name.
type coder[R any] func(*wire.Coder, R) (R, string)

// code writes s, or reads it into an empty state together with what is
// derived. What refers to something that is not there is malformed.
func (s *state) code(c *wire.Coder, codeSession coder[*session], codeLock coder[*lock]) {
	c.Uint(&s.revision)
	c.Uint(&s.lead)
	c.Uint(&s.changed)
	ordered.Wire(c, &s.sessions, codeSession)
	ordered.Wire(c, &s.locks, codeLock)
	ordered.Wire(c, &s.entries, s.codeEntry)
	s.ended.Wire(c)
	if c.Reading {
		for id := range s.sessions.From("") {
			if _, over := s.ended.Reason(id); over {
				c.Fail()
			}
		}
	}
	s.answers.Wire(c, s.revision)
	s.own.Wire(c, s.revision)
	ordered.WirePairs(c, &s.fences, (*wire.Coder).Uint)
	if c.Reading {
		for resource := range s.fences.From("") {
			s.bytes += int64(len(resource))
		}
	}
	s.history.Wire(c, s.revision, func(key string) *Entry {
		e, _ := s.entries.Get(key)
		return e
	})
}

func (s *state) codeSession(c *wire.Coder, x *session) (*session, string) {
	if c.Reading {
		x = &session{holds: map[string]*grant{}, waits: map[string]int{}, keys: map[string]bool{}}
	}
	c.String(&x.id)
	c.String(&x.name)
	c.Duration(&x.ttl)
	c.Duration(&x.lockDelay)
	c.Uint(&x.created)
	c.Uint(&x.renewals)
	c.String(&x.bound)
	if c.Reading {
		s.bytes += x.bytes()
		if x.id == "" {
			c.Fail()
		}
	}
	return x, x.id
}

// codeRef codes a reference to a session.
func (s *state) codeRef(c *wire.Coder, p **session) {
	var id string
	if *p != nil {
		id = (*p).id
	}
	c.String(&id)
	if !c.Reading {
		return
	}
	x, ok := s.sessions.Get(id)
	if !ok {
		c.Fail()
		x = &session{}
	}
	*p = x
}

func (s *state) codeLock(c *wire.Coder, l *lock) (*lock, string) {
	if c.Reading {
		l = &lock{}
	}
	c.String(&l.name)
	c.Uint(&l.slots)
	n := c.Count(len(l.holders))
	for i := 0; i < n && c.Err == nil; i++ {
		if c.Reading {
			l.holders = append(l.holders, &grant{lock: l, seen: -1})
		}
		s.codeGrant(c, l.holders[i])
	}
	n = c.Count(len(l.waiters))
	for i := 0; i < n && c.Err == nil; i++ {
		if c.Reading {
			l.waiters = append(l.waiters, waiter{})
		}
		s.codeWaiter(c, &l.waiters[i])
	}
	n = c.Count(len(l.past))
	for i := 0; i < n && c.Err == nil; i++ {
		if c.Reading {
			l.past = append(l.past, Past{})
		}
		p := &l.past[i]
		c.String(&p.Session)
		c.String(&p.Owner)
		c.Uint(&p.Fence)
		c.Uint(&p.Ended)
		c.String(&p.Reason)
	}
	c.Uint(&l.changed)
	c.Uint(&l.yield.since)
	c.Duration(&l.yield.within)
	c.String(&l.yield.reason)
	c.Uint(&l.delay)
	c.Duration(&l.delayFor)
	c.Uint(&l.idle)
	if c.Reading && c.Err == nil {
		s.derive(c, l)
	}
	return l, l.name
}

func (s *state) codeGrant(c *wire.Coder, g *grant) {
	s.codeRef(c, &g.session)
	c.Uint(&g.fence)
	c.Bool(&g.shared)
	c.Bool(&g.elected)
	c.String(&g.value)
	c.String(&g.note)
}

func (s *state) codeWaiter(c *wire.Coder, w *waiter) {
	s.codeRef(c, &w.session)
	w.request.Wire(c)
	c.Bool(&w.shared)
	c.Bool(&w.campaign)
	c.String(&w.value)
	c.String(&w.note)
	c.Uint(&w.since)
}

// derive makes what follows from l, which must be what commands can make of a
// lock.
func (s *state) derive(c *wire.Coder, l *lock) {
	for _, g := range l.holders {
		if g.session.holds[l.name] != nil {
			c.Fail()
			return
		}
		g.session.holds[l.name] = g
	}
	for i := range l.waiters {
		if l.waiters[i].session.holds[l.name] != nil {
			c.Fail()
			return
		}
		l.waiters[i].session.waits[l.name]++
	}
	if !l.sound() || max(l.newest(), l.changed, l.yield.since, l.delay, l.idle) > s.revision {
		c.Fail()
		return
	}
	s.grants, s.places = s.grants+len(l.holders), s.places+len(l.waiters)
	if l.idle != 0 {
		s.idle.Set(idleKey(l), l.name)
	}
	if l.delay != 0 {
		s.delayed[l.name] = l
	}
	if l.yield.within > 0 {
		s.yielding[l.name] = l
	}
	s.bytes += lockBytes(l)
}

// sound reports whether l keeps the rules about modes and slots, fences and
// times.
func (l *lock) sound() bool {
	fence := uint64(0)
	for _, g := range l.holders {
		switch {
		case g.shared && g.elected, l.slots > 1 && (g.shared || g.elected),
			l.slots == 1 && !g.shared && len(l.holders) > 1,
			g.fence == 0, g.fence < fence,
			g.value != "" && !g.elected:
			return false
		}
		fence = g.fence
	}
	y := l.yield
	asked := slices.ContainsFunc(l.holders, func(g *grant) bool { return g.fence < y.since })
	return l.name != "" && l.slots > 0 && (l.slots == 1 || uint64(len(l.holders)) <= l.slots) &&
		l.inUse() == (l.idle == 0) && (l.delay == 0) == (l.delayFor == 0) &&
		(y.since != 0) == asked && (y.since != 0 || y == yield{})
}

func (s *state) codeEntry(c *wire.Coder, e *Entry) (*Entry, string) {
	if !c.Reading {
		e.Wire(c)
		return e, e.Key
	}
	e = &Entry{}
	e.Wire(c)
	s.bytes += e.Size()
	if max(e.Revision, s.changed) > s.revision {
		c.Fail()
	}
	if e.Session != "" {
		x, ok := s.sessions.Get(e.Session)
		if !ok {
			c.Fail()
			return e, e.Key
		}
		x.keys[e.Key] = true
	}
	return e, e.Key
}
