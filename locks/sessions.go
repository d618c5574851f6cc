package locks

import "github.com/prytany/prytany/internal/mutant"

// reasonOpened is the reason of a session's first event.
const reasonOpened = "opened"

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
	if why, over := m.ended.Reason(s.id); over && !mutant.On(mutant.Revives) {
		return nil, refused(SessionExpired, "the session is over: "+why)
	}
	s.created = m.revision
	s.holds, s.waits, s.keys = map[string]*grant{}, map[string]int{}, map[string]bool{}
	m.sessions.Set(s.id, s)
	m.bytes += s.bytes()
	m.lessor.extend(s, m.now)
	m.event(Event{Type: EventSession, Name: s.id, Session: s.id, Owner: s.owner(), Reason: reasonOpened})
	return s, Result{}
}

// renew notes that a command has shown s alive, and gives it another full TTL.
func (m *Machine) renew(s *session) {
	m.keepSession(s)
	s.renewals++
	m.lessor.extend(s, m.now)
}

func (m *Machine) applyEnd(c *EndCommand) Result {
	s, no := m.alive(c.ID)
	if s == nil {
		return no
	}
	m.end(s, ReasonEnded)
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
	m.end(s, ReasonExpired)
}

// end ends s with everything that is its own: its entries, its places in
// queues, its grants. Whoever is next gets the locks in this same command.
func (m *Machine) end(s *session, reason string) {
	if reason != ReasonExpired || !mutant.On(mutant.ExpiryKeepsSession) {
		m.sessions.Delete(s.id)
	}
	m.bytes -= s.bytes()
	m.lessor.ended(s)
	m.ended.Add(s.id, reason, m.bounds.ended)
	m.event(Event{Type: EventSession, Name: s.id, Session: s.id, Owner: s.owner(), Reason: reason})
	for _, key := range sortedKeys(s.keys) {
		m.drop(key, EventExpire)
	}
	over := refused(SessionExpired, "the session is over: "+reason)
	for _, name := range sortedKeys(s.waits) {
		if l, ok := m.locks.Get(name); ok && !mutant.On(mutant.DeadWaits) {
			m.leave(l, func(w *waiter) (Result, bool) { return over, w.session == s })
			m.serve(l) // whoever stood behind may come along with those who hold it
		}
	}
	for _, name := range sortedKeys(s.holds) {
		if reason == ReasonExpired && mutant.On(mutant.ExpiryKeepsLock) {
			continue
		}
		g := s.holds[name]
		m.free(g, reason)
		m.serve(g.lock)
	}
}
