//go:build sabotage

package check

import (
	"testing"
	"time"

	"github.com/prytany/prytany/jepsen/internal/sabotage"
)

// TestSabotageIsNoticed weakens the checkers and requires that their tests fail.
func TestSabotageIsNoticed(t *testing.T) {
	defer func(o Options) { sabotage.Way, quick = "", o }(quick)
	quick.Patience = 20 * time.Millisecond // without time nothing is decided quickly
	for _, way := range []string{sabotage.AcceptAll, sabotage.DropUnknown, sabotage.IgnoreTime} {
		sabotage.Way = way
		wrong, _ := suite(2)
		if len(wrong) == 0 {
			t.Errorf("%s, and no test notices", way)
		}
		for _, text := range wrong {
			t.Logf("%s: %s", way, text)
		}
	}
}
