package image

import (
	"testing"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

func TestWishes(t *testing.T) {
	var w Wishes[string]
	ask := func(of string, to synod.NodeID, offset uint64) {
		w.Add(of, paxos.ChunkRequest{To: to, Offset: offset})
	}
	ask("a", 1, 0)
	ask("b", 1, 0)
	ask("a", 2, 0)
	ask("a", 1, 7) // in the place of what it asked before
	w.Forget("b")
	for _, want := range []Wish[string]{{"a", paxos.ChunkRequest{To: 1, Offset: 7}}, {"a", paxos.ChunkRequest{To: 2}}} {
		if got, ok := w.Next(); !ok || got != want {
			t.Errorf("Next() = %+v, %v; want %+v", got, ok, want)
		}
	}
	if got, ok := w.Next(); ok {
		t.Errorf("Next() = %+v of nothing", got)
	}
	for i := range MaxWishes + 10 {
		ask("a", synod.NodeID(i+1), 0)
	}
	if len(w.list) != MaxWishes {
		t.Errorf("%d wishes wait; want at most %d", len(w.list), MaxWishes)
	}
}
