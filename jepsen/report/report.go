// Package report makes one HTML file of a verdict and the history that it is about:
// no script, no style and no picture comes from anywhere else, so that it can be
// mailed, kept, and opened in ten years.
//
// It says in a sentence what the verdict is; what failed, each with the calls that show
// it, close up; the run on one axis of time: a lane for each node with the calls that it
// was asked, bars for faults, a lane for each lock with who held it and who believed to;
// latencies and rates; all checks; and the calls around whatever failed. Everything that
// comes from a history is escaped.
package report

import (
	"cmp"
	"fmt"
	"html/template"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prytany/prytany/jepsen/decided"
	"github.com/prytany/prytany/jepsen/ops"
	"github.com/prytany/prytany/jepsen/verdict"
)

// around is how many calls before and after an offending one are listed.
const around = 12

// A page is what the template gets.
type page struct {
	V       *verdict.Verdict
	Says    string          // the verdict in a sentence
	Failed  []failure       // of V's checks
	Others  []verdict.Check // that have something to say, but have not failed
	Good    []verdict.Check // all the rest
	Summary []pair
	Drawing template.HTML
	Plots   template.HTML
	Around  []excerpt
	Notes   []pair
	Log     string
}

// A failure is a check that failed, with its first breach close up.
type failure struct {
	*verdict.Check
	Text  string
	Close template.HTML
}

type pair struct{ Name, Value string }

// An excerpt is the calls around one that offends.
type excerpt struct {
	Check string
	Text  string
	Rows  []row
}

type row struct {
	O    *ops.Op
	Text string
	Bad  bool
}

// Write writes the report. log may be nil.
func Write(w io.Writer, v *verdict.Verdict, h *ops.History, log *decided.Log) error {
	p := page{V: v, Says: says(v), Drawing: timeline(h, offending(v)), Plots: plots(h)}
	for _, c := range v.Checks {
		switch {
		case c.Outcome == verdict.Failed:
			text, drawing := closeup(h, c)
			p.Failed = append(p.Failed, failure{c, text, drawing})
		case c.Outcome == verdict.Rejected || c.Outcome == verdict.Undecided:
			p.Others = append(p.Others, *c)
		default:
			p.Good = append(p.Good, *c)
		}
	}
	run := h.Run
	p.Summary = []pair{
		{"run", run.Name}, {"seed", fmt.Sprint(run.Seed)}, {"workload", run.Workload}, {"nodes", strings.Join(run.Nodes, " ")},
		{"faults", spell(run.Faults)}, {"left out", spell(run.Left)}, {"version", run.Binary},
		{"started", run.Started.UTC().Format("2006-01-02 15:04:05 UTC")}, {"lasted", h.Until.Round(time.Millisecond).String()},
		{"sessions' ttl", run.TTL.String()}, {"clocks differ by", fmt.Sprintf("%g at most", run.Drift)},
	}
	for _, name := range slices.Sorted(keys(v.Counts)) {
		what := map[string]string{"fail": "refused", "info": "unknown", "ok": "answered", "watched": "watched events", "faults": "number of faults"}[name]
		p.Summary = append(p.Summary, pair{cmp.Or(what, name), fmt.Sprint(v.Counts[name])})
	}
	if run.Negative {
		p.Summary = append(p.Summary, pair{"negative control: updates lost without fences", fmt.Sprint(v.Lost)})
	}
	if log != nil {
		p.Log = fmt.Sprintf("%d slots with %d commands, decided by %v up to slot %d", len(log.Slots), len(log.Commands), log.Nodes, log.Decided)
	}
	for _, e := range h.Notes {
		p.Notes = append(p.Notes, pair{e.At.Round(time.Millisecond).String(), e.Node + " " + e.Text})
	}
	p.Around = excerpts(v, h)
	if err := tmpl.Execute(w, p); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// spell writes a list, or that it is empty.
func spell(list []string) string { return cmp.Or(strings.Join(list, ", "), "none") }

// says is a verdict in a sentence, for whoever sees one for the first time.
func says(v *verdict.Verdict) string {
	n := map[verdict.Outcome]int{}
	for _, c := range v.Checks {
		n[c.Outcome]++
	}
	text := map[verdict.Outcome]string{
		verdict.Failed:    "Something happened that may not: %d of %d checks found it.",
		verdict.Rejected:  "The run cannot tell anything: %d of %d checks say why.",
		verdict.Undecided: "Nothing wrong was found, and %d of %d checks could not show that nothing is.",
		verdict.Passed:    "What clients were told is as it must be: %d of %d checks looked and found nothing.",
	}[v.Outcome]
	if text = fmt.Sprintf(text, n[v.Outcome], len(v.Checks)); v.Outcome != verdict.Rejected && n[verdict.None] > 0 {
		text += fmt.Sprintf(" %d had nothing to look at.", n[verdict.None])
	}
	return text
}

// Save writes the report as path, and what belongs to it beside that.
func Save(path string, v *verdict.Verdict, h *ops.History, log *decided.Log) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := Write(f, v, h, log); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	for _, b := range v.Beside {
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), b.Name), b.Data, 0o600); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	return nil
}

// offending returns the lines that some check names.
func offending(v *verdict.Verdict) map[uint64]bool {
	out := map[uint64]bool{}
	for _, c := range v.Checks {
		for _, o := range c.Offenders {
			for _, line := range o.Lines {
				out[line] = true
			}
		}
	}
	return out
}

// excerpts lists the calls around the first breach of each check.
func excerpts(v *verdict.Verdict, h *ops.History) (out []excerpt) {
	for _, c := range v.Checks {
		for _, o := range c.Offenders[:min(1, len(c.Offenders))] {
			x := excerpt{Check: c.Name, Text: o.Text}
			last := -1
			for _, line := range slices.Sorted(slices.Values(o.Lines)) {
				at, found := slices.BinarySearchFunc(h.Ops, line, func(op *ops.Op, n uint64) int { return int(op.Seq) - int(n) })
				if !found && at == len(h.Ops) {
					continue
				}
				for i := max(at-around, last+1, 0); i < min(at+around+1, len(h.Ops)); i++ {
					op := h.Ops[i]
					x.Rows = append(x.Rows, row{op, op.String(), slices.Contains(o.Lines, op.Seq)})
					last = i
				}
			}
			if len(x.Rows) > 0 {
				out = append(out, x)
			}
		}
	}
	return out
}
