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

func TestEventsComeInOrder(t *testing.T) {
	var s schedule
	for _, at := range []time.Duration{5, 1, 4, 1, 3, 5, 9, 2, 6, 5, 3, 5} {
		s.add(at)
	}
	var last event
	for s.len() > 0 {
		e := s.pop()
		if before(e, &last) {
			t.Errorf("(%d, %d) comes after (%d, %d)", e.at, e.seq, last.at, last.seq)
		}
		last = *e
		s.release(e)
	}
}

func TestClockMapsBack(t *testing.T) {
	for _, drift := range []int64{0, -5000, 5000, 17} {
		n := node{offset: 12345 * time.Second, drift: drift}
		for _, at := range []time.Duration{0, 1, 999999, 7*time.Second + 3, time.Hour} {
			c := n.clock(at)
			if got := n.when(c); got > at || n.clock(got) < c {
				t.Errorf("drift %d: the clock shows %v at %v, but when says %v", drift, c, at, got)
			}
		}
	}
}
