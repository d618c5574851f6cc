//go:build !linux

package client

import "time"

// now returns the reading of a clock that no administrator can set. Whether it
// counts the time the machine slept depends on the system.
func now() time.Duration { return sinceStart() }
