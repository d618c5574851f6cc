package locks

// Counts is how much of everything a Machine keeps.
type Counts struct {
	Sessions int
	Locks    int // grants
	Waiters  int // places in queues
	Entries  int // config entries
	Fences   int // registers
	Changes  int // revisions whose events are kept
	Bytes    int64
}

// Counts returns how much of everything m keeps. Safe for concurrent use.
func (m *Machine) Counts() Counts {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := &m.state
	return Counts{
		Sessions: s.sessions.Len(), Locks: s.grants, Waiters: s.places, Entries: s.entries.Len(),
		Fences: s.fences.Len(), Changes: s.history.Len(), Bytes: s.bytes,
	}
}
