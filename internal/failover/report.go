package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A row is one scenario in the table. Times are in milliseconds.
type row struct {
	Scenario   string   `json:"scenario"`
	What       string   `json:"what"`
	Runs       int      `json:"runs"`
	Median     float64  `json:"gap_median_ms"`
	Worst      float64  `json:"gap_worst_ms"`
	Slowest    float64  `json:"slowest_writer_ms"`
	Fewest     int      `json:"changes_min"`
	Most       int      `json:"changes_max"`
	AtVictim   failures `json:"failed_at_leader"` // the leader at the start, and whatever else was taken away
	Elsewhere  failures `json:"failed_elsewhere"`
	Note       string   `json:"note,omitempty"`
	violations int
}

// summarize makes a row of the runs of one scenario.
func summarize(s scenario, results []result) row {
	r := row{Scenario: s.name, What: s.what, Runs: len(results)}
	var gaps, steps, took []float64
	for i, res := range results {
		gaps = append(gaps, res.GapMS)
		steps = append(steps, res.StepsMS...)
		took = append(took, res.TookMS...)
		r.Slowest = max(r.Slowest, res.SlowMS)
		r.Most = max(r.Most, res.Changes)
		if i == 0 || res.Changes < r.Fewest {
			r.Fewest = res.Changes
		}
		for name, f := range res.Failed {
			if name == res.Leader || slices.Contains(res.Victims, name) {
				r.AtVictim = r.AtVictim.plus(f)
			} else {
				r.Elsewhere = r.Elsewhere.plus(f)
			}
		}
		r.violations += len(res.Unsafe)
	}
	r.Median, r.Worst = median(gaps), largest(gaps)
	if len(steps) > 0 {
		r.Note = joinNotes(r.Note, fmt.Sprintf("%d steps, median %.0f ms", len(steps), median(steps)))
	}
	if len(took) > 0 {
		r.Note = joinNotes(r.Note, fmt.Sprintf("took %.1f ms by the node's own account, at most %.1f", median(took), largest(took)))
	}
	if r.violations > 0 {
		r.Note = joinNotes(r.Note, fmt.Sprintf("UNSAFE, %d times", r.violations))
	}
	return r
}

func joinNotes(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// median is 0 of nothing; of an even number it is the mean of the two in the
// middle.
func median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func largest(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	return slices.Max(values)
}

// A bar is what a scenario must reach. Zeros and nil ask for nothing.
type bar struct {
	median, worst float64 // ms
	changes       *[2]int // at least and at most, in every run
	noFailures    bool    // at any node
}

// missed lists in which way results fall short of b.
func (b bar) missed(name string, results []result) (out []string) {
	if len(results) == 0 {
		return nil
	}
	var gaps []float64
	for _, r := range results {
		gaps = append(gaps, r.GapMS)
	}
	if m := median(gaps); b.median > 0 && m > b.median {
		out = append(out, fmt.Sprintf("%s: median gap %.0f ms; want at most %.0f", name, m, b.median))
	}
	for _, r := range results {
		if b.worst > 0 && r.GapMS > b.worst {
			out = append(out, fmt.Sprintf("%s: run %d: gap %.0f ms; want at most %.0f", name, r.Run, r.GapMS, b.worst))
		}
		if b.changes != nil && (r.Changes < b.changes[0] || r.Changes > b.changes[1]) {
			out = append(out, fmt.Sprintf("%s: run %d: %d changes of the leader; want %d", name, r.Run, r.Changes, b.changes[1]))
		}
		if n := r.failures().sum(); b.noFailures && n > 0 {
			out = append(out, fmt.Sprintf("%s: run %d: %d failed requests; want none", name, r.Run, n))
		}
	}
	return out
}

// String is as in the table: "12 (3 not applied)".
func (f failures) String() string {
	if f.sum() == 0 {
		return "0"
	}
	var parts []string
	for what, n := range maps.All(map[string]int{
		"refused": f.Refused, "no answer": f.TimedOut, "broken": f.Broken, "not applied": f.NotApplied, "unknown": f.Unknown,
	}) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// markdown is the report for people.
func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s; Linux %s, %d cores, %s; %s; timing %s; load average %s.\n\n", r.Date, r.Kernel, r.CPUs, r.Go, r.Binary, r.Timing, r.Load)
	b.WriteString("| scenario | runs | gap, median | gap, worst | slowest writer | changes | failed at the leader | failed elsewhere | note |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|\n")
	for _, x := range r.Rows {
		if x.Runs == 0 {
			fmt.Fprintf(&b, "| %s: %s | 0 | – | – | – | – | – | – | %s |\n", x.Scenario, x.What, x.Note)
			continue
		}
		changes := fmt.Sprint(x.Fewest)
		if x.Most != x.Fewest {
			changes = fmt.Sprintf("%d to %d", x.Fewest, x.Most)
		}
		fmt.Fprintf(&b, "| %s: %s | %d | %.0f ms | %.0f ms | %.0f ms | %s | %v | %v | %s |\n",
			x.Scenario, x.What, x.Runs, x.Median, x.Worst, x.Slowest, changes, x.AtVictim, x.Elsewhere, x.Note)
	}
	if len(r.Missed) == 0 {
		b.WriteString("\nNo bar was missed.\n")
		return b.String()
	}
	b.WriteString("\nMissed:\n\n")
	for _, m := range r.Missed {
		fmt.Fprintf(&b, "- %s\n", m)
	}
	return b.String()
}
