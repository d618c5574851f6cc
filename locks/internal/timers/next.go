package timers

import (
	"sort"
	"time"
)

// Next returns when Propose will return something, if nothing is set or removed; ok
// is false if there are no timers.
func (ts *Timers) Next() (at time.Duration, ok bool) {
	t, ok := ts.due.First()
	if !ok {
		return 0, false
	}
	return t.At, true
}

// Last returns the newest sample; ok is false if there is none.
func (s *Samples) Last() (revision uint64, at time.Duration, ok bool) {
	if len(s.list) == 0 {
		return 0, 0, false
	}
	last := s.list[len(s.list)-1]
	return last.revision, last.at, true
}

// Reached returns when revision had been reached for the first time, as far as is
// known; ok is false if the samples do not say.
func (s *Samples) Reached(revision uint64) (at time.Duration, ok bool) {
	i := sort.Search(len(s.list), func(i int) bool { return s.list[i].revision >= revision })
	if i == len(s.list) {
		return 0, false
	}
	return s.list[i].at, true
}
