// Package invariant states facts that only a bug can break.
package invariant

import "fmt"

// Check panics if ok is false. It is for states that no message, disk or user
// can produce; anything they can produce is an error or a reply instead.
func Check(ok bool, format string, args ...any) {
	if !ok {
		panic("invariant violated: " + fmt.Sprintf(format, args...))
	}
}
