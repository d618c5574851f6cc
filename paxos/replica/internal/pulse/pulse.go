// Package pulse judges by a loop's own times how well its node is.
package pulse

import "time"

const (
	slowSave  = 500 * time.Millisecond // a write this slow makes the disk unwell
	slowFor   = 2 * time.Second        // and it stays so
	lateAfter = 3                      // late wakes in a row that make the loop unwell
)

// A Pulse is what is remembered of a loop. The zero Pulse is well.
type Pulse struct {
	slowUntil time.Duration // the disk was slow lately
	late      int           // times in a row that the timer fired late
}

// Woken takes note of how late the timer fired. A processor that is shared makes it late
// now and then, and that is no reason to give up a lead: only a loop that is late by half
// of what its peers call silence, time after time, is about to be called so.
func (p *Pulse) Woken(late, silence time.Duration) {
	if late > silence/2 {
		p.late++
	} else {
		p.late = 0
	}
}

// Saved takes note of a durable write.
func (p *Pulse) Saved(begin, end time.Duration) {
	if end-begin > slowSave {
		p.slowUntil = end + slowFor
	}
}

// Disk reports whether the disk is well, as far as can be seen here.
func (p *Pulse) Disk(now time.Duration) bool { return now >= p.slowUntil }

// Loop reports whether the loop is.
func (p *Pulse) Loop() bool { return p.late < lateAfter }
