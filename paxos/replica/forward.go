package replica

import (
	"errors"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica/internal/seen"
	"github.com/prytany/prytany/synod"
)

// patience is for how many ticks a candidate keeps the requests of peers, which
// take it for the leader already, before it tells them that it is none.
const patience = 4

// route sends what waits for g to its leader, or to a neighbour that can reach
// the leader. Requests of local callers stay if there is no way; those of
// peers are answered, for their senders may know better.
func (h *Host) route(g *group, candidate bool) {
	if candidate && g.campaigns < patience {
		return // likely to lead in a moment
	}
	for _, r := range g.changes {
		h.finish(r, Result{Err: &paxos.NotLeaderError{Leader: h.hint(g)}})
	}
	g.changes = nil
	w := h.wayTo(g)
	g.proposals = h.routeAll(g, g.proposals, w)
	now, stay := h.barriers(g, w)
	g.reads = append(stay, h.routeAll(g, now, w)...)
}

// barriers makes one request of all local barriers that wait and may be sent on, and
// returns what is to be sent on now. While the one before has no answer they stay, and
// the next is for all that have come meanwhile.
func (h *Host) barriers(g *group, w way) (now, stay []*request) {
	var all []*request
	for _, r := range g.reads {
		if r.kind == KindBarrier && r.from == 0 && !r.finished && r.tried != g.round && (w.direct || w.relay != 0) {
			all = append(all, r)
		} else {
			now = append(now, r) // as any other
		}
	}
	switch {
	case len(all) > 0 && g.rounds.Shut(g.asks()):
		return now, all
	case len(all) == 1:
		g.asked = all[0]
	case len(all) > 1:
		g.asked = h.combine(g, all)
	default:
		return now, nil
	}
	return append(now, g.asked), nil
}

// combine returns a new request whose end is that of all barriers. It finds room beside
// what MaxPending bounds, and is one for two of those at least.
func (h *Host) combine(g *group, barriers []*request) *request {
	h.open.Add(1)
	g.open++
	r := &request{gid: g.id, group: g, kind: KindBarrier, deadline: h.now + h.cfg.RetryAfter}
	r.done = func(res Result) {
		for _, b := range barriers {
			h.finish(b, res)
		}
	}
	h.pending = append(h.pending, r)
	return r
}

// asks reports whether a question of barriers has no answer yet.
func (g *group) asks() bool { return g.asked != nil && !g.asked.finished && g.asked.sentID != 0 }

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
func (h *Host) routeAll(g *group, requests []*request, w way) (stay []*request) {
	for _, r := range requests {
		switch {
		case r.finished || r.own:
		case r.from != 0 && (r.hops == 0 || !w.direct || w.leader == r.from):
			h.finish(r, Result{Err: &paxos.NotLeaderError{Leader: w.leader}})
		case r.from != 0:
			h.forward(r, w.leader, r.hops-1)
		case r.tried == g.round:
			stay = append(stay, r) // has been refused, and nothing is new since
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
	r.given, r.sentTo, r.sentID, r.tried = true, to, h.forwardID, r.group.round
	h.forwards[r.sentID] = r
	h.cfg.Transport.Send(to, Packet{r.gid, Forward{r.sentID, h.process(to), hops, r.kind, r.payload}})
}

// again puts back a request that has certainly not happened. One of a local caller
// waits for a leader, or for the next tick: two nodes that take each other for
// the leader must not pass it back and forth. A peer keeps its own requests.
func (h *Host) again(r *request) {
	g := r.group
	if r.finished || r.own || r.from != 0 || r.kind == kindChange {
		h.finish(r, Result{Err: &paxos.NotLeaderError{Leader: h.hint(g)}})
		return
	}
	delete(h.forwards, r.sentID)
	r.given, r.sentID = false, 0
	if r.kind == KindPropose {
		g.proposals = append(g.proposals, r)
	} else {
		g.reads = append(g.reads, r)
	}
	h.touch(g)
}

func (h *Host) againAll(requests []*request) {
	for _, r := range requests {
		h.again(r)
	}
}

// newWays takes note of new leaders: what was refused may be sent once more.
func (h *Host) newWays() {
	for _, g := range h.awake { // no other has any
		if to := h.hint(g); to != g.way {
			g.way = to
			g.round++
		}
	}
}

// onForward takes a request from a peer, once: were a repeated one taken too,
// the refusal of the second could hide the success of the first. One that is for
// another process of this node is not taken at all: this one does not know what
// that one has done. Nobody answers it then; its sender learns of the restart.
func (h *Host) onForward(from synod.NodeID, gid paxos.GroupID, m Forward) {
	if m.To != h.cfg.Leader.Incarnation {
		return
	}
	if h.seen[from] == nil {
		h.seen[from] = &seen.Window{}
	}
	if !h.seen[from].Fresh(m.ID) {
		return
	}
	refuse := func(o Outcome) { h.cfg.Transport.Send(from, Packet{gid, Answer{ID: m.ID, Outcome: o}}) }
	if m.Kind < KindPropose || m.Kind > KindAsk {
		refuse(NotLeader) // a kind of a later version: it has not happened here
		return
	}
	if !h.enter(m.Kind) {
		refuse(Overloaded)
		return
	}
	h.accept(&request{gid: gid, kind: m.Kind, payload: m.Payload, from: from, id: m.ID, hops: m.Hops})
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
	if r.kind == KindBarrier {
		h.touch(r.group) // what has waited for this may ask now
	}
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
		h.again(r)
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

// abandon ends what was forwarded to peer: it is gone, its answers with it. What
// changes nothing may be asked again elsewhere.
func (h *Host) abandon(peer synod.NodeID) {
	for _, r := range h.pending {
		switch {
		case r.finished || r.sentID == 0 || r.sentTo != peer:
		case r.kind == KindPropose:
			h.finish(r, Result{Err: h.outcome(r)})
		default:
			h.again(r)
		}
	}
}

// catchUp asks a node for what is chosen and not applied here.
func (h *Host) catchUp(g *group, from synod.NodeID) {
	h.cfg.Transport.Send(from, Packet{g.id, paxos.CatchUp{
		From:    g.applied + 1,
		Learner: !g.status.Voter,
	}})
}

// tickCatchUp keeps a node current that the leader's Accepts do not reach: by
// the neighbour that can reach the leader, if there is one, and in any case
// while reads wait for what is not applied yet. The group itself asks around
// only once it has heard that there is more, in turn and whether or not it
// reaches whom it asks. A leader that has been replaced asks too: until it hears
// what is chosen in the slots of its proposals, those who made them wait.
func (h *Host) tickCatchUp(g *group) {
	w := h.wayTo(g)
	replaced := g.status.Leading && w.leader != 0
	if g.status.Leading && !replaced || g.coming != nil || g.core.Rests() {
		return
	}
	starved := len(g.indexed) > 0 && g.applied == g.ticked
	g.ticked = g.applied
	switch {
	case w.relay != 0:
		h.catchUp(g, w.relay)
	case w.direct && (starved || replaced):
		h.catchUp(g, w.leader)
	}
}
