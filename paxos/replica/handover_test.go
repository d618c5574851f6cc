package replica

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// A parting is a hand-over as its caller sees it.
type parting struct {
	done bool
	to   synod.NodeID
	err  error
}

// handOver has node i hand over to another node.
func (w *world) handOver(i int, to synod.NodeID) *parting {
	p := &parting{}
	r := &request{gid: paxos.Main, kind: kindHandOver, heir: to}
	r.done = func(res Result) {
		if p.done {
			w.t.Error("a hand-over ended twice")
		}
		*p = parting{true, r.heir, res.Err}
	}
	w.nodes[i].host.submit(r)
	w.nodes[i].next = w.now
	return p
}

func (w *world) ended(p *parting) {
	w.t.Helper()
	w.until("the end of the hand-over", func() bool { return p.done })
}

// ready waits until the leader and what it knows of the others is settled.
func (w *world) ready() int {
	w.t.Helper()
	w.settle()
	w.run(time.Second)
	return w.settle()
}

// stream submits a command and a read at every node each millisecond until the
// returned function is called, which waits for the answers and returns the
// commands.
func (w *world) stream(during time.Duration) (results map[string]**Result) {
	results = map[string]**Result{}
	for end := w.now + during; w.now < end; w.run(time.Millisecond) {
		for i := range w.nodes {
			cmd := fmt.Sprintf("%d at %v", i, w.now)
			results[cmd] = w.submit(i, KindPropose, cmd)
			results["read "+cmd] = w.submit(i, KindBarrier, "")
			results["ask "+cmd] = w.submit(i, KindAsk, "q")
		}
	}
	return results
}

// allDone fails if a request has not succeeded.
func (w *world) allDone(results map[string]**Result) {
	w.t.Helper()
	w.until("all answers", func() bool { return w.open == 0 })
	for cmd, r := range results {
		if (*r).Err != nil {
			w.t.Errorf("%q: %v", cmd, (*r).Err)
		}
	}
}

func TestHandOver(t *testing.T) {
	for _, chosen := range []bool{true, false} {
		t.Run(fmt.Sprintf("chosen %v", chosen), func(t *testing.T) {
			w := newWorld(t, 3, 3, nil)
			l := w.ready()
			to := synod.NodeID(0)
			if chosen {
				to = w.nodes[(l+2)%3].id
			}
			results := w.stream(20 * time.Millisecond)
			p := w.handOver(l, to)
			begin := w.now
			for cmd, r := range w.stream(100 * time.Millisecond) {
				results[cmd] = r
			}
			w.ended(p)
			if p.err != nil || p.to == 0 || p.to == w.nodes[l].id || chosen && p.to != to {
				t.Fatalf("the lead goes from %d to %d, %v; want to %d", l+1, p.to, p.err, to)
			}
			w.allDone(results)
			if took := w.now - begin; took > 200*time.Millisecond {
				t.Errorf("everything is answered %v after the hand-over began", took)
			}
			if next := w.settle(); w.nodes[next].id != p.to {
				t.Errorf("node %d leads; want %d", next+1, p.to)
			}
			w.agree()
		})
	}
}

// TestHandOverGap asks how long nothing is chosen while nothing fails.
func TestHandOverGap(t *testing.T) {
	w := newWorld(t, 3, 3, nil)
	worst := time.Duration(0)
	for range 20 {
		l := w.ready()
		p := w.handOver(l, 0)
		begin := w.now
		w.ended(p)
		if p.err != nil {
			t.Fatal(p.err)
		}
		w.do(int(p.to)-1, KindPropose, "x")
		worst = max(worst, w.now-begin)
	}
	if worst > 15*time.Millisecond {
		t.Errorf("a hand-over and a command took %v", worst)
	}
}

func TestHandOverRefused(t *testing.T) {
	w := newWorld(t, 3, 3, nil)
	l := w.ready()
	self := w.nodes[l].id
	w.ballot(l)
	var other *paxos.NotLeaderError
	p := w.handOver((l+1)%3, 0)
	if w.ended(p); !errors.As(p.err, &other) || other.Leader != self {
		t.Errorf("a follower: %v; want to be told of node %d", p.err, self)
	}
	p = w.handOver(l, 99)
	if w.ended(p); !errors.Is(p.err, ErrNotVoter) {
		t.Errorf("to a stranger: %v; want %v", p.err, ErrNotVoter)
	}
	p = w.handOver(l, self)
	if w.ended(p); p.err != nil || p.to != self {
		t.Errorf("to itself: %v, %v; want %v", p.to, p.err, self)
	}
	w.stop((l + 1) % 3)
	p = w.handOver(l, w.nodes[(l+1)%3].id)
	if w.ended(p); !errors.Is(p.err, ErrNotHandedOver) {
		t.Errorf("to the dead: %v; want %v", p.err, ErrNotHandedOver)
	}
	w.stop((l + 2) % 3)
	p = w.handOver(l, 0)
	if w.ended(p); !errors.Is(p.err, ErrNoHeir) {
		t.Errorf("to nobody: %v; want %v", p.err, ErrNoHeir)
	}
}

// ballot returns the ballot that node i leads with.
func (w *world) ballot(i int) synod.Ballot {
	w.t.Helper()
	_, b := w.nodes[i].host.Leading(paxos.Main)
	if b.IsZero() {
		w.t.Fatalf("node %d does not lead", i+1)
	}
	return b
}

// TestHandOverToALaggard: nothing is given up for a node that does not hold
// everything, and what waited goes on.
func TestHandOverToALaggard(t *testing.T) {
	w := newWorld(t, 3, 3, nil)
	l := w.ready()
	b, to := w.ballot(l), w.nodes[(l+1)%3].id
	w.lose = func(_, at synod.NodeID, p Packet) bool {
		_, accept := p.Msg.(paxos.Accept)
		return accept && at == to
	}
	w.do(l, KindPropose, "missed")
	p := w.handOver(l, to)
	w.run(10 * time.Millisecond)
	second := w.handOver(l, w.nodes[(l+2)%3].id)
	waits, reads := w.submit((l+1)%3, KindPropose, "waits"), w.submit(l, KindBarrier, "")
	if w.ended(second); !errors.Is(second.err, ErrHandingOver) {
		t.Errorf("a second hand-over: %v; want %v", second.err, ErrHandingOver)
	}
	w.run(100 * time.Millisecond)
	if *waits != nil || *reads == nil || p.done {
		t.Errorf("while the lead is held: proposal %v, read %v, hand-over %v; want only the read to be answered", *waits, *reads, p)
	}
	if w.ended(p); !errors.Is(p.err, ErrNotHandedOver) {
		t.Errorf("to a laggard: %v; want %v", p.err, ErrNotHandedOver)
	}
	w.lose = nil
	w.until("an answer", func() bool { return *waits != nil })
	if (*waits).Err != nil || w.ballot(l) != b {
		t.Errorf("afterwards: %v in ballot %v; want success in %v, as before", (*waits).Err, w.ballot(l), b)
	}
	p = w.handOver(l, to)
	if w.ended(p); p.err != nil || p.to != to {
		t.Errorf("once it has caught up: %v, %v", p.to, p.err)
	}
}

// TestHandOverInVain: the heir is told of its luck by nobody. The lead is gone
// all the same, and no request is lost by that.
func TestHandOverInVain(t *testing.T) {
	w := newWorld(t, 3, 3, nil)
	l := w.ready()
	b := w.ballot(l)
	w.lose = func(_, _ synod.NodeID, p Packet) bool {
		_, token := p.Msg.(leader.Release)
		return token
	}
	p := w.handOver(l, w.nodes[(l+1)%3].id)
	w.run(20 * time.Millisecond)
	if _, own := w.nodes[l].host.Leading(paxos.Main); !own.IsZero() || w.nodes[l].host.Leased(paxos.Main, w.now) {
		t.Fatalf("node %d leads with %v after the release", l+1, own)
	}
	results := w.stream(50 * time.Millisecond)
	w.ended(p)
	w.allDone(results)
	if next := w.ballot(w.settle()); !b.Less(next) {
		t.Errorf("ballot %v leads after %v", next, b)
	}
	w.agree()
}

// TestRefusedForwardsAreKept: the rate of repetitions is bounded, and in the end
// the request is done.
func TestRefusedForwardsAreKept(t *testing.T) {
	w := newWorld(t, 3, 3, nil)
	l := w.ready()
	tries, id := 0, w.nodes[(l+1)%3].id
	w.lose = func(from, to synod.NodeID, p Packet) bool {
		f, ok := p.Msg.(Forward)
		if ok && from == id {
			tries++
			w.send(to, from, Packet{p.Group, Answer{ID: f.ID, Outcome: NotLeader}})
		}
		return ok && from == id
	}
	res, read := w.submit(int(id)-1, KindPropose, "x"), w.submit(int(id)-1, KindBarrier, "")
	w.run(time.Second)
	if *res != nil || *read != nil || tries < 20 || tries > 2*22 {
		t.Errorf("%v and %v after %d tries in a second; want no answer, and one try of each in a tick", *res, *read, tries)
	}
	w.lose = nil
	w.until("an answer", func() bool { return *res != nil && *read != nil })
	if (*res).Err != nil || (*read).Err != nil {
		t.Errorf("%v, %v", (*res).Err, (*read).Err)
	}
	if n := len(slices.DeleteFunc(w.agree(), func(s string) bool { return s != "x" })); n != 1 {
		t.Errorf("it was done %d times", n)
	}
}

func leaseReads(c *Config) { c.LeaseReads = true }

// confirms counts what is sent to confirm a leadership.
func (w *world) confirms() *int {
	n := 0
	w.lose = func(_, _ synod.NodeID, p Packet) bool {
		if _, ok := p.Msg.(paxos.Confirm); ok {
			n++
		}
		return false
	}
	return &n
}

func TestLeaseReads(t *testing.T) {
	w := newWorld(t, 3, 3, leaseReads)
	l := w.ready()
	asked := w.confirms()
	w.do(l, KindPropose, "x")
	for i := range w.nodes {
		w.do(i, KindBarrier, "")
		if !slices.Contains(w.nodes[i].machine.commands, "x") {
			t.Errorf("node %d may read without what was done before", i+1)
		}
		if r := w.do(i, KindAsk, "q"); string(r.Payload) != "heard q" {
			t.Errorf("node %d: %q", i+1, r.Payload)
		}
	}
	begin := w.now
	if w.do(l, KindBarrier, ""); w.now != begin || *asked != 0 {
		t.Errorf("a read at the leader took %v; %d confirmations asked for; want none", w.now-begin, *asked)
	}
	if groups, _ := w.nodes[l].host.Status(); !groups[0].Leased {
		w.run(100 * time.Millisecond)
		if groups, _ = w.nodes[l].host.Status(); !groups[0].Leased {
			t.Error("Status does not show the lease")
		}
	}
}

// TestNoLeaseNoRead: an old leader without its quorum answers nothing once
// another may lead, and before that nothing is done elsewhere.
func TestNoLeaseNoRead(t *testing.T) {
	w := newWorld(t, 3, 3, leaseReads)
	l := w.ready()
	for i := range w.nodes {
		if a, b := w.nodes[l].id, w.nodes[i].id; a != b {
			w.cut[[2]synod.NodeID{min(a, b), max(a, b)}] = true
		}
	}
	var elsewhere **Result
	for range 300 {
		done := elsewhere != nil && *elsewhere != nil && (*elsewhere).Err == nil
		read := w.submit(l, KindBarrier, "")
		w.step()
		if done && *read != nil && (*read).Err == nil {
			t.Fatal("the old leader answers a read after the new one has answered a command")
		}
		if elsewhere == nil && w.now > 0 {
			elsewhere = w.submit((l+1)%3, KindPropose, "new")
		}
		w.run(5 * time.Millisecond)
	}
	if elsewhere == nil || *elsewhere == nil {
		t.Fatal("nobody leads elsewhere")
	}
}

// TestNoLeaseUnderAStopSign: from the proposal of another configuration on, reads ask
// a quorum.
func TestNoLeaseUnderAStopSign(t *testing.T) {
	w := newWorld(t, 3, 3, leaseReads)
	l := w.ready()
	asked, held := 0, true
	w.lose = func(_, _ synod.NodeID, p Packet) bool {
		switch p.Msg.(type) {
		case paxos.Confirm:
			asked++
		case paxos.Accept:
			return held
		}
		return false
	}
	gone := w.nodes[(l+1)%3].id
	w.nodes[l].host.submit(&request{gid: paxos.Main, kind: kindChange, done: func(Result) {}, change: func(m paxos.Membership) (paxos.Membership, error) {
		return m.Without(gone, m.Ordinal(w.nodes[l].id)), nil
	}})
	read := w.submit(l, KindBarrier, "")
	w.until("the read", func() bool { return *read != nil })
	if asked == 0 || w.nodes[l].host.Leased(paxos.Main, w.now) {
		t.Errorf("%d confirmations asked for under a stop-sign; leased %v", asked, w.nodes[l].host.Leased(paxos.Main, w.now))
	}
	held = false
	w.until("the new configuration", func() bool { return w.nodes[l].host.groups[paxos.Main].status.Membership.ID == 2 })
	w.until("a lease in it", func() bool { return w.nodes[l].host.Leased(paxos.Main, w.now) })
}
