package sim

import (
	"testing"
	"time"

	"github.com/prytany/prytany/internal/sim/plan"
)

// fetching returns the run of a seed in which snapshots take many messages over a slow
// network, members come and go, and whoever sends or receives one is struck.
func fetching(seed uint64) Options {
	o := changing(plan.Crash, seed)
	o.Delay.Min, o.Delay.Max = 20*time.Millisecond, 60*time.Millisecond
	o.Faults = []plan.Fault{plan.Crash, plan.Isolate, plan.CutPath, plan.CutOneWay, plan.LoseDisk, plan.LoseDisk}
	o.FaultEvery, o.FaultLast = 250*time.Millisecond, 1500*time.Millisecond
	o.Sides, o.SideFiller = 3, []int{900 << 10, 3 << 20, 6 << 20}[seed%3]
	o.SnapshotSlots, o.TailSlots = 40, 1
	o.Finish = 40 * time.Second
	return o
}

// TestSnapshotsAreCutOff has transfers of snapshots end half-way: the receiver ends, the
// sender ends, is out of reach or has a newer one. Whoever fetches one gets there in the
// end, for [Run] wants every member up to date.
func TestSnapshotsAreCutOff(t *testing.T) {
	n := uint64(9)
	if testing.Short() {
		n = 3
	}
	var sum Stats
	for seed := uint64(1); seed <= n; seed++ {
		r, err := Run(fetching(seed))
		if err == nil {
			err = checkHistory(r)
		}
		if err != nil {
			t.Fatal(err)
		}
		sum.add(&r.Stats)
	}
	f := sum.Fetches
	t.Logf("%+v, %d reconfigurations, %d disks lost", f, sum.Reconfigured+sum.SideMoves, sum.Lost)
	if f.Begun < 4*int(n) || f.Broken < int(n) || f.Installed < 2*int(n) || !testing.Short() && f.Resumed == 0 {
		t.Errorf("%+v in %d runs: too few to show anything", f, n)
	}
}
