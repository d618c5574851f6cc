package paxos

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/prytany/prytany/synod"
)

// TestReceiveTolerates throws messages with arbitrary numbers at members in all
// roles. Nothing a peer can send may make one panic.
func TestReceiveTolerates(t *testing.T) {
	for seed := range uint64(400) {
		r := garbler{rand.New(rand.NewPCG(seed, 2))}
		m := Membership{ID: 1 + ConfigID(seed%2), Next: 4, Leader: 2}
		for n := range 3 {
			m.Voters = append(m.Voters, Member{Node: synod.NodeID(n + 1), Ordinal: synod.Ordinal(n + 1)})
		}
		g, err := New(Config{Group: Main, Self: synod.NodeID(1 + seed%4), MaxWindow: 4}, Durable{Header: Header{Membership: m}})
		if err != nil {
			t.Fatal(err)
		}
		var out Effects
		for range 300 {
			switch r.IntN(8) {
			case 0:
				g.Campaign(synod.Ballot{Round: r.number(), Member: m.Ordinal(g.cfg.Self)}, &out)
			case 1:
				g.Tick(&out)
			case 2:
				_, _ = g.Propose("v", &out) // any answer will do
			default:
				g.Receive(synod.NodeID(r.IntN(6)), r.message(g), &out)
			}
			if r.IntN(3) == 0 {
				g.Flush(&out)
				out.Reset()
			}
		}
	}
}

type garbler struct{ *rand.Rand }

func (r garbler) number() uint64 {
	switch r.IntN(12) {
	case 0:
		return math.MaxUint64 - r.Uint64N(3)
	case 1:
		return 1<<48 - r.Uint64N(3)
	}
	return r.Uint64N(8)
}

func (r garbler) slot() Slot { return Slot(r.number()) }

func (r garbler) ballot(g *Group) synod.Ballot {
	if own := g.ownBallot(); !own.IsZero() && r.IntN(2) == 0 {
		return own
	}
	return synod.Ballot{Round: r.number(), Member: synod.Ordinal(r.IntN(5))}
}

func (r garbler) values() (v []synod.Value) {
	stop := EncodeStop(Membership{ID: ConfigID(r.IntN(4)), Next: 3, Leader: 1, Voters: []Member{{Node: 1, Ordinal: 1}, {Node: 2, Ordinal: 2}}})
	all := []synod.Value{Noop, "a", "b", "\x02junk", stop}
	for range r.IntN(4) {
		v = append(v, all[r.IntN(len(all))])
	}
	return v
}

func (r garbler) message(g *Group) Message {
	c, b := g.m.ID, r.ballot(g)
	if r.IntN(8) == 0 {
		c = ConfigID(r.IntN(4))
	}
	switch r.IntN(11) {
	case 0:
		return Prepare{c, b, r.slot()}
	case 1:
		p := Promise{Config: c, Ballot: b, Decided: r.slot()}
		for i, v := range r.values() {
			p.Votes = append(p.Votes, SlotVote{r.slot() + Slot(i), c, r.IntN(2) == 0, synod.Vote{Ballot: r.ballot(g), Value: v}})
		}
		return p
	case 2, 3:
		return Accept{c, b, r.slot(), r.slot(), r.values(), r.slot()}
	case 4:
		return Accepted{c, b, r.slot()}
	case 5:
		return Nack{c, b, r.ballot(g)}
	case 6:
		return Confirm{c, b, r.number()}
	case 7:
		return Confirmed{c, b, r.number()}
	case 8:
		return CatchUp{From: r.slot(), Learner: r.IntN(2) == 0}
	case 9:
		return Learned{r.slot(), r.values(), r.slot()}
	}
	return Sealed{c, r.slot()}
}
