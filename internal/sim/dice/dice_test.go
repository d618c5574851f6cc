package dice

import (
	"testing"
	"time"
)

func TestClockMapsBack(t *testing.T) {
	for _, drift := range []int64{0, -5000, 5000, 17} {
		p := Pace{Offset: 12345 * time.Second, Drift: drift}
		for _, at := range []time.Duration{0, 1, 999999, 7*time.Second + 3, time.Hour, 100 * time.Hour} {
			c := p.Clock(at)
			if got := p.When(c); got > at || p.Clock(got) < c {
				t.Errorf("drift %d: the clock shows %v at %v, but When says %v", drift, c, at, got)
			}
		}
	}
}
