package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/jepsen/check"
	"github.com/prytany/prytany/jepsen/decided"
	"github.com/prytany/prytany/jepsen/forge"
	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/ops"
	"github.com/prytany/prytany/jepsen/verdict"
)

// evil is what a report must not take at its word.
const evil = `<script>alert("1")</script>' onload='x' --> ]]> & \x01`

// render makes a run, judges it, and returns its report and what is beside it.
func render(t *testing.T, o forge.Options, change func(*forge.Run)) (string, *verdict.Verdict) {
	t.Helper()
	r := forge.Make(o)
	change(&r)
	h, log := ops.Pair(r.Plan, r.Events), decided.Merge(r.Nodes)
	v := check.Run(h, log, check.Options{Patience: time.Minute, Steps: 100_000, Failover: time.Second})
	path := filepath.Join(t.TempDir(), "report.html")
	if err := Save(path, v, h, log); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range v.Beside {
		if got, err := os.ReadFile(filepath.Join(filepath.Dir(path), f.Name)); err != nil || !bytes.Equal(got, f.Data) {
			t.Errorf("%s beside the report: %v", f.Name, err)
		}
	}
	return string(b), v
}

// wellFormed reads html to its end as XML, and returns how often each element is there.
func wellFormed(t *testing.T, html string) map[string]int {
	t.Helper()
	n := map[string]int{}
	d := xml.NewDecoder(strings.NewReader(html))
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return n
		}
		if err != nil {
			line, col := d.InputPos()
			t.Fatalf("not well formed at %d:%d: %v", line, col, err)
		}
		if start, ok := tok.(xml.StartElement); ok {
			n[start.Name.Local]++
			for _, a := range start.Attr {
				if strings.HasPrefix(a.Name.Local, "on") || a.Name.Local == "src" {
					t.Errorf("<%s> has an attribute %s=%q", start.Name.Local, a.Name.Local, a.Value)
				}
			}
		}
	}
}

func TestReportOfAFailure(t *testing.T) {
	html, v := render(t, forge.Options{Seed: 1, Bug: forge.StaleRead}, func(*forge.Run) {})
	if len(v.Beside) == 0 {
		t.Fatalf("nothing is beside the report of a run that is %s", v.Outcome)
	}
	n := wellFormed(t, html)
	failed := 0 // each is shown close up
	for _, c := range v.Checks {
		if c.Outcome == verdict.Failed {
			failed++
		}
	}
	if failed == 0 || n["svg"] != 2+failed || n["path"] == 0 || n["rect"] < 500 || n["circle"] < 300 || n["polyline"] < 2 {
		t.Errorf("the drawings have %v", n)
	}
	for _, want := range []string{"linear-registers", "kill-leader", "lock-a-0", "n3", "Around what failed", "Something happened that may not", "Close up", "named by a check", v.Beside[0].Name, `class="bad"`} {
		if !strings.Contains(html, want) {
			t.Errorf("the report does not have %q", want)
		}
	}
	if n["script"] > 0 || strings.Contains(html, "http:") || strings.Contains(html, "https:") || strings.Contains(html, "url(") {
		t.Error("the report refers to something outside")
	}
}

func TestReportBelievesNothing(t *testing.T) {
	html, _ := render(t, forge.Options{Seed: 2}, func(r *forge.Run) {
		r.Plan.Name, r.Plan.Workload, r.Plan.Faults = evil, evil, []string{evil}
		for i := range r.Events {
			e := &r.Events[i]
			if e.F == history.Holder || e.F == history.Acquire || e.F == history.Belief {
				e.Key += evil
			}
			if e.Kind == history.Fault {
				e.Fault = evil
			}
			if i%7 == 0 {
				e.Node, e.Session, e.Code = evil, evil, evil
			}
		}
		r.Events = append(r.Events, history.Event{Seq: uint64(len(r.Events) + 1), Kind: history.Note, Text: evil})
	})
	if n := wellFormed(t, html); n["script"] > 0 {
		t.Error("a history has put a script into its report")
	}
}

// TestReportOfALongRun makes one of more than 5,000 calls.
func TestReportOfALongRun(t *testing.T) {
	html, v := render(t, forge.Options{Seed: 3, Time: 30 * time.Second, Clients: 8}, func(*forge.Run) {})
	n := wellFormed(t, html)
	if v.Counts["calls"] < 5000 || int64(n["rect"]) < v.Counts["calls"]/2 || len(html) > 8<<20 {
		t.Errorf("%d calls, %d bars, %d bytes", v.Counts["calls"], n["rect"], len(html))
	}
	t.Log(fmt.Sprint(v.Counts), len(html))
}
