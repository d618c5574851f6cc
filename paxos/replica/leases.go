package replica

import (
	"time"

	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// leased reports whether at now this node may answer reads of g by its lease,
// and returns the slot that they must see.
//
// The group itself is asked whether a stop-sign is under way, because the leader
// machine hears of that only at the end of the turn in which Accepts of it have
// left: voters of the next configuration owe this leader nothing.
func (h *Host) leased(g *group, now time.Duration) (index paxos.Slot, ok bool) {
	index, recovered := g.core.Recovered()
	return index, recovered && !g.core.Sealed() && h.node.Leased(uint64(g.id), leader.Instant(now))
}

// readByLease answers the reads that wait without asking anybody, if the lease
// holds. It holds at h.now, which was read after the requests had been taken, and
// that moment is where they take effect. Until then nobody else can have led, so
// everything that anybody was told of by then is covered by the watermark here: what
// this leader has acknowledged, and what earlier ones have, since all that was
// inherited is chosen. A pause after the check is harmless: whatever another
// leader does meanwhile comes later than h.now, and such a read need not see it.
//
// The answers leave at the end of the turn, when this node's own votes, on which the
// watermark may rest, are durable.
func (h *Host) readByLease(g *group, requests []*request) bool {
	if !h.cfg.LeaseReads {
		return false
	}
	index, ok := h.leased(g, h.now)
	if !ok {
		return false
	}
	g.leasing = append(g.leasing, reading{index: index, requests: requests})
	return true
}

// serveLeased answers what readByLease has let pass.
func (h *Host) serveLeased(g *group) {
	leasing := g.leasing
	g.leasing = nil
	for _, l := range leasing {
		h.readable(g, l.index, l.requests)
	}
}

// Leased reports whether at now, on this process's clock, this node holds the
// lease of group g. Whoever calls Poll may call it, and [Host.Leading].
func (h *Host) Leased(g paxos.GroupID, now time.Duration) bool {
	if h.groups[g] == nil {
		return false
	}
	_, ok := h.leased(h.groups[g], now)
	return ok
}

// Leading returns the ballot with which this node leads g, and in which
// configuration; the zero ballot if it does not.
func (h *Host) Leading(g paxos.GroupID) (c paxos.ConfigID, b synod.Ballot) {
	if known := h.groups[g]; known != nil {
		st := known.core.Status()
		if c = st.Membership.ID; st.Leading {
			b = st.Ballot
		}
	}
	return c, b
}
