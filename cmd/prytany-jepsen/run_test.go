//go:build linux

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prytany/prytany/jepsen/verdict"
	"github.com/prytany/prytany/jepsen/workload"
)

func TestFlags(t *testing.T) {
	for _, bad := range [][]string{{"extra"}, {"--nodes", "2"}, {"--nodes", "10"}, {"--runs", "0"}, {"--clients", "0"}, {"--time", "soon"}} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
	o, err := parse(nil)
	if err != nil || o.seed == 0 {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err = parse([]string{"--seed", "7", "--workload", "lock,register,lock"}); err != nil || o.seed != 7 {
		t.Errorf("%+v, %v", o, err)
	}
	if got, err := o.workloads(); err != nil || !slices.Equal(got, []string{"lock", "register"}) {
		t.Errorf("%v, %v", got, err)
	}
	o.workload = "all"
	got, err := o.workloads()
	if err != nil || len(got) != len(workload.Kinds())-1 || slices.Contains(got, "lock-unfenced") {
		t.Errorf("all: %v, %v", got, err)
	}
	o.workload = "register,none"
	if _, err := o.workloads(); err == nil {
		t.Error("a workload that does not exist passes")
	}
}

func TestNetworksMayNotBeMissingWhereTheyAreRequired(t *testing.T) {
	t.Setenv("REQUIRE_NETNS", "1")
	o, err := parse([]string{"--prytany", "/bin/true"})
	if err != nil {
		t.Fatal(err)
	}
	if base, err := prepare(o); (err == nil) != (base.Abilities.Network == "") {
		t.Errorf("networks: %q, and %v", base.Abilities.Network, err)
	}
}

func TestWhatTheNemesisSawIsPartOfTheVerdict(t *testing.T) {
	dir := t.TempDir()
	if c, err := nemesisCheck(dir); err != nil || c.Outcome != verdict.None {
		t.Errorf("without a note: %+v, %v", c, err)
	}
	for _, tt := range []struct {
		breaches []string
		want     verdict.Outcome
	}{{nil, verdict.Passed}, {[]string{"n1 goes on"}, verdict.Failed}} {
		if err := writeBreaches(dir, tt.breaches); err != nil {
			t.Fatal(err)
		}
		if c, err := nemesisCheck(dir); err != nil || c.Outcome != tt.want || c.Breaches != len(tt.breaches) {
			t.Errorf("%q: %+v, %v", tt.breaches, c, err)
		}
	}
}

// The exit code is that of the verdict, also for a history alone.
func TestCheckAgain(t *testing.T) {
	dir := t.TempDir()
	var lines []string
	for i, e := range []map[string]any{
		{"kind": "begin", "run": map[string]any{"version": 1, "name": "x", "nodes": []string{"n1"}}},
		{"t": 1, "kind": "invoke", "process": 1, "op": 1, "f": "get", "key": "k"},
		{"t": 2, "kind": "ok", "process": 1, "op": 1, "f": "get", "key": "k", "result": map[string]any{"found": true, "value": "v", "revision": 9}, "slot": 3, "revision": 9},
		{"t": 3, "kind": "end"},
	} {
		e["seq"] = i + 1
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(text))
	}
	file := filepath.Join(dir, historyFile)
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, file} {
		code, err := checkAgain([]string{path})
		if err != nil || code != verdict.ExitFailed {
			t.Errorf("a value that nobody wrote: exit code %d, %v", code, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, reportFile)); err != nil {
		t.Error(err)
	}
	if _, err := checkAgain([]string{filepath.Join(dir, "none")}); err == nil {
		t.Error("a run that is not there is checked")
	}
	if _, err := checkAgain(nil); err == nil {
		t.Error("nothing is checked")
	}
}
