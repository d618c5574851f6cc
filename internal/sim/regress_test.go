package sim

import (
	"slices"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/sim/dice"
	"github.com/prytany/prytany/internal/sim/plan"
	"github.com/prytany/prytany/internal/sim/work"
	"github.com/prytany/prytany/internal/sim/workload"
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
			Seed: 3, Mode: plan.Liveness, Nodes: 3, Voters: 3, Clients: 3, Chaos: 20 * time.Second, Settle: 6 * time.Second, Finish: 20 * time.Second,
			Faults: []plan.Fault{plan.CutPath, plan.Isolate, plan.Split, plan.Ring, plan.Deaf, plan.Mute, plan.SlowLinks, plan.Crash,
				plan.Storm, plan.Pause, plan.SyncError, plan.Gossip, plan.Reset, plan.ClientCut},
			FaultEvery: time.Second, FaultLast: 2 * time.Second,
			Delay: dice.Delay{Min: 100 * time.Microsecond, Max: time.Millisecond}, Ordered: true, Loop: dice.Delay{Max: 20 * time.Microsecond},
			Refused: 1, MaxDrift: 5000, Heartbeat: 100 * time.Millisecond, Silence: 600 * time.Millisecond, Lease: 300 * time.Millisecond,
			Tick: 50 * time.Millisecond, RetryAfter: time.Second, MaxBatch: 1, MaxPending: 16384, SnapshotSlots: 1000, TailSlots: 20,
			Think: dice.Delay{Max: 50 * time.Millisecond}, Timeout: 3 * time.Second,
			Options: workload.Options{Locks: 2, Keys: 1, TTL: 10 * time.Second, Waiting: true, KeyShare: 0.8},
		},
		seeds: 4,
	},
	{
		name: "growth costs an election",
		story: "The designated leader of a new configuration leads without an election. The other members did not know that it " +
			"would, found no contented neighbour at once, and claimed: one needless change of leader for each new voter. Now a " +
			"new configuration begins with the grace of a new promise.",
		run: Options{
			Seed: 47, Mode: plan.Quiet, Nodes: 3, Voters: 1, Clients: 4, Chaos: 8 * time.Second, Settle: 4 * time.Second, Finish: 20 * time.Second,
			Delay: dice.Delay{Min: 100 * time.Microsecond, Max: time.Millisecond}, Loop: dice.Delay{Max: 20 * time.Microsecond},
			Heartbeat: 25 * time.Millisecond, Silence: 200 * time.Millisecond, Lease: 75 * time.Millisecond,
			Tick: 50 * time.Millisecond, RetryAfter: 5 * time.Second, MaxBatch: 16, MaxPending: 16384, SnapshotSlots: 1000, TailSlots: 200,
			Think: dice.Delay{Max: 50 * time.Millisecond}, Timeout: 5 * time.Second,
			Options: workload.Options{Locks: 2, Keys: 3, TTL: 3 * time.Second, Waiting: true, KeyShare: 0.5},
		},
		seeds: 4,
	},
	{
		name: "a renewal shortens a lease",
		story: "A new leader begins leases with up to half a second more than the TTL, so that they do not all end at once. " +
			"Somebody was told how much was left of one; a renewal within that half second, of which nobody heard, moved the " +
			"deadline back to the TTL from then; the session ended sooner than was told. Now a renewal never shortens a lease.",
		run: Options{
			Seed: 107, Nodes: 3, Voters: 3, Clients: 5, Chaos: 6 * time.Second, Settle: 6 * time.Second, Finish: 20 * time.Second,
			Faults:     []plan.Fault{plan.CutOneWay, plan.Flap, plan.Loss, plan.CrashAll, plan.SlowDisk},
			FaultEvery: 500 * time.Millisecond, FaultLast: 100 * time.Millisecond,
			Delay: dice.Delay{Min: 100 * time.Microsecond, Max: 200 * time.Microsecond}, Ordered: true, Loop: dice.Delay{Max: 20 * time.Microsecond},
			Sync: dice.Delay{Max: 500 * time.Microsecond}, Refused: 1,
			Heartbeat: 25 * time.Millisecond, Silence: 150 * time.Millisecond, Lease: 75 * time.Millisecond,
			Tick: 50 * time.Millisecond, RetryAfter: 2 * time.Second, MaxBatch: 512, MaxPending: 1024, SnapshotSlots: 500, TailSlots: 1,
			Think: dice.Delay{Max: 200 * time.Millisecond}, Timeout: time.Second, Events: 200,
			Options: workload.Options{Locks: 4, Keys: 1, TTL: 10 * time.Second, KeyShare: 0.2, Features: workload.Everything},
		},
		seeds: 4,
	},
	{
		name: "an old leader ends a lock-delay",
		story: "A lock-delay was over by the clock of a leader that had just lost its quorum; that it is over stayed a vote. The " +
			"next leader began the delay in full, and told how much was left. The one after that found the vote and had it " +
			"chosen: the delay, or the time that holders had to yield, ended sooner than was told. Now what a leader ends by " +
			"its clock is void once another leads, as it was for sessions.",
		run: Options{
			Seed: 1, Mode: plan.Liveness, Nodes: 3, Voters: 3, Clients: 7, Chaos: 19 * time.Second, Settle: 6 * time.Second, Finish: 20 * time.Second,
			Faults: append([]plan.Fault{plan.Isolate, plan.Split, plan.Bridge, plan.Deaf, plan.Mute, plan.Flap, plan.Loss, plan.Crash,
				plan.CrashAll, plan.SlowDisk, plan.SyncError, plan.Gossip}, slices.Repeat([]plan.Fault{plan.ClientPause}, 7)...),
			FaultEvery: time.Second, FaultLast: 2 * time.Second, Drop: 0.001, Dup: 0.01,
			Delay: dice.Delay{Min: 100 * time.Microsecond, Max: 200 * time.Microsecond}, Refused: 0.5, MaxDrift: 100,
			Heartbeat: 50 * time.Millisecond, Silence: 400 * time.Millisecond, Lease: 150 * time.Millisecond,
			Tick: 50 * time.Millisecond, RetryAfter: 2 * time.Second, MaxBatch: 1, MaxPending: 1024, SnapshotSlots: 10000, TailSlots: 20,
			Think: dice.Delay{Max: 20 * time.Millisecond}, Timeout: time.Second, Events: 200,
			Options: workload.Options{Locks: 2, Keys: 1, TTL: 3 * time.Second, Waiting: true, Bulk: 40000, KeyShare: 0.5, Features: workload.Everything},
			Work: work.Plan{
				Workers: 2, TTL: 2 * time.Second, LockDelay: 500 * time.Millisecond, Hold: true, Breaks: true,
				Think: dice.Delay{Max: 20 * time.Millisecond},
				Delay: dice.Delay{Min: 100 * time.Microsecond, Max: time.Millisecond, Tail: 0.1, Mean: 50 * time.Millisecond},
				Reach: dice.Delay{Min: 100 * time.Microsecond, Max: 5 * time.Millisecond, Tail: 0.01, Mean: time.Second},
			},
		},
		seeds: 2,
	},
	{
		name: "a live voter goes while a disk is put back",
		story: "A fault of the harness: it took a live voter out of three while another's disk had been rolled back, or was lost. " +
			"The two that were left could decide nothing for ever. Now a run takes away nobody but who is lost until all is whole.",
		run: Options{
			Seed: 191, Nodes: 3, Voters: 3, Clients: 6, Churn: true, Chaos: 23 * time.Second, Settle: 6 * time.Second, Finish: 20 * time.Second,
			Faults:     []plan.Fault{plan.CutOneWay, plan.Deaf, plan.Mute, plan.Crash, plan.SyncError, plan.Gossip, plan.Rollback, plan.Rollback},
			FaultEvery: 200 * time.Millisecond, FaultLast: 500 * time.Millisecond,
			Delay: dice.Delay{Min: 100 * time.Microsecond, Max: 4 * time.Millisecond}, Loop: dice.Delay{Max: 20 * time.Microsecond},
			Sync: dice.Delay{Max: 500 * time.Microsecond}, Refused: 0.5, Revive: true, MaxDrift: 100,
			Heartbeat: 100 * time.Millisecond, Silence: 600 * time.Millisecond, Lease: 400 * time.Millisecond,
			Tick: 100 * time.Millisecond, RetryAfter: 2 * time.Second, MaxBatch: 512, MaxPending: 1024, SnapshotSlots: 100, TailSlots: 10000,
			LeaseReads: true, HandOverEvery: 4 * time.Second,
			Think: dice.Delay{Max: 200 * time.Millisecond}, Timeout: 3 * time.Second,
			Options: workload.Options{Locks: 2, Keys: 8, TTL: 3 * time.Second, Waiting: true, KeyShare: 0.5, Features: 0x45b},
		},
		seeds: 4,
	},
	{
		name: "another group's snapshot is written after a failed write",
		story: "Snapshots of two groups arrived in one turn. The first could not be written; the error was kept for the next turn of " +
			"its group, and the second was written meanwhile. Now a failed write ends the turn.",
		run: Options{
			Seed: 1000154, Nodes: 3, Voters: 3, Clients: 3, Chaos: 16 * time.Second, Settle: 6 * time.Second, Finish: 20 * time.Second,
			Faults:     []plan.Fault{plan.CutOneWay, plan.Storm, plan.SyncError, plan.Gossip, plan.LoseDisk, plan.LoseDisk},
			FaultEvery: 200 * time.Millisecond, FaultLast: 100 * time.Millisecond,
			Delay: dice.Delay{Min: 100 * time.Microsecond, Max: 200 * time.Microsecond}, Ordered: true, Codec: true, Loop: dice.Delay{Max: 20 * time.Microsecond},
			Sync: dice.Delay{Max: 500 * time.Microsecond}, Refused: 0.5, Revive: true, MaxDrift: 100,
			Heartbeat: 25 * time.Millisecond, Silence: 200 * time.Millisecond, Lease: 100 * time.Millisecond,
			Tick: 50 * time.Millisecond, RetryAfter: 2 * time.Second, MaxBatch: 512, MaxPending: 1024, SnapshotSlots: 1, TailSlots: 1,
			LeaseReads: true, HandOverEvery: 200 * time.Millisecond,
			Think: dice.Delay{Max: 300 * time.Millisecond}, Timeout: 3 * time.Second,
			Options: workload.Options{Locks: 4, Keys: 3, TTL: 2 * time.Second, KeyShare: 0.5},
			Sides:   5, SideMoves: true,
		},
		seeds: 3,
	},
	{
		name: "an older snapshot takes the place of a newer one",
		story: "A snapshot had arrived and was written; before it became the group's state, in the same turn, the group's own was due " +
			"and written over it. The header then named a snapshot that was not on the disk: the next start would have called it damaged. " +
			"Only the simulator has both in one turn. Now none is taken while one has arrived.",
		run: Options{
			Seed: 5002325, Mode: plan.Liveness, Nodes: 3, Voters: 3, Clients: 3, Chaos: 25 * time.Second, Settle: 6 * time.Second, Finish: 20 * time.Second,
			Faults: []plan.Fault{plan.CutPath, plan.Split, plan.Deaf, plan.Mute, plan.Loss, plan.SlowLinks, plan.Pause, plan.SlowDisk,
				plan.ClientPause, plan.ClientPause, plan.ClientPause, plan.ClientPause, plan.ClientPause},
			FaultEvery: 3 * time.Second, FaultLast: 2 * time.Second,
			Dup: 0.1, Delay: dice.Delay{Min: 100 * time.Microsecond, Max: 4 * time.Millisecond}, Ordered: true, Loop: dice.Delay{Max: 200 * time.Microsecond},
			Sync: dice.Delay{Max: 500 * time.Microsecond}, Refused: 1, Revive: true, MaxDrift: 100,
			Heartbeat: 100 * time.Millisecond, Silence: 800 * time.Millisecond, Lease: 300 * time.Millisecond,
			Tick: 100 * time.Millisecond, RetryAfter: 5 * time.Second, MaxBatch: 512, MaxPending: 16, SnapshotSlots: 1, TailSlots: 1,
			LeaseReads: true, HandOverEvery: time.Second,
			Think: dice.Delay{Max: 300 * time.Millisecond}, Timeout: time.Second, Events: 20,
			Work: work.Plan{
				Workers: 2, TTL: time.Second, Think: dice.Delay{Max: 100 * time.Millisecond},
				Delay: dice.Delay{Min: 100 * time.Microsecond, Max: time.Millisecond, Mean: 50 * time.Millisecond},
				Reach: dice.Delay{Min: 100 * time.Microsecond, Max: 5 * time.Millisecond, Tail: 0.05, Mean: 500 * time.Millisecond}, Waiting: true,
			},
			Options: workload.Options{Locks: 2, Keys: 3, TTL: 10 * time.Second, Waiting: true, KeyShare: 0.8, Features: workload.Everything},
			Sides:   5,
		},
		seeds: 3,
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
