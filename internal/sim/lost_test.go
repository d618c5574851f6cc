package sim

import (
	"testing"
	"time"

	"github.com/prytany/prytany/internal/sim/plan"
)

// lossy returns the run of a seed in which disks are lost again and again.
func lossy(seed uint64) Options {
	o := Swarm(seed)
	o.Mode, o.Nodes, o.Voters, o.Churn = plan.Safety, 3+2*int(seed%2), 3, false
	o.Voters = o.Nodes
	o.Faults = []plan.Fault{plan.LoseDisk, plan.LoseDisk, plan.Isolate, plan.Split, plan.Crash, plan.CutPath}
	o.FaultEvery, o.FaultLast = 300*time.Millisecond, 500*time.Millisecond
	o.Chaos = 20 * time.Second
	return o
}

// TestLostDisks has disks lost for good while everything else goes wrong too: who
// had one comes back as somebody else, and is made a voter in the place of the one
// who is gone.
func TestLostDisks(t *testing.T) {
	n := uint64(12)
	if testing.Short() {
		n = 3
	}
	var sum Stats
	for seed := uint64(1); seed <= n; seed++ {
		r, err := Run(lossy(seed))
		if err == nil {
			err = checkHistory(r)
		}
		if err != nil {
			t.Fatal(err)
		}
		sum.add(&r.Stats)
	}
	t.Logf("%d disks lost, %d reconfigurations, %d operations", sum.Lost, sum.Reconfigured, sum.Done)
	if sum.Lost < int(n) || sum.Reconfigured < sum.Lost {
		t.Errorf("%d disks lost and %d reconfigurations in %d runs: too few to show anything", sum.Lost, sum.Reconfigured, n)
	}
}

// TestAmnesiaIsCaught shows why: an acceptor that comes back under its old name
// without what it has promised and voted for lets two values be chosen in one slot,
// though it was taught all that was chosen before it votes again.
func TestAmnesiaIsCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("a long search in one goroutine")
	}
	const within = 40
	for seed := uint64(1); seed <= within; seed++ {
		o := lossy(seed)
		o.Hooks.Amnesia = true
		r, err := Run(o)
		if err == nil {
			err = checkHistory(r)
		}
		if f, ok := err.(*Failure); ok && f.Invariant != "liveness" {
			t.Logf("seed %d: %s after %v: %.200s", seed, f.Invariant, f.At, f.Detail)
			return
		}
	}
	t.Errorf("not caught in %d seeds", within)
}

// rolling returns the run of a seed in which disks are put back to older copies.
func rolling(seed uint64) Options {
	o := lossy(seed)
	o.Faults = []plan.Fault{plan.Rollback, plan.Rollback, plan.Rollback, plan.Isolate, plan.Split, plan.Crash, plan.CutPath}
	return o
}

// TestRollbacks has disks put back to older copies of themselves: whoever comes back
// so is found out by its peers before it has said a word to them, and replaced.
func TestRollbacks(t *testing.T) {
	n := uint64(12)
	if testing.Short() {
		n = 3
	}
	var sum Stats
	for seed := uint64(1); seed <= n; seed++ {
		r, err := Run(rolling(seed))
		if err == nil {
			err = checkHistory(r)
		}
		if err != nil {
			t.Fatal(err)
		}
		sum.add(&r.Stats)
	}
	t.Logf("%d disks rolled back, %d identities quarantined, %d reconfigurations, %d operations", sum.RolledBack, sum.Quarantined, sum.Reconfigured, sum.Done)
	if sum.RolledBack < int(n) || sum.Quarantined != sum.RolledBack {
		t.Errorf("%d disks rolled back and %d identities quarantined in %d runs", sum.RolledBack, sum.Quarantined, n)
	}
}

// TestRollbackIsCaught shows what it is good for: where nobody looks, what was
// acknowledged is lost.
func TestRollbackIsCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("a long search in one goroutine")
	}
	const within = 40
	for seed := uint64(1); seed <= within; seed++ {
		o := rolling(seed)
		o.Hooks.Gullible = true
		r, err := Run(o)
		if err == nil {
			err = checkHistory(r)
		}
		if f, ok := err.(*Failure); ok && f.Invariant != "liveness" {
			t.Logf("seed %d: %s after %v: %.200s", seed, f.Invariant, f.At, f.Detail)
			return
		}
	}
	t.Errorf("not caught in %d seeds", within)
}
