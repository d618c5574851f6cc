package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	campaigns "github.com/prytany/prytany/internal/ledger"
)

// A tally is what a target was given, in one run or in all.
type tally struct {
	target
	Inputs   uint64  `json:"inputs"`
	Seconds  float64 `json:"seconds"`
	CPU      float64 `json:"cpu_seconds"`
	Runs     uint64  `json:"runs"`
	Failures uint64  `json:"failures"` // runs that ended with one

	said string // what it said when it failed
}

// line is what is printed of a run.
func (t *tally) line() string {
	out := fmt.Sprintf("%-50s %15s inputs in %s, %s of each s of CPU, %d failed", t.target, campaigns.Grouped(t.Inputs), seconds(t.Seconds), campaigns.Grouped(t.rate()), t.Failures)
	if t.said != "" {
		out += "\n" + t.said
	}
	return out
}

// rate is the inputs of a second of a processor: machines are shared.
func (t *tally) rate() uint64 { return uint64(float64(t.Inputs) / max(t.CPU, 0.001)) }

func (t *tally) add(more tally) {
	t.Inputs += more.Inputs
	t.Seconds += more.Seconds
	t.CPU += more.CPU
	t.Runs += more.Runs
	t.Failures += more.Failures
}

func total(all []tally) (sum tally) {
	for _, t := range all {
		sum.add(t)
	}
	return sum
}

// quickest returns the targets that have not failed, and take at least half as many
// inputs a second as the quickest of them.
func quickest(done []tally) (quick []target) {
	most := uint64(0)
	for _, t := range done {
		if t.Failures == 0 {
			most = max(most, t.rate())
		}
	}
	for _, t := range done {
		if t.Failures == 0 && t.rate() >= most/2 {
			quick = append(quick, t.target)
		}
	}
	return quick
}

// A ledger is the sums of all runs that were noted, in order.
type ledger struct {
	Targets []tally `json:"targets"`
}

// readLedger reads a file; none is an empty ledger.
func readLedger(path string) (l ledger, err error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &l)
	}
	if err != nil {
		return l, fmt.Errorf("%s: %w", path, err)
	}
	return l, nil
}

func (l *ledger) add(done []tally) {
	for _, t := range done {
		i, ok := slices.BinarySearchFunc(l.Targets, t, func(a, b tally) int {
			return cmp.Or(cmp.Compare(a.Package, b.Package), cmp.Compare(a.Name, b.Name))
		})
		if !ok {
			l.Targets = slices.Insert(l.Targets, i, tally{target: t.target})
		}
		l.Targets[i].add(t)
	}
}

// write writes a line for each target, so that two ledgers merge.
func (l *ledger) write(path string) error {
	var b bytes.Buffer
	b.WriteString("{\"targets\": [\n")
	for i, t := range l.Targets {
		t.Seconds, t.CPU = math.Round(t.Seconds), math.Round(t.CPU)
		line, err := json.Marshal(t)
		if err != nil {
			return err
		}
		b.Write(line)
		if i < len(l.Targets)-1 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	b.WriteString("]}\n")
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// table is the ledger as people read it.
func (l *ledger) table() string {
	var b strings.Builder
	b.WriteString("| Target | Inputs | Runs that failed |\n|---|---|---|\n")
	for _, t := range l.Targets {
		fmt.Fprintf(&b, "| `%s` %s | %s | %d |\n", t.Package, t.Name, campaigns.Grouped(t.Inputs), t.Failures)
	}
	sum := total(l.Targets)
	fmt.Fprintf(&b, "| **%d targets** | **%s** | **%d** |\n", len(l.Targets), campaigns.Grouped(sum.Inputs), sum.Failures)
	return b.String()
}

const (
	begins = "<!-- fuzzing: begin -->\n"
	ends   = "<!-- fuzzing: end -->\n"
)

// replaced returns text with table between the marks.
func replaced(text, table string) (string, error) {
	before, rest, ok := strings.Cut(text, begins)
	_, after, ok2 := strings.Cut(rest, ends)
	if !ok || !ok2 {
		return "", errors.New("it lacks the marks of fuzzing")
	}
	return before + begins + table + ends + after, nil
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(100 * time.Millisecond).String()
}
