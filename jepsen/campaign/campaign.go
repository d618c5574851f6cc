// Package campaign sums runs up. Hundreds of short runs are made in pieces, on several
// days or machines; each leaves a row, and the rows of any directories make one table.
package campaign

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prytany/prytany/jepsen/verdict"
)

// RowFile is the name of a run's row in its directory, and SumFile of the sum in a
// campaign's.
const (
	RowFile = "row.json"
	SumFile = "campaign.json"
)

// A Row is what counts of one run.
type Row struct {
	Name      string          `json:"name"`
	Seed      uint64          `json:"seed"`
	Started   time.Time       `json:"started"`
	Binary    string          `json:"binary"`
	Workloads []string        `json:"workloads"`
	Outcome   verdict.Outcome `json:"outcome"`
	Faults    map[string]int  `json:"faults"` // those that came and went, by kind
	Left      []string        `json:"left,omitempty"`
	// Calls by their end, with "calls" for all.
	Calls map[string]int64 `json:"calls"`
	// Checks that did not pass, by name.
	Failed    []string `json:"failed,omitempty"`
	Undecided []string `json:"undecided,omitempty"`
	Rejected  []string `json:"rejected,omitempty"`
	// Partitions of histories that were judged by search.
	Partitions int64         `json:"partitions"`
	Negative   bool          `json:"negative,omitempty"` // a control that must lose updates
	Lost       int64         `json:"lost_unfenced"`
	Took       time.Duration `json:"took"` // ns, with starting and checking
	Dir        string        `json:"-"`
	Copies     []string      `json:"-"` // other directories of the same run
}

// NewRow makes the row of a run that was judged. faults are those that came and went.
func NewRow(v *verdict.Verdict, faults map[string]int, took time.Duration) Row {
	r := Row{
		Name: v.Run.Name, Seed: v.Run.Seed, Started: v.Run.Started, Binary: v.Run.Binary, Workloads: strings.Split(v.Run.Workload, ","),
		Outcome: v.Outcome, Faults: faults, Left: v.Run.Left, Calls: map[string]int64{}, Negative: v.Run.Negative, Lost: v.Lost, Took: took,
	}
	for _, kind := range calls {
		r.Calls[kind] = v.Counts[kind]
	}
	for _, c := range v.Checks {
		switch c.Outcome {
		case verdict.Failed:
			r.Failed = append(r.Failed, c.Name)
		case verdict.Undecided:
			r.Undecided = append(r.Undecided, c.Name)
		case verdict.Rejected:
			r.Rejected = append(r.Rejected, c.Name)
		}
		r.Partitions += c.Counts["partitions"]
	}
	return r
}

// Unmade makes the row of a run that could not be carried out: it tells nothing, and is
// counted all the same.
func Unmade(name string, seed uint64, binary string, workloads []string, why error) Row {
	return Row{
		Name: name, Seed: seed, Started: time.Now(), Binary: binary, Workloads: workloads, Outcome: verdict.Rejected,
		Faults: map[string]int{}, Calls: map[string]int64{}, Rejected: []string{"not carried out: " + why.Error()},
	}
}

// calls are the counts of calls that a row keeps: of all, and by their end.
var calls = []string{"calls", "ok", "fail", "info"}

// Save writes r into the directory of its run.
func (r Row) Save(dir string) error {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, RowFile), append(text, '\n'), 0o644)
}

// Find reads all rows in and below directories, in order of their beginnings. One that
// is there several times, such as in a copy, counts once.
func Find(dirs ...string) (rows []Row, err error) {
	seen := map[string]int{}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.Name() != RowFile || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			r := Row{Dir: filepath.Dir(path)}
			if err := json.Unmarshal(text, &r); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			id := fmt.Sprint(r.Seed, r.Started.UnixNano())
			if i, there := seen[id]; there {
				rows[i].Copies = append(rows[i].Copies, r.Dir)
				return nil
			}
			seen[id] = len(rows)
			rows = append(rows, r)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if len(rows) == 0 {
		return nil, errors.New("there is no run in " + strings.Join(dirs, ", "))
	}
	slices.SortStableFunc(rows, func(a, b Row) int { return a.Started.Compare(b.Started) })
	return rows, nil
}

// A Sum is what rows come to.
type Sum struct {
	Runs     int                     `json:"runs"`
	Outcomes map[verdict.Outcome]int `json:"outcomes"`
	Faults   map[string]int          `json:"faults"` // by kind: how often it came and went
	// In how many runs a kind was; two of a pair, joined by a blank, in one run.
	With      map[string]int   `json:"with"`
	Missed    []string         `json:"missed,omitempty"` // kinds that none of these runs had
	Workloads map[string]int   `json:"workloads"`        // in how many runs
	Calls     map[string]int64 `json:"calls"`
	// Checks that did not pass: in how many runs.
	Failed     map[string]int `json:"failed,omitempty"`
	Undecided  map[string]int `json:"undecided,omitempty"`
	Rejected   map[string]int `json:"rejected,omitempty"`
	Partitions int64          `json:"partitions"`
	Controls   int            `json:"controls"` // runs that must lose updates, together
	Lost       int64          `json:"lost_unfenced"`
	Took       time.Duration  `json:"took"` // ns
	Binaries   []string       `json:"binaries"`
	// Look lists the directories of runs that did not pass, by outcome.
	Look map[verdict.Outcome][]string `json:"look,omitempty"`
}

// Add sums rows up. all are the kinds of faults that there are.
func Add(rows []Row, all []string) Sum {
	s := Sum{
		Runs: len(rows), Outcomes: map[verdict.Outcome]int{}, Faults: map[string]int{}, With: map[string]int{}, Workloads: map[string]int{},
		Calls: map[string]int64{}, Failed: map[string]int{}, Undecided: map[string]int{}, Rejected: map[string]int{},
		Look: map[verdict.Outcome][]string{},
	}
	for _, r := range rows {
		s.Outcomes[r.Outcome]++
		if r.Outcome != verdict.Passed {
			s.Look[r.Outcome] = append(s.Look[r.Outcome], r.Dir)
		}
		kinds := slices.Sorted(maps.Keys(r.Faults))
		for i, kind := range kinds {
			s.Faults[kind] += r.Faults[kind]
			s.With[kind]++
			for _, other := range kinds[i+1:] {
				s.With[kind+" "+other]++
			}
		}
		for _, name := range r.Workloads {
			s.Workloads[name]++
		}
		for kind, n := range r.Calls {
			s.Calls[kind] += n
		}
		count(s.Failed, r.Failed)
		count(s.Undecided, r.Undecided)
		count(s.Rejected, r.Rejected)
		if r.Negative {
			s.Controls++
		}
		s.Lost += r.Lost
		s.Took += r.Took
		s.Partitions += r.Partitions
		if !slices.Contains(s.Binaries, r.Binary) {
			s.Binaries = append(s.Binaries, r.Binary)
		}
	}
	for _, kind := range all {
		if s.Faults[kind] == 0 {
			s.Missed = append(s.Missed, kind)
		}
	}
	return s
}

func count(in map[string]int, names []string) {
	for _, name := range names {
		in[name]++
	}
}

// Outcome is the worst of all runs, and a failure if controls have lost nothing.
func (s Sum) Outcome() verdict.Outcome {
	worst := verdict.Passed
	for o := range s.Outcomes {
		worst = verdict.Worse(worst, o)
	}
	if s.Controls > 0 && s.Lost == 0 {
		worst = verdict.Failed
	}
	return worst
}

// Save writes s into a directory.
func (s Sum) Save(dir string) error {
	text, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, SumFile), append(text, '\n'), 0o644)
}

// Text writes s for people.
func (s Sum) Text(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d runs in %v:", s.Runs, s.Took.Round(time.Second))
	for _, o := range []verdict.Outcome{verdict.Passed, verdict.Failed, verdict.Undecided, verdict.Rejected} {
		fmt.Fprintf(&b, " %s %d", o, s.Outcomes[o])
	}
	n := s.Calls["calls"]
	fmt.Fprintf(&b, "\n%d calls: %d ok, %d refused, %d unknown (%.2f %%); %d partitions searched\n",
		n, s.Calls["ok"], s.Calls["fail"], s.Calls["info"], 100*float64(s.Calls["info"])/float64(max(n, 1)), s.Partitions)
	for _, one := range []struct {
		what string
		of   map[string]int
	}{{"failed", s.Failed}, {"undecided", s.Undecided}, {"rejected", s.Rejected}} {
		if len(one.of) > 0 {
			fmt.Fprintf(&b, "%s checks, by runs: %s\n", one.what, spell(one.of))
		}
	}
	if s.Controls > 0 {
		fmt.Fprintf(&b, "%d negative controls lost %d updates without fences\n", s.Controls, s.Lost)
	}
	fmt.Fprintf(&b, "workloads, by runs: %s\n", spell(s.Workloads))
	total := 0
	for _, n := range s.Faults {
		total += n
	}
	fmt.Fprintf(&b, "%d faults of %d kinds", total, len(s.Faults))
	if len(s.Missed) > 0 {
		fmt.Fprintf(&b, "; none of %s", strings.Join(s.Missed, ", "))
	}
	b.WriteByte('\n')
	const across = 4
	for i, kind := range slices.Sorted(maps.Keys(s.Faults)) {
		if i%across == 0 && i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "  %-16s %4d", kind, s.Faults[kind])
	}
	b.WriteByte('\n')
	for _, o := range []verdict.Outcome{verdict.Failed, verdict.Undecided, verdict.Rejected} {
		for _, dir := range s.Look[o] {
			fmt.Fprintf(&b, "%s: %s\n", o, dir)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// spell writes counts, the most frequent first.
func spell(of map[string]int) string {
	names := slices.SortedFunc(maps.Keys(of), func(a, b string) int {
		if of[a] != of[b] {
			return of[b] - of[a]
		}
		return strings.Compare(a, b)
	})
	var out []string
	for _, name := range names {
		out = append(out, fmt.Sprintf("%s %d", name, of[name]))
	}
	return strings.Join(out, ", ")
}
