package paxos

import (
	"github.com/prytany/prytany/internal/mutant"
	"github.com/prytany/prytany/synod"
)

// reads are the linearizable reads that wait for proof of leadership.
//
// Proof is an answer to Confirm, sent after the read began, by a phase 2
// quorum that has promised nothing higher. It meets the phase 1 quorum of any
// ballot that could have chosen something before the read began.
type reads struct {
	seq     uint64
	pending []Read // in order of Seq
}

// Read asks for a linearizable read; see [Read]. Errors: *NotLeaderError.
// The answer comes once everything inherited is chosen.
func (g *Group) Read(out *Effects) (seq uint64, err error) {
	if g.lead == nil {
		return 0, g.notLeader()
	}
	g.reads.seq++
	g.reads.pending = append(g.reads.pending, Read{Seq: g.reads.seq, Index: max(g.decided, g.lead.top)})
	return g.reads.seq, nil
}

// flushReads begins one round for all reads of this turn.
func (g *Group) flushReads(out *Effects) {
	l := g.lead
	if n := len(g.reads.pending); n > 0 && g.reads.pending[n-1].Seq > l.asked {
		l.asked = g.reads.pending[n-1].Seq
		if g.m.Quorums().Q2 > 1 {
			g.others(func(to synod.NodeID, _ *peer) { g.confirm(to, out) })
		}
	}
	g.answerReads(out)
}

func (g *Group) confirm(to synod.NodeID, out *Effects) {
	g.send(to, Confirm{Config: g.m.ID, Ballot: g.lead.ballot, Seq: g.lead.asked}, out)
}

// answerReads answers what a quorum has confirmed.
func (g *Group) answerReads(out *Effects) {
	if len(g.reads.pending) == 0 || g.decided < g.lead.top {
		return
	}
	n := g.quorumth(g.lead.asked, func(p *peer) uint64 { return p.confirmed })
	if mutant.On(mutant.LocalReads) {
		n = g.lead.asked
	}
	done := 0
	for done < len(g.reads.pending) && g.reads.pending[done].Seq <= n {
		done++
	}
	out.Reads = append(out.Reads, g.reads.pending[:done]...)
	g.reads.pending = append(g.reads.pending[:0], g.reads.pending[done:]...)
}

// tickReads asks those again that have not answered the last round.
func (g *Group) tickReads(out *Effects) {
	if len(g.reads.pending) == 0 {
		return
	}
	g.others(func(to synod.NodeID, p *peer) {
		if p.confirmed < g.lead.asked {
			g.confirm(to, out)
		}
	})
}

// failReads refuses all reads that wait.
func (g *Group) failReads(out *Effects) {
	for _, r := range g.reads.pending {
		out.Reads = append(out.Reads, Read{Seq: r.Seq, Err: g.notLeader()})
	}
	g.reads.pending = g.reads.pending[:0]
}

func (g *Group) onConfirm(from synod.NodeID, m Confirm, out *Effects) {
	if m.Ballot.Less(g.promised) {
		g.send(from, Nack{Config: m.Config, Ballot: m.Ballot, Promised: g.promised}, out)
		return
	}
	g.send(from, Confirmed(m), out)
}

func (g *Group) onConfirmed(from synod.NodeID, m Confirmed, out *Effects) {
	if l := g.lead; l != nil && l.ballot == m.Ballot && m.Seq <= l.asked {
		p := &l.peers[g.m.Seat(from)]
		p.confirmed = max(p.confirmed, m.Seq)
		g.answerReads(out)
	}
}
