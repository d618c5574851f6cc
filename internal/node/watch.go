package node

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/journal"
	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

// observe takes what the machines report: it is counted, logged, kept for those
// who ask what happened, and shown in the status. The event loop waits for it.
func (n *Node) observe(g paxos.GroupID, event any) {
	n.metrics.Observe(g, event)
	n.journal.Observe(g, event)
	switch e := event.(type) {
	case replica.HandOverEvent:
		n.metrics.ObserveHandOver(g, e.Err == nil)
		n.journal.Add(n.handOverEvent(n.groupName(g), e))
	case paxos.Event:
		switch e.Kind {
		case paxos.EvLeading, paxos.EvReconfigured, paxos.EvInstalled:
			n.noteGroup(g)
		}
	case leader.Event:
		switch e.Kind {
		case leader.EvUnfit:
			n.unfit.Store(&e.Reason)
		case leader.EvFit:
			n.unfit.Store(nil)
		}
	}
}

// noteGroup has the steward look at g again. Before the steward is made nobody needs to.
func (n *Node) noteGroup(g paxos.GroupID) {
	if n.steward != nil {
		n.steward.Note(g)
	}
}

// handOverEvent says how a hand-over ended.
func (n *Node) handOverEvent(group string, e replica.HandOverEvent) api.NodeEvent {
	out := api.NodeEvent{
		Kind: journal.KindHandedOver, Group: group, Peer: n.nameOf(e.To), Ballot: e.Ballot.String(),
		Text: fmt.Sprintf("%s has handed the lead of %s over to %s", n.cfg.Name, group, n.nameOf(e.To)),
	}
	if e.Err == nil {
		return out
	}
	heir := n.nameOf(e.To)
	out.Kind, out.Text = journal.KindNotHanded, fmt.Sprintf("%s has not handed the lead of %s over to %s", n.cfg.Name, group, heir)
	var not *paxos.NotLeaderError
	switch {
	case e.Released:
		out.Reason = heir + " did not begin in time, the lead is given up"
	case errors.As(e.Err, &not):
		out.Reason = n.cfg.Name + " lost the lead meanwhile"
	default:
		out.Reason = heir + " did not catch up in time, or its link was lost; nothing was given up"
	}
	return out
}

// health is how this node judges itself.
func (n *Node) health() api.Health {
	h := api.Health{Fit: true, Score: n.gossip.HealthScore()}
	if reason := n.unfit.Load(); reason != nil {
		h.Fit, h.Reason = false, *reason
	}
	return h
}

// rtt is how far the other nodes are, as measured and as predicted.
func (n *Node) rtt() api.RTT {
	_, links := n.host.Status()
	trips := map[synod.NodeID]*api.RoundTrip{}
	trip := func(id synod.NodeID) *api.RoundTrip {
		t := trips[id]
		if t == nil {
			t = &api.RoundTrip{Node: n.nameOf(id)}
			if e, ok := n.gossip.RTT(id); ok {
				t.PredictedMS, t.Error = millis(e.RTT.Nanoseconds()), e.Error
			}
			trips[id] = t
		}
		return t
	}
	for _, id := range n.members(n.gossip.View()) {
		trip(id)
	}
	for _, l := range links {
		t := trip(l.Peer)
		t.MeasuredMS, t.P99MS, t.QuorumMS = millis(cmp.Or(l.Median, l.RTT)), millis(l.P99), millis(l.Distance)
	}
	out := api.RTT{Node: n.cfg.Name, RoundTrips: []api.RoundTrip{}}
	if g, ok := n.main(); ok {
		out.QuorumMS = millis(distance(g.Membership, n.id, links))
	}
	for _, t := range trips {
		out.RoundTrips = append(out.RoundTrips, *t)
	}
	slices.SortFunc(out.RoundTrips, func(a, b api.RoundTrip) int { return cmp.Compare(a.Node, b.Node) })
	return out
}

// distance is in how many ns node self reaches a quorum of m and back, 0 if it
// is not known.
func distance(m paxos.Membership, self synod.NodeID, links []leader.Link) int64 {
	var near []int64
	for _, v := range m.Voters {
		if v.Node == self {
			near = append(near, 0)
		}
		for _, l := range links {
			if trip := cmp.Or(l.Median, l.RTT); l.Peer == v.Node && l.Up && trip > 0 {
				near = append(near, trip)
			}
		}
	}
	slices.Sort(near)
	if q := synod.Majorities(len(m.Voters)).Q1; len(m.Voters) > 0 && len(near) >= q {
		return near[q-1]
	}
	return 0
}
