package paxos_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// A trio is three members without disks and clocks, whose messages arrive at once.
type trio struct {
	groups  [3]*paxos.Group
	out     [3]paxos.Effects
	network []sent
	applied int // slots, by the first
}

type sent struct {
	from synod.NodeID
	paxos.Envelope
}

func newTrio(tb testing.TB) *trio {
	t := &trio{}
	m := paxos.Membership{ID: 1, Next: 4, Voters: []paxos.Member{{Node: 1, Ordinal: 1}, {Node: 2, Ordinal: 2}, {Node: 3, Ordinal: 3}}}
	for i := range t.groups {
		g, err := paxos.New(paxos.Config{Group: paxos.Main, Self: synod.NodeID(i + 1)}, paxos.Durable{Header: paxos.Header{Membership: m}})
		if err != nil {
			tb.Fatal(err)
		}
		t.groups[i] = g
	}
	t.turn(0, func(g *paxos.Group, out *paxos.Effects) { g.Campaign(synod.Ballot{Round: 1, Member: 1}, out) })
	if !t.groups[0].Brief().Leading {
		tb.Fatal("the first does not lead")
	}
	return t
}

// turn has one member do something, and then everybody what follows from it.
func (t *trio) turn(i int, step func(g *paxos.Group, out *paxos.Effects)) {
	t.step(i, step)
	for k := 0; k < len(t.network); k++ {
		p := t.network[k]
		t.step(int(p.To)-1, func(g *paxos.Group, out *paxos.Effects) { g.Receive(p.from, p.Msg, out) })
	}
	t.network = t.network[:0]
}

func (t *trio) step(i int, step func(g *paxos.Group, out *paxos.Effects)) {
	out := &t.out[i]
	out.Reset()
	step(t.groups[i], out)
	t.groups[i].Flush(out)
	for _, list := range [][]paxos.Envelope{out.Early, out.Send} {
		for _, e := range list {
			t.network = append(t.network, sent{synod.NodeID(i + 1), e})
		}
	}
	if i == 0 {
		t.applied += len(out.Apply)
	}
}

// BenchmarkGroup is one slot with so many commands of 256 bytes, from the proposal
// until all three members know it to be chosen: what the algorithm itself costs,
// of all three together.
func BenchmarkGroup(b *testing.B) {
	for _, commands := range []int{1, 64} {
		b.Run(fmt.Sprintf("commands=%d", commands), func(b *testing.B) {
			t := newTrio(b)
			batch := make([][]byte, commands)
			for i := range batch {
				batch[i] = bytes.Repeat([]byte("x"), 256)
			}
			ballot := synod.Ballot{Round: 1, Member: 1}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				t.turn(0, func(g *paxos.Group, out *paxos.Effects) {
					if _, err := g.Propose(paxos.EncodeBatch(ballot, batch), out); err != nil {
						b.Fatal(err)
					}
				})
				if n++; n%1000 == 0 {
					// As after a snapshot: the log does not grow for ever.
					for i, g := range t.groups {
						at := g.Brief().Decided
						t.turn(i, func(g *paxos.Group, out *paxos.Effects) { g.Compact(at, at, out) })
					}
				}
			}
			if t.applied < n {
				b.Fatalf("%d of %d slots were applied", t.applied, n)
			}
		})
	}
}

// BenchmarkRead is one linearizable read that the leader confirms with a quorum.
func BenchmarkRead(b *testing.B) {
	t := newTrio(b)
	b.ReportAllocs()
	for b.Loop() {
		t.turn(0, func(g *paxos.Group, out *paxos.Effects) {
			if _, err := g.Read(out); err != nil {
				b.Fatal(err)
			}
		})
	}
}
