package locks

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// snapshotVersion is the first byte of a snapshot.
const snapshotVersion = 1

// Snapshot returns the replicated state: a version byte, the state, and the
// CRC32C of both. Equal states have equal bytes.
func (m *Machine) Snapshot() ([]byte, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	c := coder{buf: make([]byte, 0, int(m.bytes)+64*(m.locks.len+m.entries.len+m.sessions.len)+1024)}
	c.buf = append(c.buf, snapshotVersion)
	m.state.code(&c)
	return seal(c.buf), nil
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
	c := coder{buf: body[1:], reading: true}
	fresh.state.code(&c)
	if err := c.end(); err != nil {
		return fmt.Errorf("locks: restore: %w", err)
	}
	m.mu.Lock()
	m.state = fresh.state
	m.lessor = lessor{}
	revision := m.revision
	m.mu.Unlock()
	m.news.touchAll()
	m.news.reached(revision)
	return nil
}

// code writes s, or reads it into an empty state together with what is
// derived. What refers to something that is not there is malformed.
func (s *state) code(c *coder) {
	c.uint(&s.revision)
	c.uint(&s.lead)
	c.uint(&s.changed)
	codeTree(c, &s.sessions, s.codeSession)
	codeTree(c, &s.locks, s.codeLock)
	codeTree(c, &s.entries, s.codeEntry)
	n := c.count(len(s.ended))
	for i := range n {
		if c.reading {
			s.ended = append(s.ended, ended{})
		}
		e := &s.ended[i]
		c.string(&e.id)
		c.string(&e.reason)
		if c.reading {
			s.dead[e.id] = *e
		}
	}
	s.answers.code(c)
	s.own.code(c)
}

// codeTree codes the pairs of t in order. record codes one value and returns
// its key.
func codeTree[V any](c *coder, t *tree[V], record func(c *coder, v V) (V, string)) {
	n := c.count(t.len)
	if !c.reading {
		for _, v := range t.from("") {
			record(c, v)
		}
		return
	}
	keys, values := make([]string, 0, min(n, 1<<16)), make([]V, 0, min(n, 1<<16))
	for i := 0; i < n && c.err == nil; i++ {
		var zero V
		v, key := record(c, zero)
		if i > 0 && key <= keys[i-1] {
			c.fail()
		}
		keys, values = append(keys, key), append(values, v)
	}
	if c.err == nil {
		*t = build(keys, values)
	}
}

func (s *state) codeSession(c *coder, x *session) (*session, string) {
	if c.reading {
		x = &session{holds: map[string]*lock{}, waits: map[string]int{}, keys: map[string]bool{}}
	}
	c.string(&x.id)
	c.string(&x.name)
	c.duration(&x.ttl)
	c.duration(&x.lockDelay)
	c.uint(&x.created)
	c.uint(&x.renewals)
	c.string(&x.bound)
	if c.reading {
		s.bytes += x.bytes()
	}
	return x, x.id
}

// codeRef codes a reference to a session, which may be nil if optional.
func (s *state) codeRef(c *coder, p **session, optional bool) {
	var id string
	if *p != nil {
		id = (*p).id
	}
	c.string(&id)
	if !c.reading || optional && id == "" {
		return
	}
	x, ok := s.sessions.get(id)
	if !ok {
		c.fail()
		x = &session{}
	}
	*p = x
}

func (s *state) codeLock(c *coder, l *lock) (*lock, string) {
	if c.reading {
		l = &lock{}
	}
	c.string(&l.name)
	s.codeRef(c, &l.holder.session, true)
	c.uint(&l.holder.fence)
	c.string(&l.holder.note)
	n := c.count(len(l.waiters))
	for i := 0; i < n && c.err == nil; i++ {
		if c.reading {
			l.waiters = append(l.waiters, waiter{})
		}
		w := &l.waiters[i]
		s.codeRef(c, &w.session, false)
		w.request.code(c)
		c.string(&w.note)
		c.uint(&w.since)
	}
	n = c.count(len(l.past))
	for i := 0; i < n && c.err == nil; i++ {
		if c.reading {
			l.past = append(l.past, Past{})
		}
		p := &l.past[i]
		c.string(&p.Session)
		c.string(&p.Owner)
		c.uint(&p.Fence)
		c.uint(&p.Ended)
		c.string(&p.Reason)
	}
	c.uint(&l.changed)
	c.uint(&l.delay)
	c.duration(&l.delayFor)
	c.uint(&l.idle)
	if c.reading && c.err == nil {
		s.derive(c, l)
	}
	return l, l.name
}

// derive makes what follows from l.
func (s *state) derive(c *coder, l *lock) {
	if h := &l.holder; h.session != nil {
		h.session.holds[l.name] = l
		h.seen = -1
	} else if h.fence != 0 || h.note != "" {
		c.fail()
	}
	for i := range l.waiters {
		l.waiters[i].session.waits[l.name]++
	}
	inUse := l.holder.session != nil || len(l.waiters) > 0 || l.delay != 0
	if inUse == (l.idle != 0) || l.delay != 0 && l.holder.session != nil {
		c.fail()
	}
	if l.idle != 0 {
		s.idle.set(idleKey(l), l.name)
	}
	if l.delay != 0 {
		s.delayed[l.name] = l
	}
	s.bytes += lockBytes(l)
}

func (s *state) codeEntry(c *coder, e *Entry) (*Entry, string) {
	if c.reading {
		e = &Entry{}
	}
	c.string(&e.Key)
	c.bytes(&e.Value)
	c.string(&e.ContentType)
	c.uint(&e.Revision)
	c.uint(&e.Created)
	c.uint(&e.Version)
	c.string(&e.Session)
	if c.reading {
		s.bytes += entryBytes(e)
		if e.Session != "" {
			x, ok := s.sessions.get(e.Session)
			if !ok {
				c.fail()
				return e, e.Key
			}
			x.keys[e.Key] = true
		}
	}
	return e, e.Key
}

func (a *answers) code(c *coder) {
	c.uint(&a.dropped)
	n := c.count(len(a.queue))
	for i := 0; i < n && c.err == nil; i++ {
		x := &answer{}
		if !c.reading {
			x = a.queue[i]
		}
		c.string(&x.id)
		c.uint(&x.hash)
		c.uint(&x.revision)
		x.result.code(c)
		if !c.reading {
			continue
		}
		if a.byID == nil {
			a.byID = map[string]*answer{}
		}
		if a.byID[x.id] != nil || i > 0 && x.revision < a.queue[i-1].revision {
			c.fail()
		}
		a.queue = append(a.queue, x)
		a.byID[x.id] = x
	}
}
