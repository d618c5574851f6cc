//go:build !sabotage

// Package sabotage weakens the checkers on demand, so that a test can show that their
// own tests notice. Without the build tag sabotage nothing is ever weakened, and the
// compiler leaves out what would be.
package sabotage

// The ways to weaken a checker.
const (
	AcceptAll   = "the models accept everything"
	DropUnknown = "calls of which nobody knows are dropped"
	IgnoreTime  = "real time is ignored"
)

// On reports whether the checkers are weakened that way.
func On(string) bool { return false }
