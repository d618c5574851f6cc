package replica

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// trickle submits n requests to node i, one after the other, each in a turn of its
// own, before anything else can happen.
func (w *world) trickle(i, n int, k RequestKind) (results []**Result) {
	w.t.Helper()
	for j := range n {
		results = append(results, w.submit(i, k, fmt.Sprint(j)))
		if _, err := w.nodes[i].host.Poll(w.now); err != nil {
			w.t.Fatal(err)
		}
	}
	return results
}

func TestBusyGroupGathers(t *testing.T) {
	for _, c := range []struct{ pipeline, slots int }{{0, 2}, {1, 2}, {3, 4}, {1000, 40}} {
		w := newWorld(t, 3, 3, func(cfg *Config) { cfg.Pipeline = c.pipeline })
		results := w.trickle(w.settle(), 40, KindPropose)
		w.until("all answers", func() bool { return w.open == 0 })
		slots := map[paxos.Slot]bool{}
		for i, r := range results {
			if want := fmt.Sprintf("did %d", i); (*r).Err != nil || string((*r).Payload) != want {
				t.Fatalf("answer %d: %+v", i, *r)
			}
			slots[(*r).Slot] = true
		}
		if len(slots) != c.slots {
			t.Errorf("with a pipeline of %d, 40 commands took %d slots; want %d", c.pipeline, len(slots), c.slots)
		}
	}
}

// A slot that cannot be chosen holds up nobody for longer than it takes to see it.
func TestStuckSlotLetsOthersPass(t *testing.T) {
	w := newWorld(t, 3, 3, nil)
	l := w.settle()
	stuck := true
	w.lose = func(from, _ synod.NodeID, p Packet) bool {
		_, accept := p.Msg.(paxos.Accept)
		return stuck && accept && from == w.nodes[l].id
	}
	w.trickle(l, 5, KindPropose)
	g := w.nodes[l].host.groups[paxos.Main]
	if is := g.core.Proposed(); is != 1 || len(g.proposals) != 4 {
		t.Fatalf("%d slots and %d commands wait; want 1 and 4", is, len(g.proposals))
	}
	w.run(2*w.nodes[l].host.cfg.TickEvery + time.Millisecond)
	if is := g.core.Proposed(); is != 2 || len(g.proposals) != 0 {
		t.Fatalf("after two ticks %d slots and %d commands wait; want 2 and none", is, len(g.proposals))
	}
	w.trickle(l, 5, KindPropose)
	if is := g.core.Proposed(); is != 7 {
		t.Errorf("%d slots are under way while one is stuck; want 7", is)
	}
	stuck = false
	w.until("all answers", func() bool { return w.open == 0 })
	w.trickle(l, 1, KindPropose)
	w.run(2*w.nodes[l].host.cfg.TickEvery + time.Millisecond)
	w.trickle(l, 5, KindPropose)
	if is := g.core.Proposed(); is != 1 {
		t.Errorf("%d slots are under way when all is well again; want 1", is)
	}
	w.until("all answers", func() bool { return w.open == 0 })
}

func TestReadsShareRounds(t *testing.T) {
	w := newWorld(t, 3, 3, nil)
	l := w.settle()
	forwards, rounds := 0, map[uint64]bool{}
	w.lose = func(_, _ synod.NodeID, p Packet) bool {
		switch m := p.Msg.(type) {
		case Forward:
			forwards++
		case paxos.Confirm:
			rounds[m.Seq] = true
		}
		return false
	}
	for _, c := range []struct{ node, forwards, rounds int }{{l, 0, 2}, {(l + 1) % 3, 2, 2}} {
		forwards = 0
		clear(rounds)
		results := w.trickle(c.node, 40, KindBarrier)
		w.until("all answers", func() bool { return w.open == 0 })
		for _, r := range results {
			if (*r).Err != nil {
				t.Fatalf("barrier: %+v", *r)
			}
		}
		if forwards != c.forwards || len(rounds) != c.rounds {
			t.Errorf("40 reads at node %d, leader %d, took %d forwards and %d rounds; want %d and %d",
				c.node+1, l+1, forwards, len(rounds), c.forwards, c.rounds)
		}
	}
}

// What shares a question shares its fate, and that is never silence.
func TestSharedQuestionIsLost(t *testing.T) {
	for _, c := range []struct {
		name string
		then func(w *world, l int)
	}{
		{"the leader ends", func(w *world, l int) { w.stop(l) }},
		{"the answer is lost", func(w *world, l int) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 3, 3, nil)
			l := w.settle()
			lost := 0
			w.lose = func(_, _ synod.NodeID, p Packet) bool {
				_, answer := p.Msg.(Answer)
				if answer {
					lost++
				}
				return answer && lost == 1
			}
			var results []**Result
			for range 10 { // of one turn
				results = append(results, w.submit((l+1)%3, KindBarrier, ""))
			}
			w.run(10 * time.Millisecond)
			if lost != 1 {
				t.Fatalf("%d answers; want one for all", lost)
			}
			c.then(w, l)
			w.until("all answers", func() bool { return w.open == 0 })
			for _, r := range results {
				var refused *paxos.NotLeaderError
				if (*r).Err != nil && !errors.As((*r).Err, &refused) {
					t.Errorf("barrier: %+v", *r)
				}
			}
		})
	}
}
