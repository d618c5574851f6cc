package sim

import (
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/sim/plan"
	"github.com/prytany/prytany/internal/sim/shrink"
)

// corpus is where runs are kept that have failed.
var corpus = filepath.Join("testdata", "corpus")

var (
	shrinking = flag.Bool("minimise", false, "with -seed: make that run smaller as long as it fails, and keep it in testdata/corpus")
	bug       = flag.String("bug", "", "with -minimise: the known-bad variant, by its name among the mutants, that fails in it")
)

// broken runs o and returns the invariant that it breaks, "" if none.
func broken(o Options) string {
	r, err := Run(o)
	if err == nil {
		err = checkHistory(r)
	}
	if f, ok := err.(*Failure); ok {
		return f.Invariant
	}
	return ""
}

// hooksOf returns the hooks of the known-bad variant called name.
func hooksOf(t *testing.T, name string) func() plan.Hooks {
	for _, m := range mutants {
		if m.name == name {
			return m.hooks
		}
	}
	t.Fatalf("no known-bad variant is called %q", name)
	return nil
}

// minimise makes a run that fails under a known-bad variant, or under none, smaller.
func minimise(t *testing.T, o Options, bug string, most int) shrink.Case {
	t.Helper()
	hooks := func() plan.Hooks { return plan.Hooks{} }
	if bug != "" {
		hooks = hooksOf(t, bug)
	}
	fails := func(o plan.Options) string {
		o.Hooks = hooks()
		return broken(o)
	}
	invariant := fails(o)
	small, runs, err := shrink.Minimise(o, most, func(o plan.Options) bool { return fails(o) == invariant })
	if err != nil || invariant == "" {
		t.Fatalf("seed %d breaks %q: %v", o.Seed, invariant, err)
	}
	t.Logf("seed %d breaks %s: of %d faults %d are left, of %v %v, after %d runs", o.Seed, invariant, len(o.Script()), len(small.Strikes), o.Chaos, small.Chaos, runs)
	return shrink.Case{Story: fmt.Sprintf("Seed %d, made smaller.", o.Seed), Invariant: invariant, Bug: bug, Options: small}
}

// TestMinimise makes a run smaller in which a made-up bug shows, and the seed of a
// campaign with -minimise.
func TestMinimise(t *testing.T) {
	if *shrinking {
		o := chosen(*seed)
		c := minimise(t, o, *bug, 2000)
		path, err := c.Write(corpus, fmt.Sprintf("seed-%d", o.Seed))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("kept in internal/sim/%s; say in it what went wrong", path)
		return
	}
	if testing.Short() {
		t.Skip("a long search in one goroutine")
	}
	const made = "a snapshot is not restored"
	with := func(o Options) string {
		o.Hooks = hooksOf(t, made)()
		return broken(o)
	}
	var o Options
	for s := uint64(1); ; s++ {
		o = Swarm(s)
		without := o
		without.Strikes = []plan.Strike{}
		if n := len(o.Script()); n > 10 && n < 60 && o.Mode == plan.Safety && with(o) != "" && with(without) == "" {
			break
		}
	}
	c := minimise(t, o, made, 200)
	small := c.Options
	if n := len(small.Strikes); n == 0 || n >= len(o.Script())/3 || small.Chaos >= o.Chaos || small.Clients > o.Clients {
		t.Errorf("%d faults in %v of %d in %v: that is not small", len(small.Strikes), small.Chaos, len(o.Script()), o.Chaos)
	}
	for i := range small.Strikes {
		less := small
		less.Strikes = slices.Delete(slices.Clone(small.Strikes), i, i+1)
		if with(less) == c.Invariant {
			t.Errorf("without fault %d, %+v, it fails as well", i, small.Strikes[i])
		}
	}
	if got := broken(small); got != "" {
		t.Errorf("without the bug it breaks %s", got)
	}
	readBack(t, c)
}

// readBack checks that a case that was written is read as it was.
func readBack(t *testing.T, c shrink.Case) {
	dir := t.TempDir()
	if _, err := c.Write(dir, "x"); err != nil {
		t.Fatal(err)
	}
	cases, err := shrink.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	read := cases["x.json"]
	read.Options.Hooks = hooksOf(t, c.Bug)()
	if got := broken(read.Options); got != c.Invariant {
		t.Errorf("read from its file it breaks %q; want %s", got, c.Invariant)
	}
}

// TestCorpus repeats all runs that are kept, each with a few seeds beside its own: none may
// fail, and where a made-up bug was found it must be found again.
func TestCorpus(t *testing.T) {
	cases, err := shrink.Read(corpus)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const beside = 8
			found := c.Bug == ""
			for range beside {
				if got := broken(c.Options); got != "" {
					t.Fatalf("it breaks %s again. %s", got, c.Story)
				}
				if !found {
					o := c.Options
					o.Hooks = hooksOf(t, c.Bug)()
					found = broken(o) == c.Invariant
				}
				c.Options.Seed++
			}
			if !found {
				t.Errorf("%s is not found by %s in %d seeds", c.Bug, c.Invariant, beside)
			}
		})
	}
}

// TestLongRuns has ten minutes pass, with little at a time, in a few runs.
func TestLongRuns(t *testing.T) {
	n := uint64(4)
	if testing.Short() {
		n = 1
	}
	for s := uint64(1); s <= n; s++ {
		o := plan.Long(s)
		r, err := Run(o)
		if err == nil {
			err = checkHistory(r)
		}
		if err != nil {
			t.Error(err)
		}
		if r.Time < 10*time.Minute {
			t.Errorf("seed %d: only %v have passed", s, r.Time)
		}
	}
}
