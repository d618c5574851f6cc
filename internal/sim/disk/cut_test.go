package disk

import (
	"math/rand/v2"
	"testing"

	"github.com/prytany/prytany/paxos"
)

// A write that was cut off is there or not, and some of those that are not were written
// in part.
func TestCutWritesAreWholeOrNot(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var votes []paxos.SlotVote
	for i := range 40 {
		votes = append(votes, paxos.SlotVote{Slot: paxos.Slot(i + 2), Config: 1})
	}
	updates := []paxos.Update{{Group: 1, Dirty: true, Votes: votes}}
	for _, torn := range []bool{false, true} {
		var whole, half, none int
		for range 2000 {
			switch w, h := Cut(updates, torn, r); {
			case w && h:
				t.Fatal("a write that is there in part is whole")
			case w:
				whole++
			case h:
				half++
			default:
				none++
			}
		}
		if whole == 0 || half == 0 || none == 0 {
			t.Errorf("torn %v: of 2000 writes %d are there, %d in part, %d not at all", torn, whole, half, none)
		}
	}
}

func TestFlippedBitsAreNoticed(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var d Disk
	if err := d.Save([]paxos.Update{{Group: 1, Dirty: true, Votes: []paxos.SlotVote{{Slot: 2, Config: 1}}}}); err != nil {
		t.Fatal(err)
	}
	if err := d.SaveSnapshot(1, paxos.Snapshot{Slot: 1, Data: []byte("state")}); err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for range 2000 {
		what, noticed := d.Flip(r)
		if !noticed {
			t.Fatalf("a bit that has turned in %s is not noticed", what)
		}
		found[what]++
	}
	if len(found) != 3 {
		t.Errorf("bits turned in %v; want headers, votes and snapshots", found)
	}
}
