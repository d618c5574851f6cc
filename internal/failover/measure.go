package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A report is all that was measured.
type report struct {
	Date     string    `json:"date"`
	Kernel   string    `json:"kernel"`
	CPUs     int       `json:"cpus"`
	Go       string    `json:"go"`
	Binary   string    `json:"binary"`
	Timing   string    `json:"timing"`
	Load     string    `json:"load_average"` // at the start and at the end: one minute
	Rows     []row     `json:"scenarios"`
	Runs     []result  `json:"runs"`
	Missed   []string  `json:"missed"`
	Failures []failure `json:"not_measured,omitempty"`
}

// A failure is a run that gave no result.
type failure struct {
	Scenario string `json:"scenario"`
	Why      string `json:"why"`
}

// measure runs all scenarios asked for and reports. Whatever was measured is
// reported, also if something fails.
func measure(ctx context.Context, o options) error {
	dir, err := dirOf(o)
	if err != nil {
		return err
	}
	if o.binary, err = filepath.Abs(o.binary); err != nil {
		return err
	}
	r, err := describe(o)
	if err != nil {
		return err
	}
	if err := (switchboard{o.inside}).install(ctx); err != nil {
		return err
	}
	for _, s := range scenarios(o.load) {
		if !slices.Contains(o.wanted(), s.name) || ctx.Err() != nil {
			continue
		}
		results, why := series(ctx, o, filepath.Join(dir, s.name), s)
		r.Runs = append(r.Runs, results...)
		switch {
		case ctx.Err() != nil:
			r.Failures = append(r.Failures, failure{s.name, "interrupted"})
		case why != nil:
			r.Failures = append(r.Failures, failure{s.name, why.Error()})
			say("%s: %v", s.name, why)
		}
		rw := summarize(s, results)
		if why != nil {
			rw.Note = joinNotes(rw.Note, why.Error())
		}
		r.Rows = append(r.Rows, rw)
		r.Missed = append(r.Missed, s.bar.missed(s.name, results)...)
	}
	r.Load += ", " + loadAverage()
	return errors.Join(r.write(o), r.verdict(o))
}

// series runs one scenario as often as wanted on a cluster of its own. After a
// run that failed there is another cluster, twice.
func series(ctx context.Context, o options, dir string, s scenario) (results []result, err error) {
	want := 1
	if s.share > 0 {
		want = max(1, o.runs*s.share/20)
	}
	var c *cluster
	stop := func() error {
		if c == nil {
			return nil
		}
		err := c.stop()
		c = nil
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	var failed error
	for n, clusters := 1, 0; n <= want && ctx.Err() == nil; {
		if c == nil {
			if clusters++; clusters > 3 {
				return results, fmt.Errorf("%d of %d runs; the last failure: %w", len(results), want, failed)
			}
			if c, err = startCluster(ctx, o, fmt.Sprintf("%s-%d", dir, clusters), s.ownDisks); err != nil {
				return results, err
			}
		}
		res, why := try(ctx, c, s, n)
		switch {
		case ctx.Err() != nil:
			return results, ctx.Err()
		case errors.Is(why, errNotOffered):
			return results, why
		case why != nil:
			failed = fmt.Errorf("run %d: %w", n, why)
			say("%s %d/%d: %v", s.name, n, want, why)
			n++
			if err := stop(); err != nil {
				return results, err
			}
		default:
			say("%s %d/%d: %s", s.name, n, want, res.line())
			results = append(results, res)
			n++
		}
	}
	return results, failed
}

// line is a run in short.
func (r result) line() string {
	line := fmt.Sprintf("gap %.0f ms from %+.0f ms on, %d changes, %d failed, %d acknowledged", r.GapMS, r.GapAtMS, r.Changes, r.failures().sum(), r.Acks)
	if len(r.Unsafe) > 0 {
		line += fmt.Sprintf("; UNSAFE: %s", strings.Join(r.Unsafe, "; "))
	}
	return line
}

func (r result) failures() (sum failures) {
	for _, f := range r.Failed {
		sum = sum.plus(f)
	}
	return sum
}

// describe says on what it is measured.
func describe(o options) (*report, error) {
	version, err := exec.Command(o.binary, "version").Output()
	if err != nil {
		return nil, fmt.Errorf("%s version: %w", o.binary, err)
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return nil, err
	}
	r := &report{
		Date: time.Now().UTC().Format("2006-01-02"), Kernel: strings.TrimSpace(string(kernel)),
		CPUs: runtime.NumCPU(), Go: runtime.Version(), Binary: strings.TrimSpace(string(version)),
		Timing: "default", Load: loadAverage(), Missed: []string{}, Rows: []row{}, Runs: []result{},
	}
	if o.timing != "" {
		r.Timing = o.timing
	}
	return r, nil
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

// write puts the report where the user wants it.
func (r *report) write(o options) error {
	var errs []error
	if o.md == "" {
		fmt.Print(r.markdown())
	} else {
		errs = append(errs, os.WriteFile(o.md, []byte(r.markdown()), 0o644))
	}
	if o.json != "" {
		text, err := json.MarshalIndent(r, "", " ")
		errs = append(errs, err, os.WriteFile(o.json, append(text, '\n'), 0o644))
	}
	return errors.Join(errs...)
}

// verdict is an error if something is wrong. To lose a write is, bars or not.
func (r *report) verdict(o options) error {
	var errs []error
	for _, run := range r.Runs {
		for _, why := range run.Unsafe {
			errs = append(errs, fmt.Errorf("%s %d: unsafe: %s", run.Scenario, run.Run, why))
		}
	}
	for _, f := range r.Failures {
		if f.Why != errNotOffered.Error() {
			errs = append(errs, fmt.Errorf("%s: not all was measured: %s", f.Scenario, f.Why))
		}
	}
	if o.bars {
		for _, m := range r.Missed {
			errs = append(errs, fmt.Errorf("bar missed: %s", m))
		}
	}
	return errors.Join(errs...)
}
