package sim

import "github.com/prytany/prytany/internal/sim/plan"

// Options describe one run completely: see [plan.Options].
type Options = plan.Options

// Swarm returns the run of a seed: see [plan.Swarm].
func Swarm(seed uint64) Options { return plan.Swarm(seed) }
