//go:build sabotage

// Package sabotage weakens the checkers on demand, so that a test can show that their
// own tests notice. This is the build in which it can.
package sabotage

// The ways to weaken a checker.
const (
	AcceptAll   = "the models accept everything"
	DropUnknown = "calls of which nobody knows are dropped"
	IgnoreTime  = "real time is ignored"
)

// Way is the present one; "" for none. Tests set it.
var Way string

// On reports whether the checkers are weakened that way.
func On(way string) bool { return Way == way }
