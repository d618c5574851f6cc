package locks

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/prytany/prytany/locks/internal/ordered"
	"github.com/prytany/prytany/locks/internal/wire"
)

// snapshotVersion is the first byte of a snapshot.
const snapshotVersion = 1

// Snapshot returns the replicated state: a version byte, the state, and the
// CRC32C of both. Equal states have equal bytes. Error: that of
// [Machine.Unsupported]; a state without the effect of a command is none.
func (m *Machine) Snapshot() ([]byte, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.unsupported != nil {
		return nil, m.unsupported
	}
	c := wire.Coder{Buf: make([]byte, 0, int(m.bytes)+64*(m.locks.Len()+m.entries.Len()+m.sessions.Len())+1024)}
	c.Buf = append(c.Buf, snapshotVersion)
	m.state.code(&c)
	return seal(c.Buf), nil
}

// seal appends the checksum of body.
func seal(body []byte) []byte {
	return binary.BigEndian.AppendUint32(body, crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
}

// Restore replaces the state by that of a snapshot. After an error the state
// is as before.
func (m *Machine) Restore(data []byte) error {
	if len(data) < 5 {
		return errors.New("locks: restore: the snapshot is cut short")
	}
	body, sum := data[:len(data)-4], binary.BigEndian.Uint32(data[len(data)-4:])
	if crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)) != sum {
		return errors.New("locks: restore: the snapshot's checksum is wrong")
	}
	if body[0] != snapshotVersion {
		return fmt.Errorf("locks: restore: the snapshot has version %d; this program reads %d", body[0], snapshotVersion)
	}
	fresh := &Machine{bounds: m.bounds}
	fresh.reset(state{})
	c := wire.Coder{Buf: body[1:], Reading: true}
	fresh.state.code(&c)
	if err := c.End(); err != nil {
		return fmt.Errorf("locks: restore: %w", err)
	}
	m.mu.Lock()
	m.state = fresh.state
	m.lessor = lessor{}
	revision := m.revision
	m.mu.Unlock()
	m.news.TouchAll()
	m.news.Reached(revision)
	return nil
}

// code writes s, or reads it into an empty state together with what is
// derived. What refers to something that is not there is malformed.
func (s *state) code(c *wire.Coder) {
	c.Uint(&s.revision)
	c.Uint(&s.lead)
	c.Uint(&s.changed)
	ordered.Wire(c, &s.sessions, s.codeSession)
	ordered.Wire(c, &s.locks, s.codeLock)
	ordered.Wire(c, &s.entries, s.codeEntry)
	n := c.Count(len(s.ended))
	for i := range n {
		if c.Reading {
			s.ended = append(s.ended, ended{})
		}
		e := &s.ended[i]
		c.String(&e.id)
		c.String(&e.reason)
		if c.Reading {
			s.dead[e.id] = *e
		}
	}
	s.answers.Wire(c)
	s.own.Wire(c)
}

func (s *state) codeSession(c *wire.Coder, x *session) (*session, string) {
	if c.Reading {
		x = &session{holds: map[string]*lock{}, waits: map[string]int{}, keys: map[string]bool{}}
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
	}
	return x, x.id
}

// codeRef codes a reference to a session, which may be nil if optional.
func (s *state) codeRef(c *wire.Coder, p **session, optional bool) {
	var id string
	if *p != nil {
		id = (*p).id
	}
	c.String(&id)
	if !c.Reading || optional && id == "" {
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
	s.codeRef(c, &l.holder.session, true)
	c.Uint(&l.holder.fence)
	c.String(&l.holder.note)
	n := c.Count(len(l.waiters))
	for i := 0; i < n && c.Err == nil; i++ {
		if c.Reading {
			l.waiters = append(l.waiters, waiter{})
		}
		w := &l.waiters[i]
		s.codeRef(c, &w.session, false)
		w.request.Wire(c)
		c.String(&w.note)
		c.Uint(&w.since)
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
	c.Uint(&l.delay)
	c.Duration(&l.delayFor)
	c.Uint(&l.idle)
	if c.Reading && c.Err == nil {
		s.derive(c, l)
	}
	return l, l.name
}

// derive makes what follows from l.
func (s *state) derive(c *wire.Coder, l *lock) {
	if h := &l.holder; h.session != nil {
		h.session.holds[l.name] = l
		h.seen = -1
	} else if h.fence != 0 || h.note != "" {
		c.Fail()
	}
	for i := range l.waiters {
		l.waiters[i].session.waits[l.name]++
	}
	inUse := l.holder.session != nil || len(l.waiters) > 0 || l.delay != 0
	if inUse == (l.idle != 0) || l.delay != 0 && l.holder.session != nil {
		c.Fail()
	}
	if l.idle != 0 {
		s.idle.Set(idleKey(l), l.name)
	}
	if l.delay != 0 {
		s.delayed[l.name] = l
	}
	s.bytes += lockBytes(l)
}

func (s *state) codeEntry(c *wire.Coder, e *Entry) (*Entry, string) {
	if c.Reading {
		e = &Entry{}
	}
	c.String(&e.Key)
	c.Bytes(&e.Value)
	c.String(&e.ContentType)
	c.Uint(&e.Revision)
	c.Uint(&e.Created)
	c.Uint(&e.Version)
	c.String(&e.Session)
	if c.Reading {
		s.bytes += entryBytes(e)
		if e.Session != "" {
			x, ok := s.sessions.Get(e.Session)
			if !ok {
				c.Fail()
				return e, e.Key
			}
			x.keys[e.Key] = true
		}
	}
	return e, e.Key
}
