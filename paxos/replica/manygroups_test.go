package replica

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// A town is a world with many groups. Its machines can sleep.
type town struct {
	*world
	machines map[synod.NodeID]map[paxos.GroupID]*sleepy
	lost     func(from, to synod.NodeID, p Packet) bool
	sent     map[string]int // packets by type, of groups
	beats    int            // and those of the leader machines
}

// sleepy is a journal whose Lead wants to be called at a time.
type sleepy struct {
	journal
	at    time.Duration // 0: never
	calls int
}

func (s *sleepy) Next(time.Duration) (time.Duration, bool) { return s.at, s.at != 0 }

func (s *sleepy) Lead(b synod.Ballot, now time.Duration) [][]byte {
	s.calls++
	if s.at != 0 && now >= s.at {
		s.at = 0
		s.wish = append(s.wish, "due")
	}
	return s.journal.Lead(b, now)
}

// newTown returns n nodes, all voters of Main.
func newTown(t *testing.T, n int) *town { return newTownOf(t, n, n) }

// newTownOf is a town in which not all nodes are voters of Main.
func newTownOf(t *testing.T, n, voters int) *town {
	x := &town{machines: map[synod.NodeID]map[paxos.GroupID]*sleepy{}, sent: map[string]int{}}
	edit := func(cfg *Config) {
		mine := map[paxos.GroupID]*sleepy{}
		x.machines[cfg.Self] = mine
		cfg.NewMachine = func(g paxos.GroupID) Machine {
			mine[g] = &sleepy{}
			return mine[g]
		}
		cfg.Forget = func(g paxos.GroupID) { delete(mine, g) }
	}
	x.world = newWorld(t, n, voters, edit)
	x.lose = func(from, to synod.NodeID, p Packet) bool {
		if _, ok := p.Msg.(leader.Message); ok {
			x.beats++
		} else {
			x.sent[fmt.Sprintf("%T", p.Msg)]++
		}
		return x.lost != nil && x.lost(from, to, p)
	}
	return x
}

// call does what a caller of Create or Drop of node i waits for.
func (x *town) call(i int, f func(ctx context.Context, h *Host) error) error {
	x.t.Helper()
	ended := make(chan error, 1)
	h := x.nodes[i].host
	h.mu.Lock()
	before := len(h.calls)
	h.mu.Unlock()
	go func() { ended <- f(x.t.Context(), h) }()
	for posted := false; !posted; time.Sleep(time.Microsecond) {
		select {
		case err := <-ended:
			return err // refused at once
		default:
		}
		h.mu.Lock()
		posted = len(h.calls) > before
		h.mu.Unlock()
	}
	x.nodes[i].next = x.now
	x.step() // its answer is made in this Poll
	return <-ended
}

func (x *town) create(i int, g paxos.GroupID, m paxos.Membership) error {
	x.t.Helper()
	return x.call(i, func(ctx context.Context, h *Host) error { return h.Create(ctx, g, m) })
}

func (x *town) drop(i int, g paxos.GroupID) error {
	x.t.Helper()
	return x.call(i, func(ctx context.Context, h *Host) error { return h.Drop(ctx, g) })
}

// found creates g on the first n nodes, without the ceremony of Create.
func (x *town) found(n int, groups ...paxos.GroupID) {
	x.t.Helper()
	for i := range n {
		h := x.nodes[i].host
		_ = h.post(func() {
			for _, g := range groups {
				h.births = append(h.births, birth{g, first(n), make(chan error, 1)})
			}
		})
		x.nodes[i].next = x.now
	}
}

// leads returns the node whose machine leads g, -1 if none does.
func (x *town) leads(g paxos.GroupID) int {
	for i, a := range x.nodes {
		if m := x.machines[a.id][g]; a.host != nil && m != nil && m.led > 0 {
			return i
		}
	}
	return -1
}

func (x *town) led(groups ...paxos.GroupID) {
	x.t.Helper()
	x.until(fmt.Sprintf("groups %v are led", groups), func() bool {
		for _, g := range groups {
			if x.leads(g) < 0 {
				return false
			}
		}
		return true
	})
}

// propose has node i propose cmd in g.
func (x *town) propose(i int, g paxos.GroupID, cmd string) **Result {
	res := new(*Result)
	x.nodes[i].host.Submit(g, KindPropose, []byte(cmd), func(r Result) { *res = &r })
	x.nodes[i].next = x.now
	return res
}

func (x *town) must(i int, g paxos.GroupID, cmd string) {
	x.t.Helper()
	res := x.propose(i, g, cmd)
	x.until("an answer to "+cmd, func() bool { return *res != nil })
	if (*res).Err != nil {
		x.t.Fatalf("%q: %v", cmd, (*res).Err)
	}
}

// sleeping reports whether all groups of all running nodes sleep, but Main.
func (x *town) sleeping() bool {
	for _, a := range x.nodes {
		if a.host == nil {
			continue
		}
		for _, g := range a.host.awake {
			if g.id != paxos.Main {
				return false
			}
		}
	}
	return true
}

func TestCreateWhileOthersRun(t *testing.T) {
	x := newTown(t, 3)
	for i := range 3 {
		if err := x.create(i, 7, first(3)); err != nil {
			t.Fatal(err)
		}
		if s, ok := x.nodes[i].host.Group(7); !ok || s.Group != 7 || s.Membership.ID != 1 {
			t.Errorf("Group(7) = %+v, %v", s, ok)
		}
	}
	x.led(7)
	x.must(1, 7, "a")
	x.until("all have applied it", func() bool {
		for _, a := range x.nodes {
			if c := x.machines[a.id][7].commands; len(c) != 1 || c[0] != "a" {
				return false
			}
		}
		return true
	})
	other := first(3)
	other.Voters[0].Node = 9
	for _, c := range []struct {
		name string
		g    paxos.GroupID
		m    paxos.Membership
		want error
	}{
		{"exists", 7, first(3), ErrGroupExists},
		{"without a seat", 8, other, ErrNotVoter},
		{"no first configuration", 8, paxos.Membership{ID: 2}, nil},
		{"no group", 0, first(3), nil},
	} {
		if err := x.create(0, c.g, c.m); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: Create = %v; want %v", c.name, err, c.want)
		}
	}
	if _, ok := x.nodes[0].host.Group(8); ok {
		t.Error("there is a group 8")
	}
	x.stop(0)
	x.start(0)
	if s, ok := x.nodes[0].host.Group(7); !ok || s.Decided == 0 {
		t.Errorf("after a restart: Group(7) = %+v, %v", s, ok)
	}
}

func TestDropEndsAGroupForEver(t *testing.T) {
	x := newTown(t, 3)
	x.found(3, 7, 8)
	x.led(7, 8)
	l := x.leads(7)
	// Nothing that is proposed now will be chosen.
	x.lost = func(_, to synod.NodeID, p Packet) bool { return p.Group == 7 }
	given := x.propose(l, 7, "given to a slot")
	forwarded := x.propose((l+1)%3, 7, "given to another node")
	x.run(20 * time.Millisecond)
	read := new(*Result)
	x.nodes[l].host.Submit(7, KindBarrier, nil, func(r Result) { *read = &r })
	machine := x.machines[x.nodes[l].id][7]
	for i := range 3 {
		if err := x.drop(i, 7); err != nil {
			t.Fatal(err)
		}
		if _, ok := x.nodes[i].host.Group(7); ok {
			t.Errorf("node %d still knows the group", i+1)
		}
		if x.machines[x.nodes[i].id][7] != nil {
			t.Errorf("node %d: Forget was not called", i+1)
		}
	}
	var refused *paxos.NotLeaderError
	if *given == nil || !errors.Is((*given).Err, paxos.ErrUnknownOutcome) {
		t.Errorf("what was given to a slot ended %+v; want unknown", *given)
	}
	if *forwarded == nil || !errors.Is((*forwarded).Err, paxos.ErrUnknownOutcome) {
		t.Errorf("what was forwarded ended %+v; want unknown", *forwarded)
	}
	if *read == nil || !errors.As((*read).Err, &refused) {
		t.Errorf("a read ended %+v; want not the leader", *read)
	}
	if machine.led != 0 {
		t.Error("the machine was not told that it leads no longer")
	}
	for i := range 3 {
		if h := x.nodes[i].host; h.open.Load() != 0 || len(h.forwards) != 0 {
			t.Errorf("node %d has %d requests and %d forwards open", i+1, h.open.Load(), len(h.forwards))
		}
	}
	x.lost = nil
	for range 2 {
		if err := x.create(1, 7, first(3)); !errors.Is(err, ErrGroupDropped) {
			t.Errorf("Create of a dropped group: %v", err)
		}
		x.nodes[1].host.Learn(7, []synod.NodeID{1})
		if err := x.drop(1, 7); err != nil {
			t.Errorf("Drop once more: %v", err)
		}
		x.run(time.Second)
		if _, ok := x.nodes[1].host.Group(7); ok {
			t.Error("a dropped group was learned again")
		}
		x.stop(1)
		x.start(1)
	}
	x.led(8)
	x.must(0, 8, "b")
	if res := x.propose(0, 7, "c"); *res == nil {
		x.run(time.Millisecond)
		if *res == nil || !errors.As((*res).Err, &refused) {
			t.Errorf("a request for a dropped group ended %+v", *res)
		}
	}
	if err := x.drop(2, 99); err != nil {
		t.Errorf("Drop of a group that nobody knows: %v", err)
	}
	if err := x.create(2, 99, first(3)); !errors.Is(err, ErrGroupDropped) {
		t.Errorf("Create after it: %v", err)
	}
	x.run(2 * time.Second)
	if d := x.nodes[0].disk; d.swept == 0 || d.sweeps != 0 {
		t.Errorf("swept %d times, %d more to do", d.swept, d.sweeps)
	}
}

// untilDone does something when somebody begins to wait for its end.
type untilDone struct {
	context.Context
	f func()
}

func (c untilDone) Done() <-chan struct{} { c.f(); return nil }

// TestALastAnswerCounts: who finds an answer and the host's end at once gets the
// answer, for what it says is durable.
func TestALastAnswerCounts(t *testing.T) {
	for range 50 { // select takes either
		x := newTown(t, 1)
		n := x.nodes[0]
		ctx := untilDone{t.Context(), func() {
			n.next = x.now
			x.step()
			n.host.Close()
		}}
		if err := n.host.Create(ctx, 7, first(1)); err != nil {
			t.Fatalf("Create: %v; it is created", err)
		}
	}
}

// birthless is a disk that begins no group.
type birthless struct{ Storage }

func (birthless) Begin([]Beginning) error { return errors.New("the disk has failed") }

// TestAFailedBirthIsUnknown: the group may be on the disk all the same.
func TestAFailedBirthIsUnknown(t *testing.T) {
	x := newTown(t, 1)
	h := x.nodes[0].host
	h.cfg.Storage = birthless{h.cfg.Storage}
	ctx := untilDone{t.Context(), func() {
		if _, err := h.Poll(x.now); err == nil {
			t.Error("the host goes on")
		}
		h.Close()
	}}
	if err := h.Create(ctx, 7, first(1)); !errors.Is(err, paxos.ErrUnknownOutcome) {
		t.Errorf("Create: %v; want %v", err, paxos.ErrUnknownOutcome)
	}
	if err := h.Create(t.Context(), 8, first(1)); !errors.Is(err, paxos.ErrStopped) {
		t.Errorf("Create afterwards: %v; want %v", err, paxos.ErrStopped)
	}
}

// TestDropWaitsForASnapshot: storage must not be asked to drop a group while
// something of it is being written.
func TestDropWaitsForASnapshot(t *testing.T) {
	x := newTown(t, 1)
	x.found(1, 7)
	x.led(7)
	h := x.nodes[0].host
	g := h.groups[7]
	g.saving = true
	ended := make(chan error, 1)
	_ = h.post(func() { h.drop(7, paxos.Forever, ended) })
	x.nodes[0].next = x.now
	x.run(time.Second)
	if len(ended) > 0 || x.nodes[0].disk.dropped[7] != nil {
		t.Fatal("dropped while a snapshot is written")
	}
	if err := x.create(0, 7, first(1)); !errors.Is(err, ErrGroupDropped) {
		t.Errorf("Create meanwhile: %v", err)
	}
	_ = h.post(func() {
		g.saving = false
		g.core.Compact(g.applied, 1, &g.out) // as the end of the write does
		h.touch(g)
	})
	x.nodes[0].next = x.now
	x.run(time.Second)
	if len(ended) != 1 || x.nodes[0].disk.dropped[7] == nil {
		t.Error("not dropped after the snapshot was written")
	}
}

// TestDropDuringAHandOver: the hand-over ends with the group.
func TestDropDuringAHandOver(t *testing.T) {
	x := newTown(t, 3)
	x.found(3, 7)
	x.led(7)
	x.run(time.Second)
	l := x.leads(7)
	x.lost = func(_, _ synod.NodeID, p Packet) bool { return p.Group == 7 }
	x.propose(l, 7, "holds it up")
	x.run(10 * time.Millisecond)
	r := &request{gid: 7, kind: kindHandOver, heir: x.nodes[(l+1)%3].id}
	var end *Result
	r.done = func(res Result) { end = &res }
	x.nodes[l].host.submit(r)
	x.nodes[l].next = x.now
	x.run(time.Millisecond)
	if err := x.drop(l, 7); err != nil {
		t.Fatal(err)
	}
	if h := x.nodes[l].host; end == nil || end.Err == nil || len(h.parting) != 0 {
		t.Errorf("the hand-over ended %+v, %d are under way", end, len(h.parting))
	}
	x.run(time.Second)
}

// TestCreateYields: many groups are not made in one go, or the loop would stand still
// for too long.
func TestCreateYields(t *testing.T) {
	x := newTown(t, 1)
	var groups []paxos.GroupID
	for g := range paxos.GroupID(100) {
		groups = append(groups, 10+g)
	}
	x.found(1, groups...)
	h := x.nodes[0].host
	for have := 0; have < 100; {
		before := len(h.order)
		next, err := h.Poll(x.now)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(h.order) - before; n == 0 || n > beginAtOnce {
			t.Fatalf("%d groups in one turn; want some, and at most %d", n, beginAtOnce)
		}
		if have = len(h.order) - 1; have < 100 && next > x.now {
			t.Fatalf("the next turn is at %v; want it at once", next)
		}
	}
	x.run(time.Second)
	x.led(groups...)
}

// TestDropWaitsForAReader: and nothing that waits for a turn of its own knows the group
// any more.
func TestDropWaitsForAReader(t *testing.T) {
	x := newTown(t, 1)
	x.found(1, 7, 8)
	x.led(7, 8)
	h := x.nodes[0].host
	g, other := h.groups[7], h.groups[8]
	h.reading = g
	h.queue = []*group{g, other}
	h.wishes.Add(g, paxos.ChunkRequest{To: 2})
	h.wishes.Add(other, paxos.ChunkRequest{To: 2})
	ended := make(chan error, 1)
	_ = h.post(func() { h.drop(7, paxos.Forever, ended) })
	x.nodes[0].next = x.now
	x.run(time.Second)
	if len(ended) > 0 || x.nodes[0].disk.dropped[7] != nil {
		t.Error("dropped while a peer reads its snapshot")
	}
	w, _ := h.wishes.Next()
	_, more := h.wishes.Next()
	if len(h.queue) != 1 || h.queue[0] != other || w.Of != other || more {
		t.Errorf("queue %v, wishes %v; want those of the other group", h.queue, h.wishes)
	}
	h.reading = nil
	x.nodes[0].next = x.now
	x.run(time.Second)
	if len(ended) != 1 || x.nodes[0].disk.dropped[7] == nil {
		t.Error("not dropped after that")
	}
}
