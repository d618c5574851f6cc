package shrink

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/sim/plan"
)

// sixty returns a run of many faults, a second apart.
func sixty() plan.Options {
	o := plan.Options{Seed: 1, Nodes: 5, Voters: 5, Clients: 8, Chaos: time.Minute, Drop: 0.1, Sides: 3}
	for i := range 60 {
		o.Strikes = append(o.Strikes, plan.Strike{At: time.Duration(i) * time.Second, Last: time.Second, Fault: plan.Fault(i % plan.NumFaults), A: i % 3, B: (i + 1) % 3, Seed: uint64(i)})
	}
	return o
}

// needs reports whether o has both of the faults that a bug needs, in time.
func needs(o plan.Options, a, b uint64) bool {
	has := func(seed uint64) bool {
		return slices.ContainsFunc(o.Strikes, func(s plan.Strike) bool { return s.Seed == seed && s.At < o.Chaos })
	}
	return has(a) && has(b) && o.Clients >= 3
}

func TestOnlyWhatIsNeededIsLeft(t *testing.T) {
	small, runs, err := Minimise(sixty(), 500, func(o plan.Options) bool { return needs(o, 7, 31) })
	if err != nil {
		t.Fatal(err)
	}
	if len(small.Strikes) != 2 || small.Strikes[0].Seed != 7 || small.Strikes[1].Seed != 31 {
		t.Errorf("left are %+v", small.Strikes)
	}
	if small.Chaos > 32*time.Second || small.Clients != 3 || small.Drop != 0 || small.Sides != 0 || small.Nodes != 3 {
		t.Errorf("the run is not as simple as it could be: %+v", small)
	}
	if runs > 200 {
		t.Errorf("it took %d runs", runs)
	}
}

func TestBudgetIsKept(t *testing.T) {
	count := 0
	small, runs, err := Minimise(sixty(), 10, func(o plan.Options) bool { count++; return needs(o, 7, 31) })
	if err != nil || runs != 10 || count != 10 || !needs(small, 7, 31) {
		t.Errorf("%d runs, %d counted, %v; what is left fails: %v", runs, count, err, needs(small, 7, 31))
	}
}

func TestNothingFails(t *testing.T) {
	if _, _, err := Minimise(sixty(), 10, func(plan.Options) bool { return false }); !errors.Is(err, ErrPasses) {
		t.Errorf("got %v", err)
	}
}

func TestCasesAreReadAsWritten(t *testing.T) {
	dir := t.TempDir()
	if _, err := Read(dir); err == nil {
		t.Error("an empty directory is no error")
	}
	c := Case{Story: "s", Invariant: "I1", Options: sixty()}
	c.Options.Mode = plan.Liveness
	if _, err := c.Write(dir, "x"); err != nil {
		t.Fatal(err)
	}
	cases, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := cases["x.json"]
	if !same(&got.Options, &c.Options) || got.Invariant != c.Invariant || got.Options.Mode != plan.Liveness || got.Options.Strikes[40].Fault != c.Options.Strikes[40].Fault {
		t.Errorf("read %+v", got)
	}
}
