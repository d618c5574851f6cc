package replica

import (
	"errors"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// route sends what waits for g to its leader, or to a neighbour that can reach
// the leader. Requests of local callers stay if there is no way; those of
// peers are answered, for their senders may know better.
func (h *Host) route(g *group) {
	for _, r := range g.changes {
		h.finish(r, Result{Err: &paxos.NotLeaderError{Leader: h.hint(g)}})
	}
	g.changes = nil
	w := h.wayTo(g)
	g.proposals = h.routeAll(g.proposals, w)
	g.reads = h.routeAll(g.reads, w)
}

// A way is how to reach a group's leader.
type way struct {
	leader synod.NodeID // 0 if unknown or this node
	direct bool         // there is a link to it
	relay  synod.NodeID // else a neighbour that has one; 0 if none
}

func (h *Host) wayTo(g *group) way {
	w := way{leader: h.hint(g)}
	w.direct = w.leader != 0 && h.linkUp(w.leader)
	if !w.direct {
		w.relay = h.node.Relay(uint64(g.id))
	}
	return w
}

// routeAll sends requests on their way and returns those that must wait.
func (h *Host) routeAll(requests []*request, w way) (stay []*request) {
	for _, r := range requests {
		switch {
		case r.finished || r.own:
		case r.from != 0 && (r.hops == 0 || !w.direct || w.leader == r.from):
			h.finish(r, Result{Err: &paxos.NotLeaderError{Leader: w.leader}})
		case r.from != 0:
			h.forward(r, w.leader, r.hops-1)
		case w.direct:
			h.forward(r, w.leader, 0)
		case w.relay != 0:
			h.forward(r, w.relay, 1)
		default:
			stay = append(stay, r)
		}
	}
	return stay
}

// forward sends r to another node, which answers it.
func (h *Host) forward(r *request, to synod.NodeID, hops uint8) {
	h.forwardID++
	r.given, r.sentTo, r.sentID = true, to, h.forwardID
	h.forwards[r.sentID] = r
	h.cfg.Transport.Send(to, Packet{r.gid, Forward{r.sentID, hops, r.kind, r.payload}})
}

// onForward takes a request from a peer, once: were a repeated one taken too,
// the refusal of the second could hide the success of the first.
func (h *Host) onForward(from synod.NodeID, gid paxos.GroupID, m Forward) {
	if h.seen[from] == nil {
		h.seen[from] = &window{}
	}
	if !h.seen[from].fresh(m.ID) {
		return
	}
	refuse := func(o Outcome) { h.cfg.Transport.Send(from, Packet{gid, Answer{ID: m.ID, Outcome: o}}) }
	switch m.Kind {
	case KindPropose, KindBarrier, KindAsk:
	default:
		refuse(NotLeader) // a kind of a later version: it has not happened here
		return
	}
	if h.open.Add(1) > int64(h.cfg.MaxPending) {
		h.open.Add(-1)
		refuse(Overloaded)
		return
	}
	h.accept(&request{gid: gid, kind: m.Kind, payload: m.Payload, from: from, id: m.ID, hops: m.Hops})
}

// A window remembers which of a peer's latest forwards have arrived. IDs grow,
// and one that arrives after so many later ones counts as repeated: it is lost,
// which its sender must expect anyway.
type window struct {
	high uint64
	bits [windowSize / 64]uint64
}

const windowSize = 16384

// fresh reports whether id has not arrived before, and remembers it.
func (w *window) fresh(id uint64) bool {
	switch {
	case id >= w.high+windowSize:
		*w = window{high: id}
	case id+windowSize <= w.high:
		return false
	}
	for ; w.high < id; w.high++ {
		next := (w.high + 1) % windowSize
		w.bits[next/64] &^= 1 << (next % 64)
	}
	at, bit := id%windowSize/64, uint64(1)<<(id%64)
	seen := w.bits[at]&bit != 0
	w.bits[at] |= bit
	return !seen
}

// onAnswer ends the request that was forwarded, or lets a read wait until what
// it must see is applied here.
func (h *Host) onAnswer(from synod.NodeID, m Answer) {
	r := h.forwards[m.ID]
	if r == nil || r.sentTo != from {
		return // it has ended already
	}
	delete(h.forwards, m.ID)
	r.sentID = 0
	switch m.Outcome {
	case Done:
		if r.kind == KindBarrier && r.from == 0 {
			r.group.indexed = append(r.group.indexed, indexed{m.Slot, r})
			h.serveReads(r.group)
			if m.Slot > r.group.applied && from != h.hint(r.group) {
				h.catchUp(r.group, from) // the leader, who would tell us, is out of reach
			}
			return
		}
		h.finish(r, Result{Payload: m.Payload, Slot: m.Slot})
	case NotLeader:
		h.finish(r, Result{Err: &paxos.NotLeaderError{Leader: m.Leader}})
	case Overloaded:
		h.finish(r, Result{Err: paxos.ErrOverloaded})
	default:
		h.finish(r, Result{Err: paxos.ErrUnknownOutcome})
	}
}

// answerOf returns the answer that says res.
func answerOf(id uint64, res Result) Answer {
	a := Answer{ID: id, Slot: res.Slot, Payload: res.Payload}
	var refused *paxos.NotLeaderError
	switch {
	case res.Err == nil:
	case errors.As(res.Err, &refused):
		a.Outcome, a.Leader = NotLeader, refused.Leader
	case errors.Is(res.Err, paxos.ErrOverloaded):
		a.Outcome = Overloaded
	default:
		a.Outcome = Unknown
	}
	return a
}

// abandon ends what was forwarded to peer: it is gone, its answers with it.
func (h *Host) abandon(peer synod.NodeID) {
	for _, r := range h.pending {
		if !r.finished && r.sentID != 0 && r.sentTo == peer {
			h.finish(r, Result{Err: h.outcome(r)})
		}
	}
}

// catchUp asks a node for what is chosen and not applied here.
func (h *Host) catchUp(g *group, from synod.NodeID) {
	h.cfg.Transport.Send(from, Packet{g.id, paxos.CatchUp{
		From:    g.applied + 1,
		Learner: g.status.Membership.Seat(h.cfg.Self) < 0,
	}})
}

// tickCatchUp keeps a node current that the leader's Accepts do not reach: by
// the neighbour that can reach the leader, if there is one, and in any case
// while reads wait for what is not applied yet. The group itself asks around
// only once it has heard that there is more.
func (h *Host) tickCatchUp(g *group) {
	if g.status.Leading || g.coming != nil {
		return
	}
	starved := len(g.indexed) > 0 && g.applied == g.ticked
	g.ticked = g.applied
	switch w := h.wayTo(g); {
	case w.relay != 0:
		h.catchUp(g, w.relay)
	case w.direct && starved:
		h.catchUp(g, w.leader)
	}
}
