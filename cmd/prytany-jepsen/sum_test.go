package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/ledger"
	"github.com/prytany/prytany/jepsen/campaign"
	"github.com/prytany/prytany/jepsen/verdict"
)

// TestCopiesAreNotedOnce notes a run, and then all there is, a copy of it first.
func TestCopiesAreNotedOnce(t *testing.T) {
	top, into := t.TempDir(), filepath.Join(t.TempDir(), "rows")
	r := campaign.Row{Name: "r", Seed: 7, Started: time.Unix(100, 0), Outcome: verdict.Passed, Faults: map[string]int{}, Calls: map[string]int64{}}
	for _, d := range []string{"a", "b"} {
		dir := filepath.Join(top, d)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := r.Save(dir); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{filepath.Join(top, "b"), top, filepath.Join(top, "a")} {
		if _, err := addUp(t.TempDir(), into, "x", []string{dir}); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(into)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := ledger.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	if sums := ledger.Sums(rows); len(sums) != 1 || sums[0].Runs != 1 {
		t.Errorf("%+v; want one run", sums)
	}
}

// TestControlsFailOnce counts a control that lost nothing, and has failed for it.
func TestControlsFailOnce(t *testing.T) {
	rows := []campaign.Row{{Seed: 1}}
	s := campaign.Sum{Runs: 1, Controls: 1, Outcomes: map[verdict.Outcome]int{verdict.Failed: 1}}
	if r := noted("x", rows, s); r.Failed != 1 {
		t.Errorf("%d failed of one", r.Failed)
	}
}
