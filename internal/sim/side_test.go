package sim

import (
	"testing"
	"time"

	"github.com/prytany/prytany/internal/sim/plan"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
)

// crowded returns the run of a seed with many groups whose members come and go.
func crowded(seed uint64) Options {
	o := Swarm(seed)
	o.Mode, o.Clients, o.Work.Workers = plan.Safety, 2, 0
	o.Nodes = 5
	o.Voters, o.Churn = 5, false
	o.SnapshotSlots = max(o.SnapshotSlots, 50)
	o.Sides, o.SideMoves = 6, true
	o.SideFiller = int(seed%3) * 400 << 10
	o.Chaos = 20 * time.Second
	return o
}

// TestSides has groups beside main created, moved and dropped under all faults.
func TestSides(t *testing.T) {
	n := uint64(12)
	if testing.Short() {
		n = 3
	}
	var sum Stats
	for seed := uint64(1); seed <= n; seed++ {
		r, err := Run(crowded(seed))
		if err == nil {
			err = checkHistory(r)
		}
		if err != nil {
			t.Fatal(err)
		}
		sum.add(&r.Stats)
	}
	t.Logf("%s", sum.String())
}

// A reviving storage forgets which groups it has dropped.
type revivingStorage struct{ *storage }

func (s revivingStorage) Drop(g paxos.GroupID, _ paxos.ConfigID) error {
	n := (*node)(s.storage)
	return n.write(nil, false, func() error { return n.disk.Forget(g) })
}

// TestRevivalIsCaught shows why a node that has given up a group must remember it:
// told by an old directory to begin the group with the others, it would vote again
// without what it has voted for.
func TestRevivalIsCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("a long search in one goroutine")
	}
	const within = 30
	for seed := uint64(1); seed <= within; seed++ {
		o := crowded(seed)
		o.Hooks.Storage = func(s replica.Storage) replica.Storage { return revivingStorage{s.(*storage)} }
		_, err := Run(o)
		if f, ok := err.(*Failure); ok && f.Invariant != "liveness" {
			t.Logf("seed %d: %s after %v: %.200s", seed, f.Invariant, f.At, f.Detail)
			return
		}
	}
	t.Errorf("not caught in %d seeds", within)
}
