package replica

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// A tally counts outcomes.
type tally map[string]int

// swapVoter asks whoever leads to add the node that is no voter, or to remove
// one other than itself.
func (w *world) swapVoter(total *tally) {
	l := w.leader()
	if l < 0 {
		return
	}
	self := w.nodes[l].id
	w.open++
	w.nodes[l].host.submit(&request{gid: paxos.Main, kind: kindChange, change: func(m paxos.Membership) (paxos.Membership, error) {
		for _, a := range w.nodes {
			if m.Seat(a.id) < 0 {
				return m.With(paxos.Member{Node: a.id}, m.Ordinal(self)), nil
			}
		}
		gone := synod.NodeID(1 + w.rand.IntN(4))
		if gone == self {
			gone = self%4 + 1
		}
		return m.Without(gone, m.Ordinal(self)), nil
	}, done: func(r Result) {
		w.open--
		if r.Err == nil {
			(*total)["reconfigured"]++
		}
	}})
}

// TestOutcomesAreTrue submits requests of all kinds under loss, repeats, crashes, cuts
// and changes of the configuration: every one must end exactly once, what is
// done must be in the log, and what is refused must not.
func TestOutcomesAreTrue(t *testing.T) {
	total := tally{}
	for seed := range uint64(20) {
		w := newWorld(t, 4, 3, func(c *Config) { c.SnapshotSlots, c.TailSlots, c.RetryAfter = 50, 10, time.Second })
		w.rand = rand.New(rand.NewPCG(seed, 7))
		w.settle()
		w.nodes[3].host.Learn(paxos.Main, []synod.NodeID{1, 2})
		w.until("the learner knows its group", func() bool { return w.nodes[3].machine != nil && w.nodes[3].machine.applied > 0 })
		w.drop, w.repeat = 0.15, 0.1
		results := map[string]**Result{}
		for i := range 600 {
			n := w.rand.IntN(4)
			switch {
			case i%61 == 30:
				w.swapVoter(&total)
			case i%97 == 50 && w.nodes[n].host != nil:
				w.stop(n)
			case i%97 == 80:
				for j, a := range w.nodes {
					if a.host == nil {
						w.start(j)
					}
				}
			}
			switch a, b := synod.NodeID(1+w.rand.IntN(4)), synod.NodeID(1+w.rand.IntN(4)); {
			case i%53 == 20 && a < b:
				w.cut[[2]synod.NodeID{a, b}] = true
			case i%53 == 45:
				clear(w.cut)
			}
			if w.nodes[n].host == nil {
				continue
			}
			kind := RequestKind(1 + w.rand.IntN(3))
			cmd := fmt.Sprintf("%d of seed %d", i, seed)
			res := w.submit(n, kind, cmd)
			if kind == KindPropose {
				results[cmd] = res
			}
			w.run(time.Duration(w.rand.IntN(20)) * time.Millisecond)
		}
		w.drop, w.repeat = 0, 0
		clear(w.cut)
		for j, a := range w.nodes {
			if a.host == nil {
				w.start(j)
			}
		}
		w.until("every request has ended", func() bool { return w.open == 0 })
		w.settle()
		w.do(0, KindPropose, "the last")
		log := w.agree()
		count := map[string]int{}
		for _, cmd := range log {
			count[cmd]++
		}
		for cmd, res := range results {
			switch err := (*res).Err; {
			case err == nil:
				total["done"]++
				if count[cmd] != 1 {
					t.Errorf("%q is done and %d times in the log", cmd, count[cmd])
				}
			case errors.Is(err, paxos.ErrUnknownOutcome):
				total["unknown"]++
				if count[cmd] > 1 {
					t.Errorf("%q is %d times in the log", cmd, count[cmd])
				}
			case paxos.Refused(err):
				total["refused"]++
				if count[cmd] != 0 {
					t.Errorf("%q is refused (%v) and in the log", cmd, err)
				}
			default:
				t.Errorf("%q: %v", cmd, err)
			}
		}
	}
	t.Logf("%v", total)
	if total["done"] < 100 || total["unknown"] == 0 || total["reconfigured"] < 10 {
		t.Errorf("outcomes %v: the test does not test much", total)
	}
}

func TestSameInputsSameRun(t *testing.T) {
	story := func() (time.Duration, int, []string) {
		w := newWorld(t, 3, 3, nil)
		w.drop = 0.1
		for i := range 50 {
			w.submit(i%3, RequestKind(1+i%3), fmt.Sprint(i))
			w.run(5 * time.Millisecond)
		}
		w.drop = 0
		w.until("the end", func() bool { return w.open == 0 })
		return w.now, w.seq, w.agree()
	}
	now1, seq1, log1 := story()
	now2, seq2, log2 := story()
	if now1 != now2 || seq1 != seq2 || !slices.Equal(log1, log2) {
		t.Errorf("two runs differ: ended at %v and %v after %d and %d packets", now1, now2, seq1, seq2)
	}
}

// TestForwardIsForOneProcess: a copy of a forwarded request stays behind on its way,
// and reaches the node after that has restarted. The second process does not know
// that the first had it done: were it to refuse the copy, the sender would take that
// for the truth, send the request again and have it done twice.
func TestForwardIsForOneProcess(t *testing.T) {
	w := newWorld(t, 3, 3, nil)
	led := w.settle()
	asked := (led + 1) % 3
	var late []wire
	w.lose = func(from, to synod.NodeID, p Packet) bool {
		switch p.Msg.(type) {
		case Forward:
			late = append(late, wire{from: from, to: to, p: p})
		case Answer:
			return true
		}
		return false
	}
	result := w.submit(asked, KindPropose, "once")
	w.until("the command is applied", func() bool { return slices.Contains(w.nodes[asked].machine.commands, "once") })
	a := w.nodes[led]
	a.host.Close()
	w.start(led)                                          // so soon that nobody has missed it
	w.lose = func(from, to synod.NodeID, p Packet) bool { // nor hears of it soon
		_, beat := p.Msg.(leader.Heartbeat)
		return beat && from == a.id && to == w.nodes[asked].id
	}
	for _, x := range late {
		a.host.Deliver(x.from, x.p)
	}
	w.until("the request ends", func() bool { return *result != nil })
	w.lose = nil
	if err := (*result).Err; !errors.Is(err, paxos.ErrUnknownOutcome) {
		t.Errorf("the request ends with %v; want %v", err, paxos.ErrUnknownOutcome)
	}
	w.settle()
	count := 0
	for _, c := range w.agree() {
		if c == "once" {
			count++
		}
	}
	if count != 1 {
		t.Errorf("done %d times; want once", count)
	}
}
