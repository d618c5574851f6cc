package sim

import (
	"testing"
	"time"

	"github.com/prytany/prytany/internal/sim/dice"
	"github.com/prytany/prytany/internal/sim/plan"
)

// TestReadsAndReleasesAreCaught shows that I8 and I9 bite where nothing is staged.
func TestReadsAndReleasesAreCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("a long search in one goroutine")
	}
	for _, m := range []struct {
		name      string
		seeds     int
		edit      func(*Options)
		invariant string
	}{
		{"a read asks the leader alone", 60, func(o *Options) { o.Hooks.Leads = true }, "I8"},
		{"a leader releases its acceptors and goes on", 20, func(o *Options) {
			o.Hooks.Releases, o.HandOverEvery = true, 200*time.Millisecond
		}, "I9"},
	} {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			for seed := uint64(1); seed <= uint64(m.seeds); seed++ {
				o := Swarm(seed)
				m.edit(&o)
				_, err := Run(o)
				if f, ok := err.(*Failure); ok && f.Invariant == m.invariant {
					t.Logf("seed %d: %s after %v: %.150s", seed, f.Invariant, f.At, f.Detail)
					return
				}
			}
			t.Errorf("not caught in %d seeds", m.seeds)
		})
	}
}

// staged is a run in which leases are long and nothing happens but what is staged.
var staged = Options{
	Mode: plan.Safety, Nodes: 3, Voters: 3, Clients: 3, Chaos: 12 * time.Second, Settle: 12 * time.Second, Finish: 20 * time.Second,
	Delay: dice.Delay{Min: 100 * time.Microsecond, Max: time.Millisecond}, Refused: 1, FaultLast: time.Second,
	Heartbeat: 50 * time.Millisecond, Silence: 3 * time.Second, Lease: 2 * time.Second, LeaseReads: true,
	Tick: 50 * time.Millisecond, RetryAfter: 5 * time.Second, MaxBatch: 16, MaxPending: 16384, SnapshotSlots: 1000, TailSlots: 200,
	Think: dice.Delay{Max: 50 * time.Millisecond}, Timeout: time.Second,
}

// longStart is when leases hold in a staged run.
const longStart = 4 * time.Second

// stage runs o; what act does to the leader, which holds a lease, and the others
// happens at longStart, and the leader is cut off from then on for two leases.
func stage(o Options, act func(w *World, leader *node)) error {
	o.Locks, o.Keys, o.TTL, o.KeyShare = 1, 1, 10*time.Second, 0.8
	w := newWorld(o)
	w.at(longStart, func() {
		for _, n := range w.nodes {
			if n.machine.Leading {
				act(w, n)
				heal := w.net.Isolate(n.index)
				w.at(w.now+2*w.opt.Lease, heal)
				return
			}
		}
	})
	return w.run()
}

// TestLeasesRestOnSomething takes away what leases rest on, and gives it back.
func TestLeasesRestOnSomething(t *testing.T) {
	for seed := uint64(1); seed <= 3; seed++ {
		for _, c := range []struct {
			name  string
			talks bool
			apart int64
			fails bool
		}{
			{"restart", false, 0, false},
			{"restart without silence", true, 0, true},
			{"clocks within the drift", false, 4_900, false},
			{"clocks run apart", false, 150_000, true},
		} {
			o := staged
			o.Seed, o.Hooks.Talks = seed, c.talks
			err := stage(o, func(w *World, leader *node) {
				for _, n := range w.nodes {
					switch {
					case n == leader:
						n.runsAt(-c.apart)
					case c.apart != 0: // who hears of a reset looks for another leader at once
						n.runsAt(c.apart)
						n.host.Disconnected(leader.id)
						n.pollBy(w.now)
					default:
						n.down("restarts")
						n.start()
					}
				}
			})
			f, failed := err.(*Failure)
			if failed != c.fails || failed && f.Invariant != "I9" {
				t.Errorf("%s, seed %d: %.400v; want a failure of I9: %v", c.name, seed, err, c.fails)
			}
		}
	}
}

// TestLongLeases has leases matter: nodes are cut off for about as long as one
// lasts, and end, and hand over.
func TestLongLeases(t *testing.T) {
	for seed := uint64(1); seed <= 6; seed++ {
		o := staged
		o.Options = Swarm(seed).Options
		o.Bulk, o.Seed, o.MaxDrift, o.Chaos = 0, seed, 5000, 15*time.Second
		o.Faults = []plan.Fault{plan.Isolate, plan.Storm, plan.Crash, plan.Pause}
		o.FaultEvery, o.FaultLast, o.HandOverEvery = 400*time.Millisecond, 2*time.Second, time.Second
		r, err := Run(o)
		if err == nil {
			err = checkHistory(r)
		}
		if err != nil {
			t.Errorf("%v", err)
		}
	}
}
