package locks

// Counts is how much of everything a Machine keeps.
type Counts struct {
	Sessions int
	Locks    int // held
	Waiters  int // places in queues
	Entries  int // config entries
	Bytes    int64
}

// Counts returns how much of everything m keeps. It takes time proportional to
// the number of sessions. Safe for concurrent use.
func (m *Machine) Counts() Counts {
	m.mu.RLock()
	defer m.mu.RUnlock()
	c := Counts{Sessions: m.state.sessions.Len(), Entries: m.state.entries.Len(), Bytes: m.state.bytes}
	for _, s := range m.state.sessions.From("") {
		c.Locks += len(s.holds)
		for _, n := range s.waits { //lint:ordered a sum
			c.Waiters += n
		}
	}
	return c
}
