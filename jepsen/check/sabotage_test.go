//go:build sabotage

package check

import (
	"slices"
	"testing"

	"github.com/prytany/prytany/jepsen/internal/sabotage"
)

// TestSabotageIsNoticed weakens the checkers and requires that their tests fail. What is
// not found in these few runs without that does not count.
func TestSabotageIsNoticed(t *testing.T) {
	defer func(o Options) { sabotage.Way, quick = "", o }(quick)
	quick.Steps = 5000 // without time nothing is decided quickly
	missed, _ := suite(2)
	for _, way := range []string{sabotage.AcceptAll, sabotage.DropUnknown, sabotage.IgnoreTime} {
		sabotage.Way = way
		wrong, _ := suite(2)
		wrong = slices.DeleteFunc(wrong, func(text string) bool { return slices.Contains(missed, text) })
		if len(wrong) == 0 {
			t.Errorf("%s, and no test notices", way)
		}
		for _, text := range wrong {
			t.Logf("%s: %s", way, text)
		}
	}
}
