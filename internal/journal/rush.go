package journal

import (
	"time"

	"github.com/prytany/prytany/internal/api"
)

// When a node is lost, hundreds of groups may find other leaders in the same second:
// what they have to say would push out all the rest. Of events about groups other than
// main at most rushMost are kept in rushLong, and the next event that is kept says how
// many were not.
const (
	rushLong = time.Second
	rushMost = 100
)

// KindOmitted is the kind of the event that says that others were not kept.
const KindOmitted = "events-omitted"

// A rush counts events about groups other than main.
type rush struct {
	began   time.Time
	count   int
	omitted int
}

// omits reports whether e is not to be kept; if it is, how many before were not.
func (r *rush) omits(e api.NodeEvent, now time.Time) (omitted int, ok bool) {
	if now.Sub(r.began) >= rushLong {
		r.began, r.count = now, 0
	}
	if e.Group != "" && e.Group != api.MainGroup {
		if r.count++; r.count > rushMost {
			r.omitted++
			return 0, true
		}
	}
	omitted, r.omitted = r.omitted, 0
	return omitted, false
}

// ForgetGroup drops what is remembered of a group to tell of it better.
func (j *Journal) ForgetGroup(group string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.known, group)
}
