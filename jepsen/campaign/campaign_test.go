package campaign

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/verdict"
)

// ran is the verdict of a run of a seed, in which checks had outcomes.
func ran(seed uint64, outcomes ...verdict.Outcome) *verdict.Verdict {
	v := &verdict.Verdict{
		Run:    history.Run{Name: "run", Seed: seed, Started: time.Unix(int64(seed), 0).UTC(), Workload: "lock,register", Binary: "v1"},
		Counts: map[string]int64{"calls": 100, "ok": 90, "fail": 8, "info": 2, "watched": 7},
	}
	for i, o := range outcomes {
		c := verdict.New(string(rune('a'+i)), "")
		c.Outcome, c.Counts["partitions"] = o, 5
		v.Checks = append(v.Checks, c)
	}
	v.Close()
	return v
}

func TestSum(t *testing.T) {
	dir := t.TempDir()
	save := func(name string, r Row) {
		t.Helper()
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(at, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := r.Save(at); err != nil {
			t.Fatal(err)
		}
	}
	good := NewRow(ran(1, verdict.Passed, verdict.None), map[string]int{"kill": 2, "loss": 1}, time.Second)
	save("one/run-1", good)
	save("copy/of/run-1", good) // counts once
	save("one/run-2", NewRow(ran(2, verdict.Failed, verdict.Undecided), map[string]int{"kill": 1}, time.Second))
	save("two/run-3", NewRow(ran(3, verdict.Undecided, verdict.Passed), nil, time.Second))
	save("two/run-4", Unmade("run-4", 4, "v1", []string{"lock"}, errors.New("no nodes")))
	rows, err := Find(filepath.Join(dir, "one"), dir)
	if err != nil {
		t.Fatal(err)
	}
	s := Add(rows, []string{"kill", "loss", "flood"})
	for _, tt := range []struct{ what, got, want any }{
		{"runs", s.Runs, 4},
		{"outcomes", s.Outcomes, map[verdict.Outcome]int{verdict.Passed: 1, verdict.Failed: 1, verdict.Undecided: 1, verdict.Rejected: 1}},
		{"faults", s.Faults, map[string]int{"kill": 3, "loss": 1}},
		{"with", s.With, map[string]int{"kill": 2, "loss": 1, "kill loss": 1}},
		{"missed", s.Missed, []string{"flood"}},
		{"calls", s.Calls, map[string]int64{"calls": 300, "ok": 270, "fail": 24, "info": 6}},
		{"failed", s.Failed, map[string]int{"a": 1}},
		{"undecided", s.Undecided, map[string]int{"a": 1, "b": 1}},
		{"rejected", s.Rejected, map[string]int{"not carried out: no nodes": 1}},
		{"workloads", s.Workloads, map[string]int{"lock": 4, "register": 3}},
		{"partitions", s.Partitions, int64(30)},
		{"outcome", s.Outcome(), verdict.Failed},
	} {
		if !reflect.DeepEqual(tt.got, tt.want) {
			t.Errorf("%s: %v; want %v", tt.what, tt.got, tt.want)
		}
	}
	if look := s.Look[verdict.Failed]; !slices.Equal(look, []string{filepath.Join(dir, "one", "run-2")}) {
		t.Errorf("to look at: %v", look)
	}
	var b bytes.Buffer
	if err := s.Text(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"4 runs in 3s: pass 1 FAIL 1 undecided 1 rejected 1", "300 calls: 270 ok, 24 refused, 6 unknown (2.00 %)", "4 faults of 2 kinds; none of flood", "run-2"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, b.String())
		}
	}
}

func TestControlsMustLose(t *testing.T) {
	v := ran(1, verdict.Passed)
	v.Run.Negative = true
	if got := Add([]Row{NewRow(v, nil, 0)}, nil).Outcome(); got != verdict.Failed {
		t.Errorf("a control that lost nothing: %s", got)
	}
	v.Lost = 3
	if got := Add([]Row{NewRow(v, nil, 0)}, nil).Outcome(); got != verdict.Passed {
		t.Errorf("a control that lost updates: %s", got)
	}
}

func TestFindWantsRuns(t *testing.T) {
	dir := t.TempDir()
	if _, err := Find(dir); err == nil {
		t.Error("nothing is summed up")
	}
	if err := os.WriteFile(filepath.Join(dir, RowFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(dir); err == nil {
		t.Error("half a row is summed up")
	}
}
