package sim

import (
	"testing"
	"time"
)

// TestSameSeedSameRun is what makes a seed worth printing.
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
		second, err := Run(o)
		if err != nil {
			t.Fatal(err)
		}
		if first.Hash != second.Hash || first.Stats != second.Stats {
			t.Errorf("seed %d: two runs differ: trace %x and %x\n%s\n%s", seed, first.Hash, second.Hash, first.Stats.String(), second.Stats.String())
		}
	}
}
