//go:build linux

package nemesis

import (
	"context"
	"testing"
	"time"

	"github.com/prytany/prytany/jepsen/world"
)

// What time the machine stands still does not count as time to recover.
func TestStandstillsAreNoTimeToRecover(t *testing.T) {
	w, err := world.New(world.Options{Nodes: 1, Logs: t.TempDir()}, false) // its node does not run
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	const recovery, still = 50 * time.Millisecond, 100 * time.Millisecond
	stood := []time.Duration{still, 2 * still, 2 * still} // at the beginning, after a first while, and after one more
	n := &Nemesis{World: w, Recovery: recovery, Stood: func() time.Duration {
		now := stood[0]
		stood = stood[1:]
		return now
	}}
	begin := time.Now()
	if _, err := n.settle(context.Background()); err == nil {
		t.Error("a cluster of no node has settled")
	}
	if waited := time.Since(begin); len(stood) > 0 || waited < recovery+still {
		t.Errorf("it was given up after %v, and it was asked for standstills %d times too few", waited, len(stood))
	}
}
