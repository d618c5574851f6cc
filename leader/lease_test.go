package leader

import (
	"fmt"
	"slices"
	"testing"

	"github.com/prytany/prytany/synod"
)

// breaches are the ways in which an acceptor might let go before the leader's
// view of its lease ends. Each runs the leader and its successor at once.
func breaches() []regression {
	return []regression{
		{"clocks at the ends of what is allowed", driftingClocks},
		{"answers late, requests lost", lateAnswers},
		{"the configuration ends", sealedLeader},
		{"acceptor restarts", restartedAcceptor},
		{"hand-over under a lease", handOverUnderLease},
		{"heartbeat below the promise", boundBelow},
	}
}

func TestBreaches(t *testing.T) {
	for _, r := range breaches() {
		t.Run(r.name, func(t *testing.T) {
			for seed := range uint64(20) {
				r.run(t, seed+1, mutant{})
			}
		})
	}
}

// driftingClocks: the leader stands still with a slow clock, the acceptors' run
// fast, and the lease is long.
func driftingClocks(t testing.TB, seed uint64, off mutant) {
	off.noGuard = true
	w := newWorld(3, seed, off)
	w.lease = 4000 * ms
	w.skew(5000)
	for _, h := range w.nodes {
		h.rate = 5000
	}
	w.nodes[0].rate = -5000
	w.establish(t, 0)
	w.run(w.now + 1000*ms)
	w.freeze(0)
	w.run(w.now + 8000*ms)
	w.judge(t, fmt.Sprintf("drifting clocks, seed %d", seed), 1)
	if w.changes != 1 {
		t.Errorf("drifting clocks, seed %d: %d changes; want 1", seed, w.changes)
	}
}

// lateAnswers: answers take 300 ms, requests are quick, until no more of them
// arrive. What counts is when they were sent.
func lateAnswers(t testing.TB, seed uint64, off mutant) {
	w := crooked(5, seed, off)
	w.lease = 300 * ms
	w.establish(t, 0)
	for i := range w.nodes {
		w.extra[i][0] = 300 * ms
	}
	w.run(w.now + 1000*ms)
	for i := range w.nodes {
		w.pass[0][i] = false
	}
	w.run(w.now + 3000*ms)
	w.audited(t, fmt.Sprintf("late answers, seed %d", seed))
	if w.changes == 0 {
		t.Errorf("late answers, seed %d: nobody was elected", seed)
	}
}

// sealedLeader: a leader that does not hear how its configuration has ended.
func sealedLeader(t testing.TB, seed uint64, off mutant) {
	w := crooked(5, seed, off)
	w.establish(t, 0)
	w.run(w.now + Instant(w.random.between(0, int64(50*ms))))
	w.reconfigure(1)
	for i := range w.nodes {
		w.cut(0, i)
	}
	w.run(w.now + 3000*ms)
	w.judge(t, fmt.Sprintf("sealed leader, seed %d", seed), 1)
}

// restartedAcceptor: one that has forgotten what it gave meets one that was cut
// off all the time.
func restartedAcceptor(t testing.TB, seed uint64, off mutant) {
	w := crooked(3, seed, off)
	w.lease = 1000 * ms
	w.establish(t, 0)
	w.cut(0, 2)
	w.cut(1, 2)
	w.run(w.now + 1500*ms)
	w.crash(1, false)
	w.restart(1)
	w.cut(0, 1)
	w.join(1, 2)
	w.run(w.now + 6000*ms)
	w.judge(t, fmt.Sprintf("restarted acceptor, seed %d", seed), 1)
	if w.changes != 1 {
		t.Errorf("restarted acceptor, seed %d: %d changes; want 1", seed, w.changes)
	}
}

// handOverUnderLease: the heir leads at once, so the lease must be over by then.
func handOverUnderLease(t testing.TB, seed uint64, off mutant) {
	w := crooked(5, seed, off)
	w.establish(t, 0)
	w.run(w.now + Instant(w.random.between(0, int64(50*ms))))
	if !w.handOver(0, 1) {
		t.Fatalf("no hand-over")
	}
	if w.nodes[0].m.Leased(1, w.clock(w.nodes[0])) {
		t.Errorf("hand-over, seed %d: a lease after the release", seed)
	}
	w.run(w.now + 3000*ms)
	w.judge(t, fmt.Sprintf("hand-over, seed %d", seed), 1)
}

// boundBelow: a heartbeat of the old leader comes after a promise to another that
// the facts do not show yet, or to an acceptor that has never promised to it.
func boundBelow(t testing.TB, _ uint64, off mutant) {
	d := newDesk(t, Config{Self: 1, Incarnation: 1}, off)
	old := Report{Group: 1, Config: 1, Own: ballot(1, 2), Followed: ballot(1, 2), Content: true, Leading: true}
	f := Facts{Config: 1, Voters: three}
	d.facts(f)
	d.run(100*ms, Report{Group: 1, Config: 1})
	if got := d.request(2, old)[0]; !got.Bound.IsZero() {
		t.Errorf("says it is bound to %v, which it has not promised", got.Bound)
	}
	if d.n.MayPromise(1, 3, d.now) {
		t.Errorf("does not follow whom it hears")
	}
	f.Promised = ballot(1, 2)
	d.facts(f)
	if got := d.request(2, old)[0]; got.Bound != old.Own {
		t.Errorf("says it is bound to %v; want %v", got.Bound, old.Own)
	}
	d.now += 150 * ms
	d.n.Promised(1, ballot(2, 3))
	if got := d.request(2, old)[0]; !got.Bound.IsZero() {
		t.Errorf("says it is bound to %v after it has promised 2.3", got.Bound)
	}
	if !d.n.MayPromise(1, 3, d.now) {
		t.Errorf("bound by a heartbeat below its promise")
	}
}

// TestWhatALeaseNeeds takes away one thing at a time.
func TestWhatALeaseNeeds(t *testing.T) {
	bound := func() (*desk, Facts) {
		d, f := leads(t)
		d.run(300*ms, Report{Group: 1, Config: 1, Followed: ballot(1, 1), Bound: ballot(1, 1)})
		if !d.n.Leased(1, d.now) {
			t.Fatal("no lease")
		}
		return d, f
	}
	for name, spoil := range map[string]func(d *desk, f Facts){
		"time":        func(d *desk, _ Facts) { d.now += 150 * ms },
		"a stop-sign": func(d *desk, f Facts) { f.Sealed = true; d.facts(f) },
		"a promise":   func(d *desk, _ Facts) { d.n.Promised(1, ballot(2, 3)) },
		"a later leader": func(d *desk, _ Facts) {
			d.request(2, Report{Group: 1, Config: 1, Own: ballot(2, 2), Content: true, Leading: true})
		},
		"an ill disk":    func(d *desk, _ Facts) { d.n.Tick(d.now, Health{Loop: true}, &d.out) },
		"another config": func(d *desk, f Facts) { f.Config = 2; d.facts(f) },
		"no lead":        func(d *desk, f Facts) { f.Own, f.Leading = synod.Ballot{}, false; d.facts(f) },
		"a dropped group": func(d *desk, f Facts) {
			d.n.DropGroup(1)
			d.facts(f)
		},
		"a hand-over": func(d *desk, _ Facts) { d.n.Release(1, 2, d.now, &d.out) },
		"a skewed clock": func(d *desk, _ Facts) {
			d.n.peer(3).clock.skewed = true
		},
		"restarts": func(d *desk, _ Facts) {
			for _, p := range []synod.NodeID{2, 3} {
				d.n.Receive(p, Heartbeat{Seq: 1, Incarnation: 2}, d.now, &d.out)
			}
		},
	} {
		d, f := bound()
		if spoil(d, f); d.n.Leased(1, d.now) {
			t.Errorf("a lease in spite of %s", name)
		}
	}
	d, _ := bound()
	d.n.Receive(2, Heartbeat{Seq: 1, Incarnation: 2}, d.now, &d.out)
	if !d.n.Leased(1, d.now) {
		t.Error("no lease, though a quorum is bound without the node that has restarted")
	}
}

// TestLeaseIsCountedFromSent tells when exactly a lease of 100 ms ends that one
// voter has confirmed: 91 ms after the question, whenever the answer comes.
func TestLeaseIsCountedFromSent(t *testing.T) {
	d, _ := leads(t)
	d.tick()
	asked := d.now
	for _, e := range d.take() {
		if m := e.Msg.(Heartbeat); e.To == 2 {
			d.now = asked + 40*ms
			d.reply(2, m, Report{Group: 1, Config: 1, Followed: ballot(1, 1), Bound: ballot(1, 1)})
		}
	}
	d.n.Tick(d.now, d.h, &d.out) // renews that of the own acceptor
	if end := asked + Instant(98*millisecond-100*millisecond/15); !d.n.Leased(1, end-1) || d.n.Leased(1, end) {
		t.Errorf("Leased is %v, %v around %d ms after the question; want true, false",
			d.n.Leased(1, end-1), d.n.Leased(1, end), (end-asked)/ms)
	}
	for length, want := range map[int64]int64{15: 1, 150: 13, 1000: 30} {
		if got := margin(length*millisecond, 10_000); got != want*millisecond && length > 15 {
			t.Errorf("margin of a lease of %d ms is %d ms; want %d", length, got/millisecond, want)
		}
	}
	if got := margin(15*millisecond, 10_000); got != 1_300_000 {
		t.Errorf("margin of a lease of 15 ms is %d ns; want 1,300,000", got)
	}
}

// TestOldAnswersDoNotCount: what was asked before a leader led again binds nobody
// to what it does now.
func TestOldAnswersDoNotCount(t *testing.T) {
	d, _ := leads(t)
	d.tick()
	asked := d.take()
	d.n.Tick(d.now, Health{Loop: true}, &d.out)
	d.n.Tick(d.now, d.h, &d.out)
	d.take()
	for _, e := range asked {
		if m := e.Msg.(Heartbeat); !m.Reply {
			d.reply(e.To, m, Report{Group: 1, Config: 1, Followed: ballot(1, 1), Bound: ballot(1, 1)})
		}
	}
	if d.n.Leased(1, d.now) {
		t.Error("a lease by answers to an earlier leadership")
	}
}

func TestDroppedGroupStaysBound(t *testing.T) {
	d := follows(t)
	d.n.DropGroup(1)
	if d.n.MayPromise(1, 3, d.now) {
		t.Error("free because the group is dropped")
	}
	d.facts(Facts{Config: 1, Voters: three, Promised: ballot(1, 2)})
	if d.n.MayPromise(1, 3, d.now) || !d.n.MayPromise(1, 3, d.now+151*ms) {
		t.Error("a group that comes back must be bound until the end of its lease, and no longer")
	}
}

func TestSilenceAfterARestart(t *testing.T) {
	d := newDesk(t, Config{Self: 1, Incarnation: 2, Mute: 200 * millisecond}, mutant{})
	if d.n.MayPromise(1, 1, d.now) || d.n.MayPromise(1, 2, d.now) {
		t.Error("promises in a group it does not know of yet")
	}
	d.facts(Facts{Config: 1, Voters: three, Promised: ballot(1, 2)})
	if claims := d.run(140*ms, Report{Group: 1, Config: 1, Followed: ballot(1, 2)}); len(claims) != 0 {
		t.Errorf("claims: %v", claims)
	}
	if d.n.MayPromise(1, 1, d.now) || d.n.MayPromise(1, 2, d.now) {
		t.Error("promises while it must be silent")
	}
	d.take()
	d.n.Receive(3, Claim{1, 1, ballot(2, 3)}, d.now, &d.out)
	if got, want := d.take()[0].Msg, (Grant{1, 1, ballot(2, 3), false, refuseMute}); got != want {
		t.Errorf("answer %v; want %v", got, want)
	}
	if claims := d.run(300*ms, Report{Group: 1, Config: 1, Followed: ballot(1, 2)}); len(claims) == 0 {
		t.Error("never claims")
	}
	if !d.n.MayPromise(1, 2, d.now) {
		t.Error("silent for ever")
	}
}

// TestLeaseEventsAreRare: on a network that loses much, people are told of it
// now and then.
func TestLeaseEventsAreRare(t *testing.T) {
	w := crooked(3, 1, mutant{})
	w.establish(t, 0)
	w.loss = 40
	w.run(w.now + 30_000*ms)
	if n := w.events[EvLeased]; n > 30 || n == 0 {
		t.Errorf("%d times a lease in 30 s; want 1 to 30", n)
	}
	if d := w.events[EvLeased] - w.events[EvUnleased]; d < -1 || d > 0 {
		t.Errorf("%d leases have come and %d gone", w.events[EvLeased], w.events[EvUnleased])
	}
}

// TestClocks compares machines whose clocks differ.
func TestClocks(t *testing.T) {
	for _, c := range []struct {
		rate   int64
		most   Instant // one-way delay
		skewed bool
	}{{0, 4 * ms, false}, {4000, 4 * ms, false}, {-4000, 4 * ms, false}, {6500, 4 * ms, true}, {-6500, 4 * ms, true}, {20_000, 4 * ms, true},
		{20_000, 90 * ms, true}, {4000, 90 * ms, false}} {
		w := newWorld(3, 1, mutant{})
		w.most = c.most
		w.skew(0)
		w.begin()
		w.run(5000 * ms)
		w.turnClock(2, c.rate)
		w.run(100_000 * ms)
		for i, h := range w.nodes {
			for _, l := range h.m.Links() {
				if want := c.skewed && (i == 2 || l.Peer == 3); l.Skewed != want {
					t.Errorf("%d ppm, %d ms: node %d finds the clock of %v skewed: %v", c.rate, c.most/ms, i+1, l.Peer, l.Skewed)
				}
			}
		}
		if h := w.leader(); c.skewed == h.m.Leased(1, w.clock(h)) && c.most == 4*ms {
			t.Errorf("%d ppm: a lease is %v", c.rate, !c.skewed)
		}
		if c.skewed {
			w.turnClock(2, 0)
			w.run(w.now + 600_000*ms)
			if h := w.leader(); slices.ContainsFunc(h.m.Links(), func(l Link) bool { return l.Skewed }) {
				t.Errorf("%d ppm: skewed for ever", c.rate)
			}
		}
	}
}

// turnClock has a clock run at another rate from now on.
func (w *world) turnClock(node int, rate int64) {
	h := w.nodes[node]
	shows := w.clock(h)
	h.rate = rate
	h.offset += shows - w.clock(h)
}

// leader returns the node that leads, nil if none does.
func (w *world) leader() *host {
	for _, h := range w.nodes {
		if h.leading && !h.dead {
			return h
		}
	}
	return nil
}

// TestSuspendedNodeComparesAnew: neither a node that stood still nor a new
// process makes a clock look wrong.
func TestSuspendedNodeComparesAnew(t *testing.T) {
	w := newWorld(3, 1, mutant{})
	w.skew(0)
	w.establish(t, 0)
	for i := range 20 {
		w.run(w.now + 5000*ms)
		w.freeze(i % 3)
		w.run(w.now + 3000*ms)
		w.thaw(i % 3)
		if i%5 == 0 {
			w.crash(2, true)
			w.nodes[2].offset += 3_600_000 * ms
			w.restart(2)
		}
	}
	if w.events[EvClock] != 0 {
		t.Errorf("%d times a clock was thought to run at another rate", w.events[EvClock])
	}
}
