package check

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/prytany/prytany/jepsen/forge"
	"github.com/prytany/prytany/jepsen/verdict"
)

// goldenBugs says which checks must find each bug of a service, within a few runs.
var goldenBugs = map[forge.Bug][]string{
	forge.DoubleGrant:      {"answers", "linear-locks", "linear-semaphores", "linear-elections", "L3-fenced-effect", "L5-belief"},
	forge.EarlyExpiry:      {"L4-no-early-expiry", "linear-locks", "linear-semaphores", "linear-elections", "linear-sessions"},
	forge.DeadRenewed:      {"reads", "linear-sessions", "L7-definite"},
	forge.FenceReuse:       {"answers", "linear-locks", "linear-semaphores", "linear-elections", "L2-fences", "L3-fenced-effect"},
	forge.ExpiryLeavesHeld: {"answers", "linear-locks"},
	forge.StaleRead:        {"reads", "linear-registers"},
	forge.ReadIndexReused:  {"real-time", "linear-registers"},
	forge.LostUpdate:       {"effects", "linear-registers"},
	forge.LostAfterInfo:    {"reads", "linear-registers"},
	forge.FailedApplied:    {"effects", "linear-registers"},
	forge.NeverExpires:     {"L6-eventual-release"},
	forge.LowFenceTaken:    {"L3-fenced-effect"},
	forge.TwiceApplied:     {"reads", "answers", "linear-registers", "watch"},
	forge.ToldTooMuch:      {"watch"},
	forge.FalseRevision:    {"answers", "linear-registers"},

	forge.AllDespiteHeld:    {"answers", "linear-locks"},
	forge.TransferKeepsTerm: {"answers", "linear-elections", "L2-fences"},
	forge.ProclaimAfterTerm: {"answers", "linear-elections"},
	forge.YieldTooSoon:      {"L4-no-early-expiry", "linear-locks"},
	forge.YieldEndsLater:    {"linear-locks"},
	forge.FenceFalls:        {"answers", "reads", "linear-fences"},
}

// quick bounds searches by steps, so that they end in the same way on every machine. What
// is decided at all here takes 25,000 at most.
var quick = Options{Failover: 2 * time.Second, Patience: time.Minute, Steps: 100_000}

// suite runs the goldens and some runs without a fault, and returns what is wrong with
// the checkers. seeds is how many runs there are of each.
func suite(seeds uint64) (wrong []string, found map[forge.Bug]map[string]int) {
	found = map[forge.Bug]map[string]int{}
	for _, bug := range append(slices.Sorted(maps.Keys(goldenBugs)), forge.None) {
		got := map[string]int{}
		for seed := range seeds {
			for _, c := range judge(forge.Make(forge.Options{Seed: seed, Bug: bug}), quick).Checks {
				if c.Outcome == verdict.Failed {
					got[c.Name]++
				}
			}
		}
		found[bug] = got
		for _, name := range goldenBugs[bug] {
			if got[name] == 0 {
				wrong = append(wrong, fmt.Sprintf("%s: the check %s has not found it", bug, name))
			}
		}
		if bug == forge.None && len(got) > 0 {
			wrong = append(wrong, fmt.Sprintf("nothing is wrong, and this was found: %v", got))
		}
	}
	return wrong, found
}

func TestBugsAreFound(t *testing.T) {
	if testing.Short() {
		t.Skip("a long search in one goroutine")
	}
	wrong, found := suite(6)
	for _, text := range wrong {
		t.Error(text)
	}
	for _, bug := range slices.Sorted(maps.Keys(found)) {
		t.Logf("%-26s %v", bug, found[bug])
	}
}

// TestNemesisThatDoesNothing is the fourth way to weaken the harness.
func TestNemesisThatDoesNothing(t *testing.T) {
	v := judge(forge.Make(forge.Options{Seed: 1, Quiet: true}), quick)
	if c := v.Check("guards"); c.Outcome != verdict.Rejected || v.Exit != verdict.ExitRejected {
		t.Errorf("a run without faults is %s:\n%s", v.Outcome, text(v))
	}
}
