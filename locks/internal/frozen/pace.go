package frozen

import (
	"runtime"
	"time"
)

// A Pace is that of an encoder which nobody waits for. Other goroutines run after
// 64 KiB at the latest, and after every MiB the processor is left alone for twice as
// long as that took: the nodes of a group take their snapshots at about the same time,
// and may share processors. The zero Pace is at the beginning.
type Pace struct {
	rests int
	since time.Time
}

// maxPause bounds one pause, in case the encoder had to wait itself.
const maxPause = 10 * time.Millisecond

// Rest is to be called after every 64 KiB.
func (p *Pace) Rest() {
	if p.rests++; p.rests%16 != 0 {
		runtime.Gosched()
		return
	}
	if !p.since.IsZero() {
		time.Sleep(min(2*time.Since(p.since), maxPause))
	}
	p.since = time.Now()
}
