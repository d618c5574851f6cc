package history

// Oldest returns the revision of the oldest change; ok is false if there is none.
func (h *History) Oldest() (revision uint64, ok bool) {
	if len(h.changes) == 0 {
		return 0, false
	}
	return h.changes[0].Revision, true
}
