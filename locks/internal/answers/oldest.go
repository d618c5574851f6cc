package answers

// Oldest returns the revision of the oldest answer; ok is false if there is none.
func (t *Table) Oldest() (revision uint64, ok bool) {
	if len(t.queue) == 0 {
		return 0, false
	}
	return t.queue[0].Revision, true
}
