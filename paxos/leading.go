package paxos

import (
	"errors"
	"slices"

	"github.com/prytany/prytany/internal/invariant"
	"github.com/prytany/prytany/internal/mutant"
	"github.com/prytany/prytany/synod"
)

// perValue is what a value costs in a message beside its bytes.
const perValue = 16

func cost(v synod.Value) int { return len(v) + perValue }

// leading is phase 2 of one ballot. The own acceptor has voted for everything
// below next.
type leading struct {
	ballot  synod.Ballot
	base    Slot // see Accept.Base
	top     Slot // the last slot inherited
	next    Slot // the slot of the next proposal
	sent    Slot // everything up to here was in some Accept
	told    Slot // the watermark that everybody was told
	stop    bool // the last slot holds a stop-sign: nothing may follow
	unheard bool // has not sent anything yet
	bytes   int  // of the values proposed and not chosen
	asked   uint64
	peers   []peer // by seat; the own one is unused
}

// A peer is what a leader knows of one acceptor.
type peer struct {
	mark      Slot // has voted up to here
	known     bool // mark was heard of in this ballot
	nacked    bool // has promised a higher ballot: no part of this one's quorums
	behind    bool // has asked for more than one answer could tell it
	tickMark  Slot // mark at the last tick
	tickSent  Slot // leading.sent at the last tick
	confirmed uint64
	heard     Slot // nacked: its watermark when it last asked for more
}

func newLeading(b synod.Ballot, seats int, base Slot) *leading {
	l := &leading{ballot: b, base: base, top: base, next: base + 1, sent: base, unheard: true, peers: make([]peer, seats)}
	for i := range l.peers {
		l.peers[i].mark = base
	}
	return l
}

// ErrStopSign says that a stop-sign was given to Propose: see [Group.Reconfigure].
var ErrStopSign = errors.New("paxos: a stop-sign cannot be proposed as a command")

// Propose puts v in the next slot. Errors: *NotLeaderError, ErrOverloaded
// (window full, or a reconfiguration under way), ErrStopSign; all mean that
// nothing happened.
func (g *Group) Propose(v synod.Value, out *Effects) (Slot, error) {
	l := g.lead
	if l == nil {
		return 0, g.notLeader()
	}
	if len(v) > 0 && Kind(v[0]) == KindStop {
		return 0, ErrStopSign
	}
	flight := int(l.next - 1 - g.decided)
	if l.stop || flight >= g.cfg.MaxWindow || flight > 0 && l.bytes+len(v) > g.cfg.MaxWindowBytes {
		return 0, ErrOverloaded
	}
	return g.propose(v, out), nil
}

// propose casts the own vote for v in the next slot. The others are asked when
// the turn ends. The vote counts at once: nothing that follows from it leaves
// this node before it is durable.
func (g *Group) propose(v synod.Value, out *Effects) Slot {
	l := g.lead
	s := l.next
	invariant.Check(!l.stop && s > g.decided, "ballot %v proposes in slot %d", l.ballot, s)
	g.vote(s, synod.Vote{Ballot: l.ballot, Value: v}, out)
	l.next++
	l.bytes += len(v)
	_, l.stop = g.stopSign(v)
	l.stop = l.stop && !mutant.On(mutant.AfterStop)
	return s
}

func (g *Group) notLeader() error {
	n := g.m.Node(g.promised.Member)
	if n == g.cfg.Self {
		n = 0
	}
	return &NotLeaderError{Leader: n}
}

// onAccepted moves a peer's mark.
func (g *Group) onAccepted(from synod.NodeID, m Accepted, out *Effects) {
	l := g.lead
	if l == nil || l.ballot != m.Ballot && !mutant.On(mutant.MixesBallots) {
		return
	}
	p := &l.peers[g.m.Seat(from)]
	p.known = true
	if upTo := min(m.UpTo, l.next-1); upTo > p.mark {
		p.mark = upTo
		g.count(out)
	}
}

// onNack drops the sender from the ballot's quorums and does nothing else. To
// answer with a higher ballot would make two nodes that cannot see each other
// depose each other for ever.
func (g *Group) onNack(from synod.NodeID, m Nack) {
	seat := g.m.Seat(from)
	switch {
	case g.camp != nil && g.camp.ballot == m.Ballot:
		g.camp.nacked = g.camp.nacked.With(seat)
		if !g.camp.ready {
			g.camp.promised = g.camp.promised.Without(seat)
		}
	case g.lead != nil && g.lead.ballot == m.Ballot:
		g.lead.peers[seat].nacked = true
	}
}

// quorumth returns the highest n that own and enough of the peers have reached
// to be a phase 2 quorum, 0 if too few are left.
func (g *Group) quorumth(own uint64, of func(p *peer) uint64) uint64 {
	var room [synod.MaxSeats]uint64
	reached := room[:0]
	for seat := range g.lead.peers {
		switch p := &g.lead.peers[seat]; {
		case seat == g.seat:
			reached = append(reached, own)
		case !p.nacked:
			reached = append(reached, of(p))
		}
	}
	q := g.m.Quorums()
	if len(reached) < q.Q2 {
		return 0
	}
	slices.Sort(reached)
	return reached[len(reached)-q.Q2]
}

// count decides every slot for which a quorum has voted.
func (g *Group) count(out *Effects) {
	l := g.lead
	chosen := Slot(g.quorumth(uint64(l.next-1), func(p *peer) uint64 { return uint64(p.mark) }))
	for g.decided < chosen && g.lead == l {
		g.decide(out)
	}
}

// others calls f for every voter that still takes part in the ballot.
func (g *Group) others(f func(to synod.NodeID, p *peer)) {
	for seat, v := range g.m.Voters {
		if p := &g.lead.peers[seat]; seat != g.seat && !p.nacked {
			f(v.Node, p)
		}
	}
}

// pack returns an Accept with the values from slot first on, up to last or as
// many as one message may carry.
func (g *Group) pack(first, last, decided Slot) Accept {
	m := Accept{Config: g.m.ID, Ballot: g.lead.ballot, Base: g.lead.base, First: first, Decided: decided}
	end, size := first, 0
	for ; end <= last; end++ {
		if size += cost(g.log.at(end).vote.Value); size > g.cfg.MaxMessageBytes && end > first {
			break
		}
	}
	if end > first {
		m.Values = make([]synod.Value, 0, end-first)
	}
	for s := first; s < end; s++ {
		m.Values = append(m.Values, g.log.at(s).vote.Value)
	}
	return m
}

// flushAccepts sends what was proposed in this turn, and the watermark.
//
// Accepts may leave before this turn is durable: their ballot was promised in
// an earlier one, so a restart cannot use it for anything else. The watermark
// in them rests on no own vote that is not durable yet. Where this member is a
// quorum on its own, its vote is all there is, and nothing is early.
func (g *Group) flushAccepts(out *Effects) {
	l := g.lead
	early := g.durable.ballot == l.ballot && g.m.Quorums().Q2 > 1
	decided, to := g.decided, &out.Send
	if early {
		decided, to = min(g.decided, g.durable.voted), &out.Early
	}
	for l.sent < l.next-1 {
		m := g.pack(l.sent+1, l.next-1, decided)
		l.sent += Slot(len(m.Values))
		l.told, l.unheard = max(l.told, decided), false
		var boxed Message = m // once for all
		g.others(func(n synod.NodeID, _ *peer) { *to = append(*to, Envelope{n, boxed}) })
	}
	if l.unheard || l.told < g.decided {
		m := g.pack(l.next, 0, g.decided)
		if l.unheard {
			m.First = 0 // a probe
		}
		l.told, l.unheard = g.decided, false
		g.others(func(n synod.NodeID, _ *peer) { g.send(n, m, out) })
	}
}

// tickLead repeats to every peer what it has left unanswered for a whole tick.
// A peer that refuses the ballot is only told what is chosen.
func (g *Group) tickLead(out *Effects) {
	l := g.lead
	g.others(func(n synod.NodeID, p *peer) {
		first := max(p.mark, g.decided) + 1 // what is decided, it fetches by itself
		still := p.mark == p.tickMark
		switch {
		case still && p.tickSent >= first:
			g.send(n, g.pack(first, l.sent, g.decided), out)
		case !p.known, still && p.tickSent > p.mark:
			m := g.pack(first, 0, g.decided)
			m.First = 0
			g.send(n, m, out)
		}
		p.tickMark, p.tickSent = p.mark, l.sent
	})
	g.tickReads(out)
	for seat, v := range g.m.Voters {
		if p := l.peers[seat]; p.nacked && p.heard < g.decided {
			g.send(v.Node, Learned{Decided: g.decided}, out)
		}
	}
}
