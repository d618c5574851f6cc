package main

import "math"

// A point is a figure at a time, beside what is known to have a part in it.
type point struct {
	at    float64   // hours
	value float64   // bytes
	rows  []float64 // of bounded tables, in the same order in all points
}

// A trend is how a figure grows.
type trend struct {
	slope float64 // bytes an hour
	error float64 // standard error of it
	mean  float64 // bytes
	n     int
}

const (
	fewest = 30   // points that a trend needs
	apart  = 0.05 // of time, which must not go along with a table: where one fills up all the while, nothing can be told
)

// fit finds by least squares how the value grows with time by itself: beside what tables
// with a bound explain, which fill up for longer than a short run lasts. What these and
// time explain equally well makes the error large, as it should. So does it when
// neighbours are alike: they tell less than their number says.
func fit(points []point) (t trend, ok bool) {
	n := len(points)
	if n < fewest {
		return t, false
	}
	at, value := make([]float64, n), make([]float64, n)
	for i, p := range points {
		at[i], value[i] = p.at, p.value
		t.mean += p.value / float64(n)
	}
	centre(at)
	centre(value)
	var basis [][]float64
	for k := range points[0].rows {
		x := make([]float64, n)
		for i, p := range points {
			x[i] = p.rows[k]
		}
		centre(x)
		before := dot(x, x)
		for _, b := range basis {
			subtract(x, b)
		}
		// A table that did not change, or only with another, tells nothing more.
		if left := dot(x, x); left > 1e-3*before && left > 0 {
			basis = append(basis, x)
		}
	}
	whole := dot(at, at)
	for _, b := range basis {
		subtract(at, b)
		subtract(value, b)
	}
	free, own := float64(n-2-len(basis)), dot(at, at)
	if free < 3 || own <= apart*whole {
		return t, false
	}
	t.slope, t.n = dot(at, value)/own, n
	for i := range value {
		value[i] -= t.slope * at[i]
	}
	rest := dot(value, value)
	t.error = math.Sqrt(rest / free / own)
	if rest > 0 {
		alike := 0.0
		for i := 1; i < n; i++ {
			alike += value[i] * value[i-1]
		}
		alike = min(max(alike/rest, 0), 0.9)
		t.error *= math.Sqrt((1 + alike) / (1 - alike))
	}
	return t, true
}

// centre takes the mean from x.
func centre(x []float64) {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	for i := range x {
		x[i] -= sum / float64(len(x))
	}
}

func dot(a, b []float64) (sum float64) {
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}

// subtract takes from x what goes along with b.
func subtract(x, b []float64) {
	f := dot(x, b) / dot(b, b)
	for i := range x {
		x[i] -= f * b[i]
	}
}
