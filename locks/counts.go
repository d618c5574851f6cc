package locks

// Counts is how much of everything a Machine keeps. Answers are those to callers' keys, Own
// those to the service's own ids. Bells are of this node alone: topics and revisions that
// somebody waits for, and prefixes that are watched.
type Counts struct {
	Sessions, Entries, Fences int // entries of config, registers of fences
	Locks                     int // grants
	Waiters                   int // places in queues
	Changes                   int // revisions whose events are kept
	Answers, Own, Bells       int
	Bytes                     int64
}

// Counts returns how much of everything m keeps. Safe for concurrent use.
func (m *Machine) Counts() Counts {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return Counts{
		Sessions: m.sessions.Len(), Locks: m.grants, Waiters: m.places, Entries: m.entries.Len(), Fences: m.fences.Len(),
		Changes: m.history.Len(), Answers: m.answers.Len(), Own: m.own.Len(), Bells: m.news.Len() + m.news.prefixes.Len(), Bytes: m.bytes,
	}
}
