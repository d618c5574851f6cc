package paxos

import (
	"slices"

	"github.com/prytany/prytany/synod"
)

const (
	askTicks     = 2   // ticks after which an unanswered CatchUp is repeated, to another member
	chunkTicks   = 20  // the same while snapshot chunks arrive
	stuckTicks   = 2   // ticks after which a vote that nobody has decided makes a member ask around
	refusedTicks = 4   // ticks without progress after which a leader that was refused asks around
	maxLearners  = 64  // learners remembered
	learnerTicks = 100 // ticks of silence after which a learner is forgotten
)

// catchUp is one member's effort to learn what others know to be chosen.
type catchUp struct {
	want   Slot // somebody knows everything up to here
	asked  bool // one CatchUp is outstanding
	age    int  // its age in ticks
	turn   int  // whom to ask next
	before Slot // watermark at the last tick
	stuck  int  // ticks without progress while there is a reason to ask
	around int  // how many are to be asked yet for no reason of its own
	wait   int  // a learner's next pause, in ticks
	pause  int  // what is left of the present one
}

// A learner is a node that caught up here lately.
type learner struct {
	node synod.NodeID
	from Slot
	age  int // ticks since
}

// ask asks peer to for what comes after the watermark, unless an answer is
// outstanding.
func (g *Group) ask(to synod.NodeID, out *Effects) {
	if g.catch.asked || to == 0 {
		return
	}
	g.catch.asked, g.catch.age = true, 0
	g.send(to, CatchUp{From: g.decided + 1, Learner: g.seat < 0}, out)
	g.trace(out, Event{Kind: EvCatchUp, Slot: g.decided + 1, Node: to})
}

// tickCatchUp asks around: a learner now and then, a voter while it knows that it is
// behind, or holds a vote that a lost message may have decided.
//
// A leader asks as well if somebody refused its ballot and it makes no
// progress: a higher ballot may lead by now, whose owner it cannot hear. What
// is chosen there, it learns from those who hear both, and steps down.
func (g *Group) tickCatchUp(out *Effects) {
	c := &g.catch
	refused := g.refused()
	c.stuck++
	if g.decided > c.before {
		c.wait, c.pause = 0, 0
	}
	if g.decided > c.before || g.log.last() <= g.decided && !refused {
		c.stuck = 0
	}
	c.before = g.decided
	if c.asked {
		if c.age++; c.age < askTicks {
			return
		}
		c.asked = false
	}
	if refused && c.stuck >= refusedTicks {
		c.stuck = 0
		g.ask(g.nextPeer(), out)
	}
	if g.curious() || c.want > g.decided || c.around > 0 || g.lead == nil && c.stuck >= stuckTicks {
		c.around = max(0, c.around-1)
		g.ask(g.nextPeer(), out)
	}
}

// refused reports whether this member leads and a peer has promised a higher
// ballot.
func (g *Group) refused() bool {
	return g.lead != nil && slices.ContainsFunc(g.lead.peers, func(p peer) bool { return p.nacked })
}

// nextPeer goes round the members that may know more.
func (g *Group) nextPeer() synod.NodeID {
	n := len(g.m.Voters) + len(g.cfg.Peers)
	for range n {
		i := g.catch.turn % n
		g.catch.turn = (i + 1) % n
		var node synod.NodeID
		if i < len(g.m.Voters) {
			node = g.m.Voters[i].Node
		} else if node = g.cfg.Peers[i-len(g.m.Voters)]; g.m.Seat(node) >= 0 {
			continue // had its turn
		}
		if node != g.cfg.Self {
			return node
		}
	}
	return 0
}

// onCatchUp serves anybody: chosen values are no secret.
func (g *Group) onCatchUp(from synod.NodeID, m CatchUp, out *Effects) {
	first := max(m.From, 1)
	if m.Learner && g.m.Seat(from) < 0 {
		g.noteLearner(from, first)
	}
	var voter *peer
	if seat := g.m.Seat(from); seat >= 0 && g.lead != nil {
		voter = &g.lead.peers[seat]
		voter.heard, voter.behind = first-1, first < g.log.first
	}
	if first < g.log.first {
		out.Chunk = append(out.Chunk, ChunkRequest{To: from, Slot: m.SnapshotSlot, Offset: m.SnapshotOffset})
		return
	}
	a := Learned{First: first, Decided: g.decided}
	size := 0
	for s := first; s <= g.decided; s++ {
		v := g.log.at(s).vote.Value
		if size += cost(v); size > g.cfg.MaxMessageBytes && s > first {
			if voter != nil {
				voter.behind = true
			}
			break
		}
		a.Values = append(a.Values, v)
	}
	g.send(from, a, out)
}

// onLearned takes chosen values, and asks for more if there are more.
func (g *Group) onLearned(from synod.NodeID, m Learned, out *Effects) {
	before := g.decided
	for i, v := range m.Values {
		s := m.First + Slot(i)
		if s < m.First || s > g.decided+1 {
			break
		}
		if s == g.decided+1 {
			g.learn(s, v, out)
		}
	}
	g.catch.want = max(g.catch.want, m.Decided)
	moved := g.decided > before
	if moved || m.Decided <= g.decided {
		g.catch.asked = false
	}
	if g.decided < m.Decided || m.First == 0 || moved && g.decided < g.catch.want {
		g.ask(from, out)
	}
	g.tryLead(out)
}

// learn takes the chosen value of the slot after the watermark. A leader that
// has proposed something else there, or nothing, has been overtaken by a
// higher ballot.
func (g *Group) learn(s Slot, v synod.Value, out *Effects) {
	e := g.log.at(s)
	if g.lead != nil && (s >= g.lead.next || e.vote.Value != v) {
		g.StepDown(out)
	}
	if e.vote.Value != v {
		e.vote = synod.Vote{Value: v}
	}
	e.config, e.chosen = g.m.ID, true
	g.put(s, e, out)
	g.decide(out)
}

// maxStrangers bounds the nodes to ask that are no voters of the present configuration.
const maxStrangers = 64

// onSealed learns that the configuration this member works in has ended. Whoever says
// so is asked again if the answer is lost: it may be a voter of a later configuration,
// and those of this one may all be gone.
func (g *Group) onSealed(from synod.NodeID, m Sealed, out *Effects) {
	if m.Config > g.m.ID {
		g.catch.want = max(g.catch.want, m.At, g.decided+1)
		if p := g.cfg.Peers; g.m.Seat(from) < 0 && !slices.Contains(p, from) && len(p) < maxStrangers {
			g.cfg.Peers = append(slices.Clip(p), from)
		}
		g.ask(from, out)
	}
}

// onSnapshotChunk waits patiently while a snapshot arrives.
func (g *Group) onSnapshotChunk() {
	g.catch.asked, g.catch.age = true, askTicks-chunkTicks
	if g.camp != nil {
		g.camp.stalled = 0
	}
}

func (g *Group) noteLearner(n synod.NodeID, from Slot) {
	i := slices.IndexFunc(g.learner, func(l learner) bool { return l.node == n })
	if i >= 0 {
		g.learner = slices.Delete(g.learner, i, i+1)
	} else if len(g.learner) == maxLearners {
		g.learner = slices.Delete(g.learner, 0, 1)
	}
	g.learner = append(g.learner, learner{node: n, from: from}) // the newest is last
}

func (g *Group) tickLearners() {
	for i := range g.learner {
		g.learner[i].age++
	}
	g.learner = slices.DeleteFunc(g.learner, func(l learner) bool {
		return l.age > learnerTicks || g.m.Seat(l.node) >= 0
	})
}
