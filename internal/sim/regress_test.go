package sim

import (
	"testing"
	"time"
)

// regressions are runs that once failed. Seeds mean something else as soon as
// the code changes, so each run is kept with its options, and repeated with a
// few seeds beside the one that failed.
var regressions = []struct {
	name  string
	story string
	run   Options
	seeds int
}{
	{
		name: "overtaken leader that cannot hear its successor",
		story: "Node 1 led; while it was cut off node 3 took over; then the path between 1 and 3 stayed cut. Node 1 heard " +
			"refusals from node 2, dropped it from its quorum and went on sending to node 3. Nobody told it what was chosen: " +
			"it led its dead ballot for ever, fell behind and served nobody. Now a refused leader asks whether it was overtaken.",
		run: Options{
			Seed: 3, Mode: Liveness, Nodes: 3, Voters: 3, Clients: 3, Chaos: 20 * time.Second, Settle: 6 * time.Second, Finish: 20 * time.Second,
			Faults: []Fault{FaultCutPath, FaultIsolate, FaultSplit, FaultRing, FaultDeaf, FaultMute, FaultSlowLinks, FaultCrash,
				FaultStorm, FaultPause, FaultBadDisk, FaultGossip, FaultReset, FaultClientCut},
			FaultEvery: time.Second, FaultLast: 2 * time.Second,
			Delay: delay{min: 100 * time.Microsecond, max: time.Millisecond}, Ordered: true, Loop: delay{max: 20 * time.Microsecond},
			Refused: 1, MaxDrift: 5000, Heartbeat: 100 * time.Millisecond, Silence: 600 * time.Millisecond, Lease: 300 * time.Millisecond,
			Tick: 50 * time.Millisecond, RetryAfter: time.Second, MaxBatch: 1, MaxPending: 16384, SnapshotSlots: 1000, TailSlots: 20,
			Think: delay{max: 50 * time.Millisecond}, Timeout: 3 * time.Second, Locks: 2, Keys: 1, TTL: 10 * time.Second,
			Waiting: true, KeyShare: 0.8,
		},
		seeds: 4,
	},
	{
		name: "growth costs an election",
		story: "The designated leader of a new configuration leads without an election. The other members did not know that it " +
			"would, found no contented neighbour at once, and claimed: one needless change of leader for each new voter. Now a " +
			"new configuration begins with the grace of a new promise.",
		run: Options{
			Seed: 47, Mode: Quiet, Nodes: 3, Voters: 1, Clients: 4, Chaos: 8 * time.Second, Settle: 4 * time.Second, Finish: 20 * time.Second,
			Delay: delay{min: 100 * time.Microsecond, max: time.Millisecond}, Loop: delay{max: 20 * time.Microsecond},
			Heartbeat: 25 * time.Millisecond, Silence: 200 * time.Millisecond, Lease: 75 * time.Millisecond,
			Tick: 50 * time.Millisecond, RetryAfter: 5 * time.Second, MaxBatch: 16, MaxPending: 16384, SnapshotSlots: 1000, TailSlots: 200,
			Think: delay{max: 50 * time.Millisecond}, Timeout: 5 * time.Second, Locks: 2, Keys: 3, TTL: 3 * time.Second,
			Waiting: true, KeyShare: 0.5,
		},
		seeds: 4,
	},
}

func TestRegressions(t *testing.T) {
	for _, r := range regressions {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			for range r.seeds {
				report, err := Run(r.run)
				if err == nil {
					err = checkHistory(report)
				}
				if err != nil {
					t.Errorf("it is back. %s\n%v", r.story, err)
				}
				r.run.Seed++
			}
		})
	}
}
