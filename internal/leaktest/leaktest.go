// Package leaktest fails tests that leave goroutines behind. It looks as goleak does, for
// longer: a goroutine that is about to end may get no processor for a while.
package leaktest

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long goroutines may take to end.
const patience = time.Minute

// Main is the TestMain of a package: it runs the tests, and fails if goroutines outlive
// them that options do not excuse.
func Main(m *testing.M, options ...goleak.Option) {
	code := m.Run()
	if code == 0 {
		if err := find(patience, options...); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// None fails t if there are goroutines that options do not excuse.
func None(t testing.TB, options ...goleak.Option) {
	t.Helper()
	if err := find(patience, options...); err != nil {
		t.Error(err)
	}
}

// find waits until no such goroutine is left; its error lists those that are after
// patience.
func find(patience time.Duration, options ...goleak.Option) error {
	for end := time.Now().Add(patience); ; {
		err := goleak.Find(options...) // takes a while itself
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}
