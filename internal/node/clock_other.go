//go:build !linux

package node

import "time"

// processStart is what now counts from.
var processStart = time.Now()

// now reads a monotonic clock.
func now() time.Duration { return time.Since(processStart) }
