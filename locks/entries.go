package locks

func (m *Machine) applyPut(c *PutCommand) Result {
	old, no := m.admit(c.Key, c.IfRevision, c.Guard)
	if no.Refused {
		return no
	}
	if c.IfPresent && old == nil {
		return refused(RevisionMismatch, "there is no such entry")
	}
	var s *session
	if c.Session != "" {
		if s, no = m.alive(c.Session); s == nil {
			return no
		}
		if !s.keys[c.Key] && s.load() >= m.bounds.perSession {
			return refused(Overloaded, "the session has as many locks and entries as it may")
		}
	}
	e := &Entry{Key: c.Key, Value: c.Value, ContentType: c.ContentType, Session: c.Session}
	more := int(e.Size())
	if old == nil {
		if no, ok := m.crowded(1); ok {
			return no
		}
	} else {
		more -= int(old.Size())
	}
	if more > 0 {
		if no, ok := m.full(more); ok {
			return no
		}
	}
	m.write(e)
	return Result{Created: e.Created, Version: e.Version}
}

// write puts e in the place of the present entry of its key. Its session, if it
// has one, lives.
func (m *Machine) write(e *Entry) {
	e.Revision, e.Created, e.Version = m.revision, m.revision, 1
	if old, ok := m.entries.Get(e.Key); ok {
		e.Created, e.Version = old.Created, old.Version+1
		m.detach(old)
	}
	m.entries.Set(e.Key, e)
	m.bytes += e.Size()
	if s, ok := m.sessions.Get(e.Session); ok {
		s.keys[e.Key] = true
	}
	m.changed = m.revision
	m.news.Touch(KeyTopic(e.Key), m.revision)
	m.event(Event{Type: EventPut, Name: e.Key, Entry: e, Session: e.Session})
}

func (m *Machine) applyDelete(c *DeleteCommand) Result {
	old, no := m.admit(c.Key, c.IfRevision, c.Guard)
	if no.Refused {
		return no
	}
	if old != nil {
		m.drop(c.Key, EventDelete)
	}
	return Result{}
}

// admit checks the conditions of a change and returns the present entry, nil
// if there is none.
func (m *Machine) admit(key string, ifRevision *uint64, g *Guard) (*Entry, Result) {
	if g != nil {
		l, ok := m.locks.Get(g.Lock)
		if !ok {
			return nil, refused(StaleFence, "the guarding grant is over")
		}
		if !l.current(g.Fence) {
			_, no := l.held(g.Fence, "")
			no.Detail = "the guarding grant is over"
			return nil, no
		}
	}
	e, _ := m.entries.Get(key)
	var current uint64
	if e != nil {
		current = e.Revision
	}
	if ifRevision != nil && *ifRevision != current {
		no := refused(RevisionMismatch, "the entry has another revision")
		no.Current = current
		return nil, no
	}
	return e, Result{}
}

// drop removes the entry of key, which exists; t is the type of the event.
func (m *Machine) drop(key string, t EventType) {
	e, _ := m.entries.Get(key)
	m.entries.Delete(key)
	m.detach(e)
	m.changed = m.revision
	m.news.Touch(KeyTopic(key), m.revision)
	m.event(Event{Type: t, Name: key, Session: e.Session})
}

// detach takes e, which is replaced or removed, out of all else that counts it.
func (m *Machine) detach(e *Entry) {
	m.bytes -= e.Size()
	if s, ok := m.sessions.Get(e.Session); ok {
		delete(s.keys, e.Key)
	}
}
