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
	sum := wantWell(t, n, lossy)
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
	wantCaught(t, 40, func(seed uint64) Options {
		o := lossy(seed)
		o.Hooks.Amnesia = true
		return o
	})
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
	sum := wantWell(t, n, rolling)
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
	wantCaught(t, 40, func(seed uint64) Options {
		o := rolling(seed)
		o.Hooks.Gullible = true
		return o
	})
}

// wantWell runs n seeds, each with what run makes of it, wants all to be well, and
// returns what happened in them together.
func wantWell(t *testing.T, n uint64, run func(seed uint64) Options) (sum Stats) {
	t.Helper()
	for seed := uint64(1); seed <= n; seed++ {
		r, err := Run(run(seed))
		if err == nil {
			err = checkHistory(r)
		}
		if err != nil {
			t.Fatal(err)
		}
		sum.add(&r.Stats)
	}
	return sum
}

// wantCaught runs seeds until one violates something other than liveness, and wants
// that of one within so many.
func wantCaught(t *testing.T, within uint64, run func(seed uint64) Options) {
	t.Helper()
	for seed := uint64(1); seed <= within; seed++ {
		r, err := Run(run(seed))
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
