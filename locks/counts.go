package locks

// Counts is how much of everything a Machine keeps.
type Counts struct {
	Sessions int
	Locks    int // grants
	Waiters  int // places in queues
	Entries  int // config entries
	Fences   int // registers
	Changes  int // revisions whose events are kept
	Answers  int // kept, to callers' keys
	Own      int // kept, to the service's own ids
	Bells    int // of this node alone: what is waited for, and prefixes that are watched
	Bytes    int64
}

// Counts returns how much of everything m keeps. Safe for concurrent use.
func (m *Machine) Counts() Counts {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := &m.state
	return Counts{
		Sessions: s.sessions.Len(), Locks: s.grants, Waiters: s.places, Entries: s.entries.Len(),
		Fences: s.fences.Len(), Changes: s.history.Len(), Answers: s.answers.Len(), Own: s.own.Len(),
		Bells: m.news.Len() + m.news.prefixes.Len(), Bytes: s.bytes,
	}
}
