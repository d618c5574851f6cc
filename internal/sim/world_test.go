package sim

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/prytany/prytany/paxos"
)

// TestSameSeedSameRun is what makes a seed worth printing: a run is the same on one
// processor, with memory collected all the time.
func TestSameSeedSameRun(t *testing.T) {
	n := uint64(8)
	if testing.Short() {
		n = 3
	}
	for seed := uint64(101); seed < 101+n; seed++ {
		o := Swarm(seed)
		o.Chaos = 6 * time.Second
		first, err := Run(o)
		if err != nil {
			t.Fatal(err)
		}
		second, err := frugally(o)
		if err != nil {
			t.Fatal(err)
		}
		if first.Hash != second.Hash || first.Stats != second.Stats {
			t.Errorf("seed %d: two runs differ: trace %x and %x\n%s\n%s", seed, first.Hash, second.Hash, first.Stats.String(), second.Stats.String())
		}
	}
}

// frugally runs o as under GOMAXPROCS=1 and GOGC=10.
func frugally(o Options) (Report, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	return Run(o)
}

// TestScriptIsTheRun: a run whose faults are spelled out is the run from which they come,
// so that leaving out some of them leaves all else to the same dice.
func TestScriptIsTheRun(t *testing.T) {
	for seed := uint64(1); seed <= 2; seed++ {
		o := Swarm(seed)
		o.Chaos = 4 * time.Second
		drawn, err := Run(o)
		if err != nil {
			t.Fatal(err)
		}
		o.Strikes = o.Script()
		spelled, err := Run(o)
		if err != nil {
			t.Fatal(err)
		}
		if drawn.Hash != spelled.Hash {
			t.Errorf("seed %d: the run of its faults is another one", seed)
		}
	}
}

// TestProcessesStartOnTime shows that a wild rate is a process's, and ends with it: once a
// node led at a fifth of the time's pace when all had healed, as it had not lived to the
// end of the fault (seed 20,102,590, -long).
func TestProcessesStartOnTime(t *testing.T) {
	w := newWorld(Options{Seed: 1, Nodes: 3, Voters: 3})
	n := w.nodes[0]
	n.start()
	n.runsAt(-800_000)
	n.down("a test")
	n.start()
	if n.Drift != 0 {
		t.Errorf("the clock of a new process is off by %d parts in a million", n.Drift)
	}
}

// TestALoneSnapshot is nobody's: a process that died before it made a group of it is the
// only one that knew of it, and another may begin with an earlier one (seed 20,106,183,
// -long). What the same process has saved, or what a group stands on, is not given up.
func TestALoneSnapshot(t *testing.T) {
	const g = 7
	n := newWorld(Options{Seed: 1, Nodes: 3, Voters: 3}).nodes[0]
	n.start()
	if err := n.disk.SaveSnapshot(g, paxos.Snapshot{Slot: 82}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		saved, own bool
		want       paxos.Slot
	}{{false, false, 0}, {false, true, 82}, {true, false, 82}} {
		n.disk.Volume(g).Saved = tt.saved
		if got := n.disk.Volume(g).Replaced(tt.own); got != tt.want {
			t.Errorf("of a group: %v, of this process: %v: slot %d, want %d", tt.saved, tt.own, got, tt.want)
		}
	}
}
