package sim

import (
	"errors"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/sim/dice"
	"github.com/prytany/prytany/internal/sim/effect"
	"github.com/prytany/prytany/internal/sim/plan"
	"github.com/prytany/prytany/internal/sim/work"
	"github.com/prytany/prytany/locks"
)

// busyWork returns the run of a seed with many workers who often stand still,
// and whose messages are slow.
func busyWork(seed uint64) Options {
	o := Swarm(seed)
	o.Mode, o.Clients = plan.Safety, 2
	o.Faults = append(o.Faults, plan.ClientPause, plan.ClientPause, plan.ClientPause, plan.ClientCrash)
	o.FaultEvery = 200 * time.Millisecond
	o.FaultLast = 300 * time.Millisecond
	o.Chaos = 15 * time.Second
	o.Work = work.Plan{
		Workers: 5, TTL: time.Second, Waiting: true, Hold: seed%2 == 0,
		Think: dice.Delay{Max: 20 * time.Millisecond},
		Delay: dice.Delay{Min: 100 * time.Microsecond, Max: 2 * time.Millisecond, Tail: 0.1, Mean: 300 * time.Millisecond},
		Reach: dice.Delay{Min: 100 * time.Microsecond, Max: 2 * time.Millisecond, Tail: 0.05, Mean: time.Second},
	}
	return o
}

// TestFencesAreNeeded shows that the workers are a test: whoever does not look
// at fences loses updates, though no two beliefs overlap; whoever does loses none.
func TestFencesAreNeeded(t *testing.T) {
	var sum effect.Counts
	needed := func() bool { return sum.Lost > 0 && sum.Meeting > 0 }
	tested := func() bool { return sum.Outside > 0 && sum.Late > 0 && sum.Refused > 0 && sum.Expired > 0 }
	for seed := uint64(1); seed <= 40 && !(needed() && tested()); seed++ {
		r, err := Run(busyWork(seed))
		if err != nil {
			t.Fatal(err)
		}
		sum.Add(&r.Stats.Work)
	}
	t.Logf("%+v", sum)
	if !needed() {
		t.Errorf("without fences %d updates are lost, and %d came while somebody else believed that he holds the lock; want some", sum.Lost, sum.Meeting)
	}
	if !tested() {
		t.Errorf("the workers were not put to the test: %+v", sum)
	}
}

// roundedFences grants locks of workers with fences that rise only now and then.
// Whoever gives a lock back is taken to mean the grant that he has.
func roundedFences(f *forger, c locks.Command) (locks.Command, forgery) {
	switch c := c.(type) {
	case *locks.AcquireCommand:
		if c.Lock == "work-lock" || c.Lock == "work-seat" {
			return c, func(r locks.Result) locks.Result {
				r.Fence &^= 1023
				return r
			}
		}
	case *locks.ReleaseCommand:
		for _, h := range lockOf(f.Machine, c.Lock).Holders {
			if h.Session == c.Session {
				other := *c
				other.Fence = h.Fence
				return &other, nil
			}
		}
	}
	return nil, nil
}

// workMutants are known-bad variants that must be noticed by what they break, and
// nothing else.
var workMutants = []struct {
	name      string
	invariant string
	seeds     uint64
	hooks     func() plan.Hooks
	plan      func(*work.Plan)
}{
	{"a lease is counted from the receipt of the answer", "L5", 30, func() plan.Hooks { return plan.Hooks{Work: work.Hooks{Receipt: true}} }, nil},
	{"clocks run slower than they may", "L5", 30, func() plan.Hooks { return plan.Hooks{Work: work.Hooks{Drift: -200_000}} }, nil},
	{"a resource takes low fences", "L3", 30, func() plan.Hooks {
		return plan.Hooks{Work: work.Hooks{Accept: func(_, _ uint64) bool { return true }}}
	}, nil},
	{"a resource takes only what is higher by two", "L3", 5, func() plan.Hooks {
		return plan.Hooks{Work: work.Hooks{Accept: func(fence, highest uint64) bool { return fence >= highest+2 }}}
	}, nil},
	{"only updates show their fence", "L3", 60, func() plan.Hooks { return plan.Hooks{Work: work.Hooks{Fencing: effect.WritesOnly}} }, func(p *work.Plan) {
		p.Reach.Tail, p.Think.Max = 0.3, 100*time.Millisecond
	}},
	{"fences do not rise", "L3", 10, func() plan.Hooks {
		h := forges(roundedFences)()
		h.Trust = true
		return h
	}, func(p *work.Plan) { p.Waiting = false }},
}

func TestWorkMutantsAreCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("a long search in one goroutine")
	}
	for _, m := range workMutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			for seed := uint64(1); seed <= m.seeds; seed++ {
				o := busyWork(seed)
				o.Hooks = m.hooks()
				if m.plan != nil {
					m.plan(&o.Work)
				}
				_, err := Run(o)
				var f *Failure
				if !errors.As(err, &f) {
					continue
				}
				if f.Invariant != m.invariant {
					t.Fatalf("seed %d: %s is broken, want %s: %v", seed, f.Invariant, m.invariant, err)
				}
				t.Logf("seed %d: %s after %v: %.200s", seed, f.Invariant, f.At, f.Detail)
				return
			}
			t.Errorf("not caught in %d seeds", m.seeds)
		})
	}
}
