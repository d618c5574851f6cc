//go:build mutants

package sim

import (
	"flag"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/sim/plan"
	"github.com/prytany/prytany/internal/sim/workload"
)

var board = flag.String("board", "swarm", "the kind of runs of TestBoard")

// boards are the kinds of runs that mutants of the production code meet.
var boards = map[string]func(seed uint64) Options{
	"swarm": Swarm,
	"all": func(seed uint64) Options { // clients do everything
		o := Swarm(seed)
		o.Features = workload.Everything
		return o
	},
	"leases": func(seed uint64) Options { // they matter: see TestLongLeases
		o := staged
		o.Options = Swarm(seed).Options
		o.Bulk, o.Seed, o.MaxDrift, o.Chaos = 0, seed, 5000, 15*time.Second
		o.Faults = []plan.Fault{plan.Isolate, plan.Storm, plan.Crash, plan.Pause}
		o.FaultEvery, o.FaultLast, o.HandOverEvery = 400*time.Millisecond, 2*time.Second, time.Second
		return o
	},
	"groups":    crowded,
	"lossy":     lossy,
	"rollbacks": rolling,
}

// TestBoard runs seeds until one fails. `make mutants` runs it as one mutant after the
// other; see internal/mutant/board.
func TestBoard(t *testing.T) {
	run := boards[*board]
	if run == nil {
		t.Fatalf("there is no board %q", *board)
	}
	n := *seeds
	if n == 0 {
		n = 12
	}
	for seed := *from; seed < *from+uint64(n); seed++ {
		r, err := Run(run(seed))
		if err == nil {
			err = checkHistory(r)
		}
		if f, ok := err.(*Failure); ok {
			t.Fatalf("seed %d: %s after %v: %.400s", seed, f.Invariant, f.At, f.Detail)
		} else if err != nil {
			t.Fatalf("seed %d: %.400v", seed, err)
		}
	}
}
