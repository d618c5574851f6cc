package replica

import (
	"slices"
	"time"

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
	Waiting int           // requests without an answer yet
	Leased  bool          // this leader may answer reads by its lease
	Why     string        // in a few words: why this node is content with the leader, or not
	Since   time.Duration // when it became so, on the process's clock
}

// published is what Status returns. Immutable.
type published struct {
	groups []GroupStatus
	index  map[paxos.GroupID]int // of groups
	links  []leader.Link
}

// stain takes note that Status shows an earlier state of g.
func (h *Host) stain(g *group) {
	if !g.stale && !g.gone {
		g.stale = true
		h.stale = append(h.stale, g)
	}
}

// look takes note if the leader machine thinks of g, which has no part in this turn,
// other than Status shows.
func (h *Host) look(g *group) {
	if g.place < 0 {
		return
	}
	is := &h.shown.Load().groups[g.place]
	node, content := h.node.Leader(uint64(g.id))
	why, since := h.node.Why(uint64(g.id))
	_, leased := h.leased(g, h.now)
	if node != is.Leader || content != is.Content || why != is.Why || time.Duration(since) != is.Since || leased != is.Leased {
		h.stain(g)
	}
}

// publish shows the present state to others. What has not changed is shown as it
// was.
func (h *Host) publish() {
	old := h.shown.Load()
	p := &published{groups: old.groups, index: old.index, links: slices.Clone(h.links)}
	if h.regrouped {
		h.regroup(old, p)
	} else if len(h.stale) > 0 {
		p.groups = slices.Clone(p.groups)
	}
	later := h.stale[:0]
	for _, g := range h.stale {
		if g.touched {
			later = append(later, g) // the turn is not over
			continue
		}
		g.stale = false
		p.groups[g.place] = h.show(g)
	}
	h.stale = later
	h.shown.Store(p)
	h.news = false
}

// regroup makes p show all groups that there are now.
func (h *Host) regroup(old, p *published) {
	h.regrouped = false
	p.groups = make([]GroupStatus, len(h.order))
	p.index = make(map[paxos.GroupID]int, len(h.order))
	for i, g := range h.order {
		if g.place < 0 {
			p.groups[i] = h.show(g)
		} else {
			p.groups[i] = old.groups[g.place]
		}
		p.index[g.id], g.place = i, i
	}
}

// show returns what Status says of g.
func (h *Host) show(g *group) GroupStatus {
	node, content := h.node.Leader(uint64(g.id))
	why, since := h.node.Why(uint64(g.id))
	_, leased := h.leased(g, h.now)
	return GroupStatus{
		Status:  g.core.Status(),
		Applied: g.applied,
		Leader:  node,
		Content: content,
		Waiting: g.open,
		Leased:  leased,
		Why:     why,
		Since:   time.Duration(since),
	}
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
