package leader

import (
	"fmt"
	"slices"
	"testing"

	"github.com/prytany/prytany/synod"
)

// stand has node i begin phase 1 with a ballot of its own above the leader's, as if
// the promise to itself, for which it was supported before, were durable only now.
func (w *world) stand(i int) {
	h := w.nodes[i]
	h.promised = synod.Ballot{Round: h.promised.Round, Member: synod.Ordinal(i + 1)}
	h.own, h.leading, h.anew, h.heard, h.seen = h.promised, false, false, synod.Set(0).With(i), h.vote
	w.sync(h)
	w.step(h)
	w.propose(h)
}

// lateCandidate: the promise of a candidate to itself takes so long that others
// have elected somebody. That one is left alone, however many heartbeats are lost,
// and the candidate believes its neighbours that it leads.
func lateCandidate(t testing.TB, seed uint64, off mutant) {
	name := fmt.Sprintf("late candidate, seed %d", seed)
	nodes := 3 + 2*int(seed%2)
	late := nodes - 1
	w := crooked(nodes, seed, off)
	w.establish(t, 0)
	if seed%3 == 0 { // it hears of the leader by others only
		w.cut(0, late)
		w.run(w.now + 600*ms)
	}
	w.stand(late)
	w.run(w.now + 300*ms)
	w.loss = 20
	w.run(w.now + 5000*ms)
	w.loss = 0
	w.run(w.now + 1000*ms)
	w.judge(t, name, 0)
	if h := w.nodes[late]; !h.own.IsZero() {
		t.Errorf("%s: it still campaigns with %v", name, h.own)
	} else if node, _ := h.m.Leader(1); node != nid(0) {
		t.Errorf("%s: it believes that node %v leads; want %v", name, node, nid(0))
	}

	// Where the leader hears it, its vote is won back, and no election is needed when
	// others are lost. Else it is missing until then: the election is above its promise.
	most := 1
	if seed%3 != 0 {
		w.run(w.now + 10_000*ms)
		if got := w.nodes[late].promised; got.Member != 1 {
			t.Errorf("%s: it still votes for nobody, with a promise to %v", name, got)
		}
		w.judge(t, name+", won back", 0)
		most = 0
	}
	for i := 1; i <= (nodes-1)/2; i++ {
		w.crash(i, true)
	}
	w.join(0, late)
	w.run(w.now + 4000*ms)
	w.judge(t, name+", later", most)
}

// withdrawn: a candidate withdraws when the leader says that it leads, or a
// neighbour that is content says it of the leader. Other candidates count for
// nothing, nor does who has handed over.
func withdrawn(t testing.TB, _ uint64, off mutant) {
	own, lower := ballot(2, 1), ballot(1, 3)
	leads := Report{Group: 1, Config: 1, Own: lower, Followed: lower, Content: true, Leading: true}
	follows, rival, above := leads, leads, leads
	follows.Own = synod.Ballot{}
	rival.Leading = false
	above.Own, above.Followed = synod.Ballot{}, ballot(2, 2)
	for _, c := range []struct {
		name     string
		says     Report
		released bool
		want     bool
	}{
		{"leads", leads, false, true},
		{"follows", follows, false, true},
		{"is a candidate", rival, false, false},
		{"follows a higher ballot", above, false, false},
		{"has handed over", leads, true, false},
	} {
		d := newDesk(t, Config{Self: 1, Incarnation: 1}, off)
		d.facts(Facts{Config: 1, Voters: three, Promised: lower})
		d.run(200*ms, c.says)
		if c.released {
			d.n.Receive(3, Release{1, 1, lower, 1}, d.now, &d.out)
		}
		d.out.Reset()
		d.facts(Facts{Config: 1, Voters: three, Promised: own, Own: own})
		d.run(400*ms, c.says)
		got := slices.Contains(d.out.Advice, Advice{Group: 1, Withdraw: own})
		if got != c.want {
			t.Errorf("a neighbour %s: withdraws %v; want %v", c.name, got, c.want)
		}
	}
}
