//go:build !linux

package node

import "time"

// processStart is what machineTime counts from.
var processStart = time.Now()

// machineTime reads a monotonic clock.
func machineTime() time.Duration { return time.Since(processStart) }
