// Package dice is what the parts of a simulation share to make chance and time
// of: choices, delays, and clocks that go their own way.
package dice

import (
	"math/rand/v2"
	"time"
)

// Pick returns one of the choices.
func Pick[T any](r *rand.Rand, choices ...T) T { return choices[r.IntN(len(choices))] }

// Chance reports true with probability p.
func Chance(r *rand.Rand, p float64) bool { return r.Float64() < p }

// A Delay is a distribution of one-way times: uniform between Min and Max,
// and with probability Tail an exponential around Mean on top.
type Delay struct {
	Min, Max time.Duration
	Tail     float64
	Mean     time.Duration
}

// Sample returns one of them.
func (d Delay) Sample(r *rand.Rand) time.Duration {
	t := d.Min
	if d.Max > d.Min {
		t += time.Duration(r.Int64N(int64(d.Max - d.Min)))
	}
	if d.Tail > 0 && r.Float64() < d.Tail {
		t += time.Duration(r.ExpFloat64() * float64(d.Mean))
	}
	return t
}

// A Pace is how the clock of a process goes.
type Pace struct {
	Offset time.Duration
	Drift  int64 // parts per million
}

// Clock returns the reading of the clock at t.
func (p Pace) Clock(t time.Duration) time.Duration {
	return p.Offset + t + time.Duration(int64(t)*p.Drift/1e6)
}

// When returns the first time at which the clock shows c at least.
func (p Pace) When(c time.Duration) time.Duration {
	gone := int64(c - p.Offset) // not times a million: that is too much after hours
	t := time.Duration(gone-gone*p.Drift/(1e6+p.Drift)) - 3
	for p.Clock(t) < c {
		t++
	}
	return t
}
