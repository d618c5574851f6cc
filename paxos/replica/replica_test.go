package replica

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

func TestOneNode(t *testing.T) {
	w := newWorld(t, 1, 1, nil)
	w.settle()
	if r := w.do(0, KindPropose, "a"); string(r.Payload) != "did a" || r.Slot < 2 {
		t.Fatalf("propose: %q in slot %d; want \"did a\" above 1", r.Payload, r.Slot)
	}
	if r := w.do(0, KindBarrier, ""); r.Slot < 2 {
		t.Fatalf("barrier: slot %d; want at least 2", r.Slot)
	}
	if r := w.do(0, KindAsk, "q"); string(r.Payload) != "heard q" {
		t.Fatalf("ask: %q; want \"heard q\"", r.Payload)
	}
	w.nodes[0].machine.wish = []string{"own"}
	w.until("the machine's own command", func() bool { return slices.Contains(w.nodes[0].machine.commands, "own") })
}

func TestEveryNodeServes(t *testing.T) {
	w := newWorld(t, 3, 3, nil)
	w.settle()
	for i := range w.nodes {
		cmd := fmt.Sprintf("from %d", i)
		if r := w.do(i, KindPropose, cmd); string(r.Payload) != "did "+cmd {
			t.Errorf("node %d: %q", i+1, r.Payload)
		}
		if r := w.do(i, KindAsk, cmd); string(r.Payload) != "heard "+cmd {
			t.Errorf("node %d: %q", i+1, r.Payload)
		}
	}
	if got := w.agree(); !slices.Equal(got, []string{"from 0", "from 1", "from 2"}) {
		t.Errorf("applied %q", got)
	}
}

func TestCommandsOfATurnShareASlot(t *testing.T) {
	w := newWorld(t, 3, 3, nil)
	l := w.settle()
	var results []**Result
	for i := range 600 {
		results = append(results, w.submit(l, KindPropose, fmt.Sprint(i)))
	}
	w.until("all answers", func() bool { return w.open == 0 })
	slots := map[paxos.Slot]int{}
	for _, r := range results {
		slots[(*r).Slot]++
	}
	if len(slots) != 2 {
		t.Errorf("600 commands took slots %v; want 512 in one and the rest in another", slots)
	}
}

func TestLeaderStops(t *testing.T) {
	w := newWorld(t, 3, 3, nil)
	l := w.settle()
	w.do((l+1)%3, KindPropose, "before")
	w.stop(l)
	w.do((l+1)%3, KindPropose, "after")
	w.do((l+2)%3, KindBarrier, "")
	w.start(l)
	w.do(l, KindPropose, "back")
	if got := w.agree(); !slices.Equal(got, []string{"before", "after", "back"}) {
		t.Errorf("applied %q", got)
	}
}

func TestBarrierSeesEverythingAcknowledged(t *testing.T) {
	w := newWorld(t, 3, 3, nil)
	l := w.settle()
	w.drop = 0.1
	for i := range 50 {
		cmd := fmt.Sprint(i)
		res := w.submit(l, KindPropose, cmd)
		w.until("an answer", func() bool { return *res != nil })
		if (*res).Err != nil {
			continue
		}
		reader := (l + 1 + i%2) % 3
		read := w.submit(reader, KindBarrier, "")
		w.until("a barrier", func() bool {
			if *read == nil || (*read).Err == nil {
				return *read != nil
			}
			read = w.submit(reader, KindBarrier, "")
			return false
		})
		if !slices.Contains(w.nodes[reader].machine.commands, cmd) {
			t.Fatalf("node %d was allowed to read without %q", reader+1, cmd)
		}
	}
}

func TestCutOffNodeIsServedByANeighbour(t *testing.T) {
	w := newWorld(t, 3, 3, nil)
	l := w.settle()
	a, b := w.nodes[l].id, w.nodes[(l+1)%3].id
	w.cut[[2]synod.NodeID{min(a, b), max(a, b)}] = true
	w.run(2 * time.Second)
	for i := range 10 {
		cmd := fmt.Sprint(i)
		if r := w.do((l+1)%3, KindPropose, cmd); string(r.Payload) != "did "+cmd {
			t.Fatalf("%q: %+v", cmd, r)
		}
		w.do((l+1)%3, KindBarrier, "")
		if !slices.Contains(w.nodes[(l+1)%3].machine.commands, cmd) {
			t.Fatalf("barrier without %q", cmd)
		}
	}
	if w.leader() != l {
		t.Errorf("node %d leads; want %d, as before", w.leader()+1, l+1)
	}
}

func TestSnapshotTrimRestart(t *testing.T) {
	w := newWorld(t, 3, 3, func(c *Config) { c.SnapshotSlots, c.TailSlots = 20, 5 })
	l := w.settle()
	for i := range 100 {
		w.do(l, KindPropose, fmt.Sprint(i))
	}
	want := slices.Clone(w.agree())
	w.run(time.Second)
	for i, a := range w.nodes {
		g := a.disk.groups[paxos.Main]
		if g.snap.Slot < 80 || len(g.votes) > 40 {
			t.Errorf("node %d keeps a snapshot of slot %d and %d votes; want at least 80, at most 40", i+1, g.snap.Slot, len(g.votes))
		}
	}
	for i := range w.nodes {
		w.stop(i)
	}
	for i := range w.nodes {
		w.start(i)
	}
	w.settle()
	w.do(0, KindPropose, "again")
	if got := w.agree(); !slices.Equal(got, append(want, "again")) {
		t.Errorf("after the restart: %d commands; want %d", len(got), len(want)+1)
	}
}

func TestSnapshotWithoutItsHeader(t *testing.T) {
	w := newWorld(t, 1, 1, nil)
	w.settle()
	w.do(0, KindPropose, "a")
	w.do(0, KindPropose, "b")
	// The process ends between SaveSnapshot and Save.
	g := w.nodes[0].host.groups[paxos.Main]
	data, _ := g.machine.Snapshot()
	s := paxos.Snapshot{Slot: g.applied, Membership: g.status.Membership, Data: data}
	if err := w.nodes[0].disk.SaveSnapshot(paxos.Main, s); err != nil {
		t.Fatal(err)
	}
	w.stop(0)
	w.start(0)
	w.settle()
	w.do(0, KindPropose, "c")
	if got := w.agree(); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("applied %q", got)
	}
}

// reconfigure changes the configuration by node l.
func (w *world) reconfigure(l int, change func(paxos.Membership) (paxos.Membership, error)) {
	w.t.Helper()
	var res *Result
	w.nodes[l].host.submit(&request{gid: paxos.Main, kind: kindChange, change: change, done: func(r Result) { res = &r }})
	w.nodes[l].next = w.now
	w.until("the change", func() bool { return res != nil })
	if res.Err != nil {
		w.t.Fatalf("reconfigure: %v", res.Err)
	}
}

func TestLearnersBecomeVoters(t *testing.T) {
	w := newWorld(t, 3, 1, func(c *Config) { c.SnapshotSlots, c.TailSlots = 20, 5 })
	w.settle()
	big := strings.Repeat("x", 40<<10) // so that the snapshot takes several chunks
	for i := range 45 {
		w.do(0, KindPropose, fmt.Sprint(i, big))
	}
	for i := 1; i < 3; i++ {
		w.nodes[i].host.Learn(paxos.Main, []synod.NodeID{1})
		w.nodes[i].next = w.now
		w.until("the learner has caught up", func() bool {
			return w.nodes[i].machine != nil && w.nodes[i].machine.applied == w.nodes[0].machine.applied
		})
		l := w.leader()
		w.reconfigure(l, func(m paxos.Membership) (paxos.Membership, error) {
			return m.With(paxos.Member{Node: w.nodes[i].id}, m.Ordinal(w.nodes[l].id)), nil
		})
		w.settle()
		w.do(i, KindPropose, fmt.Sprint("voter ", i))
	}
	if got := len(w.agree()); got != 47 {
		t.Errorf("%d commands; want 47", got)
	}
	w.stop(w.settle())
	w.settle()
	i := slices.IndexFunc(w.nodes, func(a *actor) bool { return a.host != nil })
	w.do(i, KindPropose, "two of three")
	w.agree()
}

func TestRemovedNodeLearnsOfIt(t *testing.T) {
	w := newWorld(t, 3, 3, nil)
	l := w.settle()
	gone := (l + 1) % 3
	for i := range w.nodes {
		a, b := w.nodes[i].id, w.nodes[gone].id
		w.cut[[2]synod.NodeID{min(a, b), max(a, b)}] = true
	}
	w.reconfigure(l, func(m paxos.Membership) (paxos.Membership, error) {
		return m.Without(w.nodes[gone].id, m.Ordinal(w.nodes[l].id)), nil
	})
	w.run(time.Second)
	clear(w.cut)
	w.until("the removed node knows", func() bool {
		return w.nodes[gone].host.groups[paxos.Main].status.Membership.Seat(w.nodes[gone].id) < 0
	})
	w.do(gone, KindPropose, "from outside")
	w.agree()
}

func TestWindowFull(t *testing.T) {
	w := newWorld(t, 3, 3, func(c *Config) { c.MaxBatch = 1 })
	l := w.settle()
	var results []**Result
	for i := range 3000 {
		results = append(results, w.submit(l, KindPropose, fmt.Sprint(i)))
	}
	w.until("all answers", func() bool { return w.open == 0 })
	for i, r := range results {
		if (*r).Err != nil {
			t.Fatalf("command %d: %v", i, (*r).Err)
		}
	}
	if got := len(w.agree()); got != 3000 {
		t.Errorf("%d commands; want 3000", got)
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t, 3, 3, func(c *Config) { c.MaxPending = 10 })
	var refused *paxos.NotLeaderError
	w.stop(1)
	w.stop(2) // no quorum: nobody can lead
	var results []**Result
	for i := range 11 {
		results = append(results, w.submit(0, KindPropose, fmt.Sprint(i)))
	}
	if r := *results[10]; r == nil || !errors.Is(r.Err, paxos.ErrOverloaded) {
		t.Errorf("the eleventh: %+v; want overloaded", r)
	}
	w.run(6 * time.Second)
	for i, r := range results[:10] {
		if *r == nil || (*r).Err == nil || errors.Is((*r).Err, paxos.ErrOverloaded) {
			t.Errorf("command %d: %+v; want refused or unknown", i, *r)
		}
	}
	host := w.nodes[0].host
	var res *Result
	host.Submit(99, KindPropose, nil, func(r Result) { res = &r })
	w.nodes[0].next = w.now
	w.step()
	if res == nil || !errors.As(res.Err, &refused) {
		t.Errorf("unknown group: %+v; want *NotLeaderError", res)
	}
	if err := host.Bootstrap(paxos.Main, first(3)); err == nil {
		t.Error("the group was bootstrapped twice")
	}
	if err := host.Bootstrap(2, paxos.Membership{ID: 2, Voters: first(1).Voters, Next: 2}); err == nil {
		t.Error("the first configuration may have ID 2")
	}
}

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
			var refused *paxos.NotLeaderError
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
			case errors.As(err, &refused), errors.Is(err, paxos.ErrOverloaded):
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

func TestWindow(t *testing.T) {
	var w window
	id := func(n uint64) uint64 { return 3<<32 + n }
	for _, step := range []struct {
		id   uint64
		want bool
	}{
		{id(5), true}, {id(5), false}, {id(2), true}, {id(2), false}, {id(5 + windowSize - 1), true}, {id(5), false},
		{id(6), true}, {id(6), false}, {id(5 + windowSize), true}, {id(5), false}, {id(7), true},
		{id(9 * windowSize), true}, {id(5 + windowSize), false}, {id(9*windowSize - 1), true}, {1<<33 - 1, false},
	} {
		if got := w.fresh(step.id); got != step.want {
			t.Errorf("fresh(%d) = %v; want %v", step.id-id(0), got, step.want)
		}
	}
}

func TestImage(t *testing.T) {
	m := first(3)
	m.Start = 17
	want := paxos.Snapshot{Slot: 40, Membership: m, Data: []byte("state")}
	b := encodeImage(want)
	got, err := decodeImage(40, b)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("decodeImage = %+v, %v; want %+v", got, err, want)
	}
	for n := range len(b) - len(want.Data) {
		if _, err := decodeImage(40, b[:n]); err == nil {
			t.Errorf("an image cut at %d of %d is accepted", n, len(b))
		}
	}
}

// silent is a Transport to nobody.
type silent struct{}

func (silent) Send(synod.NodeID, Packet) {}

func alone(t *testing.T, disk Storage, voters int) *Host {
	h, err := NewHost(Config{
		Self:       1,
		Leader:     leader.Config{Self: 1, Incarnation: 1},
		Storage:    disk,
		Transport:  silent{},
		NewMachine: func(paxos.GroupID) Machine { return &journal{} },
		RetryAfter: time.Minute,
	}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Bootstrap(paxos.Main, first(voters)); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := alone(t, &memory{}, 1)
		ctx, cancel := context.WithCancelCause(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- h.Run(ctx) }()
		for i := range 10 {
			cmd := fmt.Sprint(i)
			if r, err := h.Propose(t.Context(), paxos.Main, []byte(cmd)); err != nil || string(r.Payload) != "did "+cmd {
				t.Fatalf("Propose(%q) = %q, %v", cmd, r.Payload, err)
			}
		}
		if slot, err := h.Barrier(t.Context(), paxos.Main); err != nil || slot < 11 {
			t.Errorf("Barrier = %d, %v; want at least slot 11", slot, err)
		}
		if a, err := h.Ask(t.Context(), paxos.Main, []byte("q")); err != nil || string(a) != "heard q" {
			t.Errorf("Ask = %q, %v", a, err)
		}
		cause := errors.New("enough")
		cancel(cause)
		if err := <-ended; !errors.Is(err, cause) {
			t.Errorf("Run = %v; want the cause", err)
		}
		var refused *paxos.NotLeaderError
		if _, err := h.Propose(t.Context(), paxos.Main, nil); !errors.As(err, &refused) {
			t.Errorf("after the end: %v; want *NotLeaderError", err)
		}
	})
}

func TestProposeTimeoutIsNotAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := alone(t, &memory{}, 3) // the others are not there: nobody can lead
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- h.Run(ctx) }()
		short, done := context.WithTimeout(t.Context(), 3*time.Second)
		defer done()
		start := time.Now()
		_, err := h.Propose(short, paxos.Main, []byte("acquire"))
		if !errors.Is(err, paxos.ErrUnknownOutcome) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("err = %v; want unknown outcome and deadline", err)
		}
		if got := time.Since(start); got != 3*time.Second {
			t.Errorf("waited %v; want exactly 3s", got)
		}
		cancel()
		<-ended
	})
}

// slow is a disk that takes 600 ms for every write.
type slow struct{ *memory }

func (s slow) Save(updates []paxos.Update) error {
	time.Sleep(600 * time.Millisecond)
	return s.memory.Save(updates)
}

func TestSlowDiskIsUnwell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := alone(t, &memory{}, 1)
		h.cfg.Storage = slow{h.cfg.Storage.(*memory)}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- h.Run(ctx) }()
		if _, err := h.Propose(t.Context(), paxos.Main, []byte("a")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		cancel()
		<-ended
		if h.well.Disk {
			t.Error("a disk that took 600 ms for a write counts as well a second later")
		}
	})
}

func TestRunEndsWhenTheDiskFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &memory{}
		h := alone(t, disk, 1)
		broken := errors.New("input/output error")
		disk.fail = broken
		ended := make(chan error, 1)
		go func() { ended <- h.Run(t.Context()) }()
		if _, err := h.Propose(t.Context(), paxos.Main, []byte("a")); err == nil {
			t.Error("a proposal succeeded on a broken disk")
		}
		if err := <-ended; !errors.Is(err, broken) {
			t.Errorf("Run = %v; want the disk's error", err)
		}
		if _, err := h.Poll(time.Hour); !errors.Is(err, broken) {
			t.Errorf("Poll = %v; want the disk's error for good", err)
		}
	})
}
