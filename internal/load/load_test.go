package load

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// runPlan carries out p on the clock of a bubble.
func runPlan(t *testing.T, p Plan) Result {
	t.Helper()
	res, err := Run(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestClosedLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		res := runPlan(t, Plan{
			Workers: 4, Warmup: time.Second, Duration: 10 * time.Second, Kinds: []string{"a", "b"},
			Do: func(_ context.Context, worker, n int) (int, error) {
				calls.Add(1)
				time.Sleep(10 * time.Millisecond)
				return worker % 2, nil
			},
		})
		// 4 workers, 100 operations a second each, of which those of the first second do
		// not count.
		if res.Elapsed != 10*time.Second || res.Kinds[0].Done != 2000 || res.Kinds[1].Done != 2000 || calls.Load() != 4400 {
			t.Errorf("%v: %d and %d of %d calls", res.Elapsed, res.Kinds[0].Done, res.Kinds[1].Done, calls.Load())
		}
		if got := Quantile(res.Kinds[0].Latency, 99); got.Round(time.Millisecond) != 10*time.Millisecond {
			t.Errorf("99 %% within %v", got)
		}
		if r := res.Rate(res.Kinds[1]); r != 200 {
			t.Errorf("rate %v", r)
		}
	})
}

// A service that stands still for a second makes late all that was due in it, not
// only what was under way.
func TestOpenLoopCountsFromWhenDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stall := time.Now().Add(5 * time.Second)
		res := runPlan(t, Plan{
			Workers: 2, Rate: 100, Duration: 10 * time.Second, Kinds: []string{"a"},
			Do: func(context.Context, int, int) (int, error) {
				if now := time.Now(); !now.Before(stall) && now.Before(stall.Add(time.Second)) {
					time.Sleep(stall.Add(time.Second).Sub(now))
				}
				time.Sleep(time.Millisecond)
				return 0, nil
			},
		})
		k := res.Kinds[0]
		if k.Done != 1000 || res.Late != 0 {
			t.Fatalf("%d done, %d late", k.Done, res.Late)
		}
		// 100 of 1,000 were due while it stood still: the slowest tenth waited for a
		// second, half a second in the middle of it. Of those sent only two were slow.
		if p := Quantile(k.Latency, 95); p < 400*time.Millisecond || p > 600*time.Millisecond {
			t.Errorf("95 %% within %v of when they were due", p)
		}
		if p := Quantile(k.Service, 99); p.Round(time.Millisecond) != time.Millisecond {
			t.Errorf("99 %% within %v of when they were sent", p)
		}
	})
}

// What is due and cannot be sent is told, and what the warm-up did not get done
// does not count.
func TestOpenLoopTooFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		res := runPlan(t, Plan{
			Workers: 1, Rate: 100, Warmup: 5 * time.Second, Duration: 10 * time.Second, Kinds: []string{"a"},
			Do: func(context.Context, int, int) (int, error) {
				time.Sleep(100 * time.Millisecond)
				return 0, nil
			},
		})
		k := res.Kinds[0]
		if k.Done < 99 || k.Done > 101 || k.Done+res.Late != 1000 {
			t.Errorf("%d done, %d late; want 100 and 900", k.Done, res.Late)
		}
		if p := Quantile(k.Latency, 100); p < 8*time.Second || p > 10*time.Second {
			t.Errorf("the slowest took %v", p)
		}
	})
}

func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost, refused := errors.New("lost"), errors.New("refused")
		res := runPlan(t, Plan{
			Workers: 1, Duration: time.Second, Kinds: []string{"a"},
			Unclear: func(err error) bool { return errors.Is(err, lost) },
			Do: func(_ context.Context, _, n int) (int, error) {
				time.Sleep(10 * time.Millisecond)
				return 0, []error{nil, refused, lost, nil}[n%4]
			},
		})
		k := res.Kinds[0]
		if k.Done != 50 || k.Failed != 50 || k.Unclear != 25 || !errors.Is(k.First, refused) || k.Latency.TotalCount() != 50 {
			t.Errorf("%+v", k)
		}
	})
}

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []Progress
		runPlan(t, Plan{
			Workers: 1, Warmup: 2 * time.Second, Duration: 3500 * time.Millisecond, Kinds: []string{"a"},
			Do:       func(context.Context, int, int) (int, error) { time.Sleep(100 * time.Millisecond); return 0, nil },
			Progress: func(p Progress) { got = append(got, p) },
		})
		if len(got) != 5 || got[0].Warm || !got[3].Warm || got[4].Rate < 9 || got[4].Rate > 11 {
			t.Errorf("%+v", got)
		}
	})
}

// Whoever is interrupted gets what there was until then.
func TestInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		res, err := Run(ctx, Plan{
			Workers: 1, Duration: time.Hour, Kinds: []string{"a"},
			Do: func(ctx context.Context, _, _ int) (int, error) {
				select {
				case <-ctx.Done():
					return 0, ctx.Err()
				case <-time.After(150 * time.Millisecond):
					return 0, nil
				}
			},
		})
		if k := res.Kinds[0]; err != nil || k.Done != 13 || k.Failed != 0 || res.Elapsed > 2*time.Second {
			t.Errorf("%v after %v: %+v", err, res.Elapsed, k)
		}
	})
}

func TestNonsense(t *testing.T) {
	do := func(context.Context, int, int) (int, error) { return 0, nil }
	for _, p := range []Plan{
		{Workers: 0, Duration: 1, Kinds: []string{"a"}, Do: do},
		{Workers: 1, Duration: 0, Kinds: []string{"a"}, Do: do},
		{Workers: 1, Duration: 1, Kinds: []string{"a"}, Do: do, Rate: -1},
		{Workers: 1, Duration: 1, Kinds: []string{"a"}, Do: do, Warmup: -1},
		{Workers: 1, Duration: 1, Do: do},
		{Workers: 1, Duration: 1, Kinds: []string{"a"}},
	} {
		if _, err := Run(t.Context(), p); err == nil {
			t.Errorf("%+v: no error", p)
		}
	}
}
