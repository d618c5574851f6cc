package history

import "strings"

// The name of a fault begins with its kind, such as in pause-leader or clock-rate.
// Two kinds matter to what may be asked of a run.

// MachinePause is the fault of the machine itself: for a while neither its disk nor its
// processors did what they were asked, as the runner saw by its own. Nobody planned it.
const MachinePause = "pause-machine"

// IsPause reports whether a fault of that name stops processes for a while, clients
// among them: between a look at a lease and what is done because of it any time may
// pass then.
func IsPause(name string) bool { return strings.HasPrefix(name, "pause") }

// IsWild reports whether a fault of that name makes clocks jump, or run at another
// rate than is promised: what rests on leases is not promised then.
func IsWild(name string) bool { return strings.HasPrefix(name, "clock") }
