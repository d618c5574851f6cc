package locks

// Why a grant or a session ended.
const (
	reasonReleased = "released"
	reasonExpired  = "expired"
	reasonEnded    = "ended"
	reasonForced   = "forced"
)

func (m *Machine) applyOpen(c *OpenCommand) Result {
	s, ok := m.sessions.Get(c.ID)
	if !ok {
		var no Result
		if s, no = m.open(&session{id: c.ID, name: c.Name, ttl: c.TTL, lockDelay: c.LockDelay}); s == nil {
			return no
		}
	}
	return Result{Session: s.id, TTL: s.ttl}
}

// open makes s a session of this group, or refuses. An id never comes twice.
func (m *Machine) open(s *session) (*session, Result) {
	if s.id == "" { // it means nobody
		return nil, refused(Invalid, "a session needs an id")
	}
	if no, ok := m.full(len(s.id) + len(s.name)); ok {
		return nil, no
	}
	if m.sessions.Len() >= m.bounds.sessions {
		return nil, refused(Overloaded, "the group has as many sessions as it may")
	}
	if e, ok := m.dead[s.id]; ok {
		return nil, refused(SessionExpired, "the session is over: "+e.reason)
	}
	s.created = m.revision
	s.holds, s.waits, s.keys = map[string]*lock{}, map[string]int{}, map[string]bool{}
	m.sessions.Set(s.id, s)
	m.bytes += s.bytes()
	m.lessor.extend(s, m.now)
	return s, Result{}
}

func (m *Machine) applyEnd(c *EndCommand) Result {
	s, no := m.alive(c.ID)
	if s == nil {
		return no
	}
	m.end(s, reasonEnded)
	return Result{Session: s.id}
}

func (m *Machine) applyExpire(c *ExpireCommand) {
	s, _ := m.alive(c.Session)
	if s == nil {
		return
	}
	if c.Ballot.Pack() != m.lead || c.Renewals != s.renewals {
		m.lessor.spared(s, c.Ballot, m.now)
		return
	}
	m.end(s, reasonExpired)
}

// end ends s with everything that is its own: its entries, its places in
// queues, its grants. Whoever is next gets the locks in this same command.
func (m *Machine) end(s *session, reason string) {
	m.sessions.Delete(s.id)
	m.bytes -= s.bytes()
	m.lessor.ended(s)
	m.bury(ended{s.id, reason})
	for _, key := range sortedKeys(s.keys) {
		m.drop(key)
	}
	for _, name := range sortedKeys(s.waits) {
		if l, ok := m.locks.Get(name); ok {
			m.leave(l, s, reason)
		}
	}
	for _, name := range sortedKeys(s.holds) {
		m.free(s.holds[name], reason)
	}
}

// leave takes s's places out of l's queue, because s is over.
func (m *Machine) leave(l *lock, s *session, reason string) {
	kept := l.waiters[:0]
	for _, w := range l.waiters {
		if w.session != s {
			kept = append(kept, w)
			continue
		}
		m.bytes -= w.bytes()
		m.amend(w.request, refused(SessionExpired, "the session is over: "+reason))
		m.news.Touch(placeTopic(l.name, s.id, w.request))
	}
	clear(l.waiters[len(kept):])
	l.waiters = kept
	delete(s.waits, l.name)
	m.settle(l)
}

// bury remembers a session that is over; the oldest are forgotten.
func (m *Machine) bury(e ended) {
	m.ended = append(m.ended, e)
	m.dead[e.id] = e
	for len(m.ended) > m.bounds.ended {
		delete(m.dead, m.ended[0].id)
		m.ended[0] = ended{}
		m.ended = m.ended[1:]
	}
}
