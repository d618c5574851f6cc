package pulse

import (
	"testing"
	"time"
)

func TestPulse(t *testing.T) {
	var p Pulse
	if !p.Disk(0) || !p.Loop() {
		t.Error("the zero Pulse is unwell")
	}
	p.Saved(time.Second, time.Second+slowSave)
	if !p.Disk(2 * time.Second) {
		t.Error("unwell after a write that was fast enough")
	}
	p.Saved(time.Second, 2*time.Second)
	if p.Disk(4*time.Second-1) || !p.Disk(4*time.Second) {
		t.Error("a slow write makes the disk unwell for 2 s after its end; want so")
	}
	for i, late := range []time.Duration{60, 60, 40, 60, 60, 60} {
		if p.Woken(late, 100); p.Loop() != (i < 5) {
			t.Errorf("wake %d: the loop is well: %t", i, p.Loop())
		}
	}
}
