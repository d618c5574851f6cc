// Package clock measures how long a lease still lasts.
package clock

import "time"

// start is when the process began to count; only differences matter.
var start = time.Now()

func sinceStart() time.Duration { return time.Since(start) }

// Margin is what the client gives away of a TTL for clocks that run at
// different rates: 2 %, at least 100 ms.
func Margin(ttl time.Duration) time.Duration { return max(ttl/50, 100*time.Millisecond) }
