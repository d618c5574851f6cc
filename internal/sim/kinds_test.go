package sim

import (
	"testing"
	"time"

	"github.com/prytany/prytany/internal/sim/dice"
	"github.com/prytany/prytany/internal/sim/plan"
	"github.com/prytany/prytany/internal/sim/work"
	"github.com/prytany/prytany/internal/sim/workload"
)

// alone returns the run of a seed in which one kind of fault strikes alone, and nothing
// else is wrong.
func alone(seed uint64, kinds ...plan.Fault) Options {
	o := Options{
		Seed: seed, Nodes: 3, Voters: 3, Clients: 3, Chaos: 5 * time.Second, Settle: 6 * time.Second, Finish: 20 * time.Second,
		Faults: kinds, FaultEvery: 300 * time.Millisecond, FaultLast: 500 * time.Millisecond,
		Delay: dice.Delay{Min: 100 * time.Microsecond, Max: time.Millisecond}, Ordered: true, Loop: dice.Delay{Max: 20 * time.Microsecond},
		Refused: 1, MaxDrift: 5000, Heartbeat: 50 * time.Millisecond, Silence: 400 * time.Millisecond, Lease: 150 * time.Millisecond,
		Tick: 50 * time.Millisecond, RetryAfter: time.Second, MaxBatch: 16, MaxPending: 1024, SnapshotSlots: 20, TailSlots: 3,
		Think: dice.Delay{Max: 50 * time.Millisecond}, Timeout: time.Second,
		Options: workload.Options{Locks: 2, Keys: 2, TTL: 2 * time.Second, Waiting: true, KeyShare: 0.5},
		Work: work.Plan{
			Workers: 2, TTL: time.Second, Waiting: true, Think: dice.Delay{Max: 20 * time.Millisecond},
			Delay: dice.Delay{Min: 100 * time.Microsecond, Max: time.Millisecond}, Reach: dice.Delay{Min: 100 * time.Microsecond, Max: time.Millisecond},
		},
	}
	if len(kinds) == 1 && kinds[0] == plan.Lag {
		o.FaultLast = 2 * time.Second
	}
	return o
}

// strikes says by what each kind of fault is known to have done something. It is 0 in a
// run without faults.
var strikes = [plan.NumFaults]func(s *Stats) int{
	plan.CutOneWay: cutOff, plan.CutPath: cutOff, plan.Isolate: cutOff, plan.Split: cutOff, plan.Bridge: cutOff, plan.Ring: cutOff,
	plan.Deaf: cutOff, plan.Mute: cutOff, plan.Flap: cutOff,
	plan.Loss:       func(s *Stats) int { return s.Net.Lost },
	plan.SlowLinks:  func(s *Stats) int { return s.Net.Slow },
	plan.HeavyTail:  func(s *Stats) int { return s.Net.Late },
	plan.Duplicates: func(s *Stats) int { return min(s.Net.Dupes, s.Net.Echoes) },
	plan.Reorder:    func(s *Stats) int { return s.Net.Overtaken },
	plan.Clog:       func(s *Stats) int { return s.Net.Queued },
	plan.Swizzle:    func(s *Stats) int { return s.Net.Held },
	plan.Corrupt:    func(s *Stats) int { return s.Net.Damaged },
	plan.Broken:     func(s *Stats) int { return s.Net.Broken },
	plan.PaxosCut:   func(s *Stats) int { return s.Net.Planed },
	plan.BeatsCut:   func(s *Stats) int { return s.Net.Planed },
	plan.GossipCut:  func(s *Stats) int { return s.Struck.Lies },
	plan.ClientCut:  func(s *Stats) int { return s.Struck.ClientCut },

	plan.Crash: crashed, plan.CrashAll: crashed, plan.Storm: crashed,
	plan.SaveCrash: func(s *Stats) int { return min(s.Struck.Saved, s.Crashes) },
	plan.Pause:     func(s *Stats) int { return s.Struck.Paused },
	plan.SlowCPU:   func(s *Stats) int { return s.Struck.Slowed },
	plan.Suspend:   func(s *Stats) int { return min(s.Struck.Slept, s.Struck.Unheard) },

	plan.ClockRate:   func(s *Stats) int { return s.Struck.Rates },
	plan.WildRate:    func(s *Stats) int { return s.Struck.Wild },
	plan.ClockJump:   func(s *Stats) int { return s.Struck.Jumps },
	plan.ClockStrobe: func(s *Stats) int { return s.Struck.Jumps },

	plan.SlowDisk:      func(s *Stats) int { return s.Struck.SlowWrites },
	plan.WriteError:    func(s *Stats) int { return min(s.Struck.Failed, s.Crashes) },
	plan.SyncError:     func(s *Stats) int { return min(s.Struck.Doubtful, s.Crashes) },
	plan.NoSpace:       func(s *Stats) int { return min(s.Struck.Full, s.Crashes) },
	plan.LostSectors:   func(s *Stats) int { return min(s.Struck.Scattered, s.Struck.Half, s.Crashes) },
	plan.TornWrite:     func(s *Stats) int { return min(s.Struck.Torn, s.Struck.Half, s.Crashes) },
	plan.BitFlip:       func(s *Stats) int { return min(s.Struck.Flipped, s.Reconfigured) },
	plan.SnapshotCrash: func(s *Stats) int { return min(s.Struck.Snapshots, s.Crashes) },
	plan.LoseDisk:      func(s *Stats) int { return min(s.Lost, s.Reconfigured) },
	plan.Rollback:      func(s *Stats) int { return min(s.RolledBack, s.Quarantined) },

	plan.Gossip: func(s *Stats) int { return s.Struck.Lies }, plan.Suspicion: func(s *Stats) int { return s.Struck.Lies },
	plan.Views: func(s *Stats) int { return s.Struck.Lies }, plan.GossipFlap: func(s *Stats) int { return s.Struck.Lies },
	plan.Reset:       func(s *Stats) int { return s.Struck.Resets },
	plan.MissedDeath: func(s *Stats) int { return min(s.Struck.Lies, s.Crashes) },

	plan.Remove:   func(s *Stats) int { return min(s.Struck.Removed, s.Reconfigured) },
	plan.Replace:  func(s *Stats) int { return min(s.Struck.Replaced, s.Reconfigured) },
	plan.Transfer: func(s *Stats) int { return s.HandedOver },
	plan.Lag:      func(s *Stats) int { return min(s.Struck.Lagged, s.Restores) },

	plan.ClientPause:   func(s *Stats) int { return s.Struck.WorkerPauses },
	plan.ClientCrash:   func(s *Stats) int { return s.Struck.WorkerCrashes },
	plan.HolderCrash:   func(s *Stats) int { return s.Struck.HolderCrashes },
	plan.ClientTwice:   func(s *Stats) int { return s.Struck.Twice },
	plan.ClientLate:    func(s *Stats) int { return s.Struck.Late },
	plan.ClientAbandon: func(s *Stats) int { return s.Struck.Abandoned },
}

func cutOff(s *Stats) int  { return s.Net.Cut }
func crashed(s *Stats) int { return s.Crashes }

// TestEveryKindStrikes has each kind of fault strike alone: it must do something, which
// a run without faults does not, and all must stay well.
func TestEveryKindStrikes(t *testing.T) {
	calm, err := Run(alone(1))
	if err != nil {
		t.Fatal(err)
	}
	if plan.NumFaults < 40 {
		t.Errorf("%d kinds of faults; want 40", plan.NumFaults)
	}
	for f := range plan.Fault(plan.NumFaults) {
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			if n := strikes[f](&calm.Stats); n != 0 {
				t.Fatalf("it does something %d times in a run without faults", n)
			}
			const most = 4
			for seed := uint64(1); seed <= most; seed++ {
				r, err := Run(alone(seed, f))
				if err == nil {
					err = checkHistory(r)
				}
				if err != nil {
					t.Fatal(err)
				}
				if n := strikes[f](&r.Stats); n > 0 && r.Stats.Faults[f] > 0 {
					t.Logf("seed %d: %d faults, which did something %d times; %d operations, %d elections", seed, r.Stats.Faults[f], n, r.Stats.Done, r.Stats.Elections)
					return
				}
			}
			t.Errorf("it does nothing in %d runs", most)
		})
	}
}
