package replica

import (
	"slices"

	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// A GroupStatus is what a node knows about one of its groups.
type GroupStatus struct {
	paxos.Status
	Applied paxos.Slot
	Leader  synod.NodeID // 0 if unknown
	Content bool
	Waiting int // requests without an answer yet
}

// published is what Status returns. Immutable.
type published struct {
	groups []GroupStatus
	links  []leader.Link
}

// publish shows the present state to others.
func (h *Host) publish() {
	p := &published{links: slices.Clone(h.links)}
	for _, g := range h.order {
		node, content := h.node.Leader(uint64(g.id))
		p.groups = append(p.groups, GroupStatus{
			Status:  g.status,
			Applied: g.applied,
			Leader:  node,
			Content: content,
			Waiting: g.open,
		})
	}
	h.shown.Store(p)
	h.news = false
}

// Status returns the present state of all groups, by ID, and links, as of the
// end of a recent turn: what changed is shown within a tick (round-trip times
// within 20), and sooner the more often it is called. Safe for concurrent use; what it returns is shared and must
// not be changed.
func (h *Host) Status() ([]GroupStatus, []leader.Link) {
	h.wanted.Store(true)
	p := h.shown.Load()
	return p.groups, p.links
}
