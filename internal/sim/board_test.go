//go:build mutants

package sim

import (
	"flag"
	"testing"

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
	"groups": crowded,
}

// swarmed carries out the run that the board has for seed.
func swarmed(options func(seed uint64) Options) func(seed uint64) error {
	return func(seed uint64) error {
		r, err := Run(options(seed))
		if err == nil {
			err = checkHistory(r)
		}
		return err
	}
}

// TestBoard runs seeds until one fails. `make mutants` runs it as one mutant after the
// other; see internal/mutant/board.
func TestBoard(t *testing.T) {
	run := forsaken
	if options := boards[*board]; options != nil {
		run = swarmed(options)
	} else if *board != "forsaken" {
		t.Fatalf("there is no board %q", *board)
	}
	n := *seeds
	if n == 0 {
		n = 12
	}
	for seed := *from; seed < *from+uint64(n); seed++ {
		err := run(seed)
		if f, ok := err.(*Failure); ok {
			t.Fatalf("seed %d: %s after %v: %.400s", seed, f.Invariant, f.At, f.Detail)
		} else if err != nil {
			t.Fatalf("seed %d: %.400v", seed, err)
		}
	}
}
