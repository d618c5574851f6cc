//go:build !linux

package clock

import "time"

// Now returns the reading of a clock that no administrator can set. Whether it
// counts the time the machine slept depends on the system.
func Now() time.Duration { return sinceStart() }
