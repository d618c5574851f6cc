package replica

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica/internal/image"
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

func TestRequestsUnderWayEndWithTheLink(t *testing.T) {
	for _, c := range []struct {
		name    string
		isolate bool
	}{{"link", false}, {"leader", true}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 3, 3, func(c *Config) { c.RetryAfter = time.Minute })
			l := w.settle()
			asked := (l + 1) % 3
			for _, other := range w.nodes {
				if a, b := w.nodes[l].id, other.id; a != b && (c.isolate || int(b) == asked+1) {
					w.cut[[2]synod.NodeID{min(a, b), max(a, b)}] = true
				}
			}
			begin := w.now
			change, read := w.submit(asked, KindPropose, "x"), w.submit(asked, KindBarrier, "")
			w.until("two answers", func() bool { return *change != nil && *read != nil })
			if took := w.now - begin; took > 5*time.Second {
				t.Errorf("answers after %v", took)
			}
			if err := (*change).Err; !errors.Is(err, paxos.ErrUnknownOutcome) {
				t.Errorf("proposal: %v; want %v", err, paxos.ErrUnknownOutcome)
			}
			if err := (*read).Err; err != nil {
				t.Errorf("barrier: %v; want it to be asked again", err)
			}
			w.do(asked, KindPropose, "y")
		})
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
	data, _ := image.Encoded(g.machine.Snapshot())
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

// TestLargeValuesLeaveAShortTail: what stays below a snapshot is bounded in bytes, and is
// enough for nodes that start again.
func TestLargeValuesLeaveAShortTail(t *testing.T) {
	const bytes, bound, every = 4 << 10, 100 << 10, 20
	w := newWorld(t, 3, 3, func(c *Config) { c.SnapshotSlots, c.TailBytes = every, bound })
	l := w.settle()
	value := strings.Repeat("x", bytes)
	for i := range 200 {
		w.do(l, KindPropose, fmt.Sprint(i, value))
	}
	w.run(time.Second)
	for i := range w.nodes {
		h := w.nodes[i].disk.group(paxos.Main).header
		if stay := h.Snapshot + 1 - h.Trimmed; stay < every || stay > bound/bytes+every {
			t.Errorf("node %d keeps %d slots below its snapshot of slot %d; want %d and not much more", i, stay, h.Snapshot, bound/bytes)
		}
		w.stop(i)
	}
	for i := range w.nodes {
		w.start(i)
	}
	w.do(w.settle(), KindPropose, "after")
	if got := len(w.agree()); got != 201 {
		t.Errorf("%d commands; want 201", got)
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
	for i, want := range []bool{false, false, false, true} {
		r := *w.submit(0, KindAsk, "q")
		if got := r != nil && errors.Is(r.Err, paxos.ErrOverloaded); got != want {
			t.Errorf("question %d to a full node is refused: %v; want %v", i, got, want)
		}
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
