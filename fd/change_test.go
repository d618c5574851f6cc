package fd

import (
	"fmt"
	"testing"
	"time"

	"github.com/prytany/prytany/synod"
)

func TestChanges(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(n Node, do func(*Node)) Node { do(&n); return n }
	two := Node{ID: 2, Name: "n2", GossipAddr: "two", Incarnation: 1}
	tests := []struct {
		name string
		do   func(*table)
		want []string // what it changes: kind, node, reason
	}{
		{"a node comes", func(tb *table) { tb.put(two, start) }, []string{"joined 2: "}},
		{"it is told of again", func(tb *table) { tb.put(two, start) }, nil},
		{"it moves", func(tb *table) { tb.put(at(two, func(n *Node) { n.GossipAddr, n.Zone = "TWO", "z" }), start) },
			[]string{`described 2: gossip address "TWO", was "two"; zone "z", was ""`}},
		{"it is lost", func(tb *table) { tb.dead(2, start) },
			[]string{"lost 2: without a word: it crashed, or nobody who was asked reaches it"}},
		{"it is lost once", func(tb *table) { tb.dead(2, start) }, nil},
		{"it was out of reach", func(tb *table) { tb.put(two, start) },
			[]string{"back 2: with the same incarnation: it was out of reach, or stood still"}},
		{"it restarts at once", func(tb *table) { tb.put(at(two, func(n *Node) { n.Incarnation = 2 }), start) },
			[]string{"restarted 2: incarnation 2, after 1"}},
		{"it is about to go", func(tb *table) { tb.put(at(two, func(n *Node) { n.Incarnation, n.State = 2, Leaving }), start) },
			[]string{"going 2: it says so"}},
		{"it goes", func(tb *table) { tb.dead(2, start) }, []string{"left 2: it had said so"}},
		{"it comes back", func(tb *table) { tb.put(at(two, func(n *Node) { n.Incarnation = 3 }), start) },
			[]string{"back 2: with a new incarnation, 3"}},
		{"it lives twice", func(tb *table) { tb.clash(2, "copy", start) },
			[]string{"conflicted 2: two processes have its identity, at two and copy; stop the copy"}},
		{"it is lost for good", func(tb *table) { tb.dead(2, start); tb.forget(start.Add(time.Hour), time.Minute) },
			[]string{"lost 2: without a word: it crashed, or nobody who was asked reaches it", "forgotten 2: dead for 1h0m0s"}},
		{"two have one name", func(tb *table) {
			tb.put(Node{ID: 3, Name: "same", GossipAddr: "three"}, start)
			tb.put(Node{ID: 4, Name: "same", GossipAddr: "four"}, start)
		}, []string{"joined 3: ", "joined 4: ", `conflicted 4: 2 nodes have the name "same", at three and four`}},
	}
	tb := table{members: make(map[synod.NodeID]member)}
	for _, tt := range tests {
		tt.do(&tb)
		changes, missed := tb.take()
		var got []string
		for i, c := range changes {
			got = append(got, fmt.Sprintf("%v %d: %s", c.Kind, c.Node.ID, c.Reason))
			if c.Version > tb.view.Version || i > 0 && c.Version < changes[i-1].Version {
				t.Errorf("%s: change %d is of version %d; the view is of %d", tt.name, i, c.Version, tb.view.Version)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(tt.want) || missed != 0 {
			t.Errorf("%s:\n got %q\nwant %q", tt.name, got, tt.want)
		}
	}
}

// TestChangesAreBounded drops the oldest, and says how many.
func TestChangesAreBounded(t *testing.T) {
	tb := table{members: make(map[synod.NodeID]member)}
	for i := range maxChanges + 3 {
		tb.put(Node{ID: 1, Zone: fmt.Sprint(i)}, time.Unix(0, 0))
	}
	changes, missed := tb.take()
	if len(changes) != maxChanges || missed != 3 || changes[0].Node.Zone != "3" {
		t.Errorf("%d changes, %d missed, the first is of zone %s; want %d, 3, 3", len(changes), missed, changes[0].Node.Zone, maxChanges)
	}
}

// TestChangesOfOthers wants to hear of others only, in the order of the view.
func TestChangesOfOthers(t *testing.T) {
	a, _ := start(t, Config{Self: node(1)})
	b, stop := start(t, Config{Self: node(2), Join: []string{a.Addr()}})
	wait(t, a, "a sees b", in(2, Alive))
	wait(t, b, "b sees a", in(1, Alive)) // whom to tell that it goes
	if err := b.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	wait(t, a, "a sees b gone", in(2, Dead))
	stop()
	var got []ChangeKind
	changes, _ := a.Changes()
	for _, c := range changes {
		if c.Node.ID != 2 {
			t.Errorf("a change of %v", c.Node.ID)
		}
		got = append(got, c.Kind)
	}
	if fmt.Sprint(got) != fmt.Sprint([]ChangeKind{Joined, Going, Left}) {
		t.Errorf("changes %v; want joined, going, left", got)
	}
	if again, missed := a.Changes(); len(again) != 0 || missed != 0 {
		t.Errorf("taken twice: %v, %d", again, missed)
	}
}
