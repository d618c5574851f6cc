package paxos_test

import (
	"fmt"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// Three members agree on two commands. This driver keeps "disks" in memory and
// delivers every message; what it must not change is the order within a turn.
func ExampleGroup() {
	m := paxos.Membership{ID: 1, Next: 4, Voters: []paxos.Member{{Node: 10, Ordinal: 1}, {Node: 20, Ordinal: 2}, {Node: 30, Ordinal: 3}}}
	groups := map[synod.NodeID]*paxos.Group{}
	for _, v := range m.Voters {
		g, err := paxos.New(paxos.Config{Group: paxos.Main, Self: v.Node}, paxos.Durable{Header: paxos.Header{Membership: m}})
		if err != nil {
			panic(err)
		}
		groups[v.Node] = g
	}

	type packet struct {
		from synod.NodeID
		paxos.Envelope
	}
	var network []packet
	turn := func(n synod.NodeID, step func(out *paxos.Effects)) {
		var out paxos.Effects
		step(&out)
		groups[n].Flush(&out)
		for _, e := range out.Early {
			network = append(network, packet{n, e})
		}
		// Here out.Save becomes durable.
		for _, e := range out.Send {
			network = append(network, packet{n, e})
		}
		for _, e := range out.Apply {
			if n == 10 {
				d, _ := paxos.Decode(e.Value)
				fmt.Printf("node %d applies slot %d: %s\n", n, e.Slot, d.Commands)
			}
		}
	}
	deliver := func() {
		for len(network) > 0 {
			p := network[0]
			network = network[1:]
			turn(p.To, func(out *paxos.Effects) { groups[p.To].Receive(p.from, p.Msg, out) })
		}
	}

	ballot := synod.Ballot{Round: 1, Member: 1}
	turn(10, func(out *paxos.Effects) { groups[10].Campaign(ballot, out) })
	deliver()
	turn(10, func(out *paxos.Effects) {
		for _, cmd := range []string{"set x", "set y"} {
			if _, err := groups[10].Propose(paxos.EncodeBatch(ballot, [][]byte{[]byte(cmd)}), out); err != nil {
				panic(err)
			}
		}
	})
	deliver()
	fmt.Println("node 30 knows everything up to slot", groups[30].Status().Decided)
	// Output:
	// node 10 applies slot 1: [set x]
	// node 10 applies slot 2: [set y]
	// node 30 knows everything up to slot 2
}
