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
	e := &Entry{
		Key:         c.Key,
		Value:       c.Value,
		ContentType: c.ContentType,
		Revision:    m.revision,
		Created:     m.revision,
		Version:     1,
		Session:     c.Session,
	}
	more := int(entryBytes(e))
	if old == nil {
		if no, ok := m.crowded(); ok {
			return no
		}
	} else {
		e.Created, e.Version = old.Created, old.Version+1
		more -= int(entryBytes(old))
	}
	if more > 0 {
		if no, ok := m.full(more); ok {
			return no
		}
	}
	if old != nil {
		m.detach(old)
	}
	m.entries.Set(c.Key, e)
	m.bytes += entryBytes(e)
	if s != nil {
		s.keys[c.Key] = true
	}
	m.changed = m.revision
	m.news.Touch(keyTopic(c.Key))
	return Result{Created: e.Created, Version: e.Version}
}

func (m *Machine) applyDelete(c *DeleteCommand) Result {
	old, no := m.admit(c.Key, c.IfRevision, c.Guard)
	if no.Refused {
		return no
	}
	if old != nil {
		m.drop(c.Key)
	}
	return Result{}
}

// admit checks the conditions of a change and returns the present entry, nil
// if there is none.
func (m *Machine) admit(key string, ifRevision *uint64, g *Guard) (*Entry, Result) {
	if g != nil {
		l, ok := m.locks.Get(g.Lock)
		if !ok || l.holder.session == nil || l.holder.fence != g.Fence {
			no := refused(StaleFence, "the guarding grant is over")
			if ok {
				no.Current = l.holder.fence
			}
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

// drop removes the entry of key, which exists.
func (m *Machine) drop(key string) {
	e, _ := m.entries.Get(key)
	m.entries.Delete(key)
	m.detach(e)
	m.changed = m.revision
	m.news.Touch(keyTopic(key))
}

// detach takes e, which is replaced or removed, out of all else that counts it.
func (m *Machine) detach(e *Entry) {
	m.bytes -= entryBytes(e)
	if s, ok := m.sessions.Get(e.Session); ok {
		delete(s.keys, e.Key)
	}
}
