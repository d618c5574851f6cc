package alarm

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestClock compares a clock with a list in which the next one is looked for.
func TestClock(t *testing.T) {
	const n = 20
	r := rand.New(rand.NewPCG(1, 2))
	var c Clock[int]
	alarms := make([]Alarm[int], n)
	want := make([]time.Duration, n)
	for i := range alarms {
		alarms[i] = Alarm[int]{ID: uint64(i), Wakes: i}
	}
	for now := time.Duration(0); now < 1000; now++ {
		for range r.IntN(4) {
			i, at := r.IntN(n), time.Duration(0)
			if r.IntN(4) > 0 {
				at = now + time.Duration(r.IntN(30))
			}
			c.Set(&alarms[i], at)
			want[i] = at
		}
		var due []int
		for i, at := range want {
			if at != 0 && at <= now {
				due = append(due, i)
			}
		}
		slices.SortStableFunc(due, func(a, b int) int { return int(want[a] - want[b]) })
		for _, i := range due {
			want[i] = 0
		}
		var got []int
		for i, ok := c.Due(now); ok; i, ok = c.Due(now) {
			got = append(got, i)
		}
		if !slices.Equal(got, due) {
			t.Fatalf("at %d woken: %v; want %v", now, got, due)
		}
	}
}
