package image

import "github.com/prytany/prytany/paxos"

// A Tail says how much of the log stays below a snapshot, for peers that are behind: so
// many slots, or fewer if these have too many bytes. It knows how many only from one
// snapshot to the next, and of the log from before a restart not at all: that part stays
// for all of its slots.
type Tail struct {
	spans []span     // between snapshots, oldest first
	first paxos.Slot // what went below it is gone for good
}

// A span is the log between two snapshots.
type span struct {
	last  paxos.Slot // the later snapshot's
	bytes int        // of values
}

// Add says that a snapshot of slot is taken, bytes of the log after the one before.
func (t *Tail) Add(slot paxos.Slot, bytes int) { t.spans = append(t.spans, span{slot, bytes}) }

// First returns the first slot that stays when the snapshot of slot is durable. What came
// after the snapshot before stays in any case: peers that have nearly all of the log would
// have to fetch the state instead.
func (t *Tail) First(slot paxos.Slot, slots, bytes int) paxos.Slot {
	most := paxos.Slot(slots)
	t.first = max(t.first, max(slot, most)-most+1)
	sum := 0
	for i := len(t.spans) - 1; i >= 0; i-- {
		s := t.spans[i]
		if sum += s.bytes; sum > bytes && i < len(t.spans)-1 {
			t.first = max(t.first, s.last+1)
		}
		if s.last < t.first {
			t.spans = t.spans[i+1:]
			break
		}
	}
	return t.first
}
