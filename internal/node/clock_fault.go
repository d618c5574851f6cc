//go:build clockfault && linux

package node

import (
	"os"
	"time"

	"github.com/prytany/prytany/internal/fault/clockfile"
)

// broken is the file that says how the clock of this process runs, nil without one.
// It is part of builds for tests alone.
var broken = func() *clockfile.File {
	path := os.Getenv(clockfile.Variable)
	if path == "" {
		return nil
	}
	f, err := clockfile.Open(path)
	if err != nil {
		panic(err) // a test that asks for a broken clock must not run with a good one
	}
	return f
}()

// now is the clock of everything that a node decides by.
func now() time.Duration {
	if broken == nil {
		return machineTime()
	}
	return broken.Now(machineTime())
}
