//go:build linux

package run

import (
	"testing"
	"time"
)

// A machine stands still when it is not seen to move for more than a second, and while it
// does that counts already.
func TestPulse(t *testing.T) {
	const s = time.Second
	var p pulse
	if _, stood := p.beat(10 * s); stood || p.stood(10*s) != 0 {
		t.Error("it stood still before anybody looked")
	}
	if _, stood := p.beat(11 * s); stood || p.stood(11*s) != 0 {
		t.Error("a second is a standstill")
	}
	if got := p.stood(14 * s); got != 3*s {
		t.Errorf("it has stood still for %v, and not for 3s", got)
	}
	if last, stood := p.beat(15 * s); !stood || last != 11*s || p.stood(15*s) != 4*s {
		t.Errorf("it stood still, %t, from %v on, in all for %v", stood, last, p.stood(15*s))
	}
	if got := p.stood(17 * s); got != 6*s {
		t.Errorf("it has stood still twice, and for %v", got)
	}
}
