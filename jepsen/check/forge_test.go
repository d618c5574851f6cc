package check

import (
	"bytes"
	"testing"

	"github.com/prytany/prytany/jepsen/decided"
	"github.com/prytany/prytany/jepsen/forge"
	"github.com/prytany/prytany/jepsen/ops"
	"github.com/prytany/prytany/jepsen/verdict"
)

// judge checks a forged run.
func judge(r forge.Run, o Options) *verdict.Verdict {
	return Run(ops.Pair(r.Plan, r.Events), decided.Merge(r.Nodes), o)
}

func text(v *verdict.Verdict) string {
	var b bytes.Buffer
	_ = v.Text(&b)
	return b.String()
}

// TestNoFalseAlarms checks runs of a correct service.
func TestNoFalseAlarms(t *testing.T) {
	seeds := uint64(200)
	if testing.Short() {
		seeds = 20
	}
	sum := map[string]int64{}
	for seed := range seeds {
		v := judge(forge.Make(forge.Options{Seed: seed}), quick)
		for _, c := range v.Checks {
			for what, n := range c.Counts {
				sum[c.Name+" "+what] += n
			}
			if c.Outcome != verdict.Passed && c.Outcome != verdict.None {
				t.Fatalf("seed %d:\n%s", seed, text(v))
			}
		}
	}
	t.Log(sum)
}
