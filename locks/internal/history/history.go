// Package history keeps what the newest commands did, as those who watch are
// told of it.
package history

import (
	"slices"
	"sort"

	"github.com/prytany/prytany/internal/mutant"
	"github.com/prytany/prytany/locks/internal/wire"
)

// A History holds the newest changes. It belongs to the replicated state:
// whoever resumes finds the same on every node. The zero History is empty. A copy
// may be read while the original goes on changing.
type History struct {
	changes []*Change // oldest first; elements that have left are not overwritten
	gone    int       // dropped elements that their array still holds
	size    int64
	dropped uint64 // revision of the newest change that was dropped
}

// Len returns the number of changes.
func (h *History) Len() int { return len(h.changes) }

// Size returns what the changes count in bytes.
func (h *History) Size() int64 { return h.size }

// Dropped returns the revision of the newest change that was dropped, 0 if none
// was.
func (h *History) Dropped() uint64 { return h.dropped }

// Older reports whether there are changes up to revision upTo.
func (h *History) Older(upTo uint64) bool { return len(h.changes) > 0 && h.changes[0].Revision <= upTo }

// Since returns the changes after revision. They may be read while h goes on
// changing.
func (h *History) Since(revision uint64) []*Change {
	i := sort.Search(len(h.changes), func(i int) bool {
		return h.changes[i].Revision > revision || mutant.On(mutant.ResumesAtSame) && h.changes[i].Revision == revision
	})
	return h.changes[i:len(h.changes):len(h.changes)]
}

// Add puts in c, which is newer than all others, and drops the oldest beyond
// limit, or until all have no more than size bytes together.
func (h *History) Add(c *Change, limit int, size int64) {
	if len(h.changes) == cap(h.changes) {
		h.gone = 0 // there will be a new array
	}
	if mutant.On(mutant.SwapsEvents) {
		slices.Reverse(c.Events)
	}
	h.changes = append(h.changes, c)
	h.size += c.Size()
	n := len(h.changes)
	h.drop(func(*Change) bool {
		n--
		return n >= limit || h.size > size
	})
}

// Compact drops the changes up to revision upTo.
func (h *History) Compact(upTo uint64) {
	h.drop(func(c *Change) bool { return c.Revision <= upTo })
}

// drop forgets the oldest changes while more says so.
func (h *History) drop(more func(c *Change) bool) {
	n := 0
	for n < len(h.changes) && more(h.changes[n]) {
		h.size -= h.changes[n].Size()
		h.dropped = h.changes[n].Revision
		n++
	}
	h.changes, h.gone = h.changes[n:], h.gone+n
	// Readers look at the array without a lock, so it is left as it is. To let go
	// of what has left, it is replaced before that is more than a quarter of what stays.
	if 4*h.gone > len(h.changes) {
		h.changes, h.gone = slices.Clone(h.changes), 0
	}
}

// Wire writes h, or reads it into an empty History. The state is at revision,
// and present returns its entries.
func (h *History) Wire(c *wire.Coder, revision uint64, present func(key string) *Entry) {
	c.Uint(&h.dropped)
	n := c.Count(len(h.changes))
	last := h.dropped
	for i := 0; i < n && c.Err == nil; i++ {
		x := &Change{}
		if !c.Reading {
			x = h.changes[i]
		}
		c.Uint(&x.Revision)
		events := c.Count(len(x.Events))
		if c.Reading && (x.Revision <= last || events == 0) {
			c.Fail()
			return
		}
		last = x.Revision
		for j := 0; j < events && c.Err == nil; j++ {
			if c.Reading {
				x.Events = append(x.Events, Event{})
			}
			x.Events[j].wire(c, x.Revision, present)
			c.Breathe()
		}
		if c.Reading {
			h.changes = append(h.changes, x)
			h.size += x.Size()
		}
	}
	if c.Reading && last > revision {
		c.Fail()
	}
}
