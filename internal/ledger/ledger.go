// Package ledger keeps account of campaigns: what a program that looks for bugs has run,
// and what failed. Programs add rows with -ledger; the table in docs/evidence.md is made
// of them by
//
//	go test ./internal/ledger -run TestTable -update
//
// A row is added once its campaign has ended, failures and all.
package ledger

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
)

// A Row is a campaign that has ended: the Runs from seed From on.
type Row struct {
	Campaign string           `json:"campaign"` // which program, and how it was called
	From     uint64           `json:"from"`
	Runs     int64            `json:"runs"`
	Failed   int64            `json:"failed"`
	Hours    float64          `json:"hours,omitempty"`       // of the clock of what was run, which may be virtual
	CPU      float64          `json:"cpu_seconds,omitempty"` // of a processor, 0 if nobody measured it
	Did      map[string]int64 `json:"did"`                   // what happened in them, by name
}

// Add appends r to the file, which it makes if there is none. Nothing takes the place of
// what was added before: what has failed once stays in the account, and seeds that are run
// again count again.
func Add(path string, r Row) error {
	r.Hours, r.CPU = math.Round(100*r.Hours)/100, math.Round(r.CPU)
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n')) // one write: several may append at once
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

// Read reads rows, a line each, in order of campaigns.
func Read(from io.Reader) (rows []Row, err error) {
	lines := bufio.NewScanner(from)
	for n := 1; lines.Scan(); n++ {
		var r Row
		d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		d.DisallowUnknownFields()
		if err := d.Decode(&r); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if _, err := d.Token(); err != io.EOF {
			return nil, fmt.Errorf("line %d has more than one row: was its end lost before another was added?", n)
		}
		rows = append(rows, r)
	}
	slices.SortStableFunc(rows, func(a, b Row) int {
		return strings.Compare(a.Campaign, b.Campaign)
	})
	return rows, lines.Err()
}

// Sums adds up the rows of each campaign, whatever their seeds; From is the first.
func Sums(rows []Row) (sums []Row) {
	for _, r := range rows {
		i := slices.IndexFunc(sums, func(s Row) bool { return s.Campaign == r.Campaign })
		if i < 0 {
			i = len(sums)
			sums = append(sums, Row{Campaign: r.Campaign, From: r.From, Did: map[string]int64{}})
		}
		s := &sums[i]
		s.From = min(s.From, r.From)
		s.Runs, s.Failed, s.Hours, s.CPU = s.Runs+r.Runs, s.Failed+r.Failed, s.Hours+r.Hours, s.CPU+r.CPU
		for what, n := range r.Did {
			s.Did[what] += n
		}
	}
	return sums
}

// Table is the sums as people read them.
func Table(rows []Row) string {
	var b strings.Builder
	b.WriteString("| Campaign | First seed | Runs | Hours | Minutes of a processor | What happened in them | Failed |\n|---|---|---|---|---|---|---|\n")
	for _, s := range Sums(rows) {
		var did []string
		for _, what := range slices.Sorted(maps.Keys(s.Did)) {
			did = append(did, Grouped(s.Did[what])+" "+what)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %d |\n", s.Campaign, Grouped(s.From), Grouped(s.Runs),
			known(s.Hours), known(s.CPU/60), strings.Join(did, ", "), s.Failed)
	}
	return b.String()
}

// known is a number with one digit after the point, or nothing for one that is not known.
func known(x float64) string {
	if x == 0 {
		return ""
	}
	whole, digit, _ := strings.Cut(strconv.FormatFloat(x, 'f', 1, 64), ".")
	return commas(whole) + "." + digit
}

// Grouped returns n with a comma between thousands.
func Grouped[N int64 | uint64](n N) string { return commas(fmt.Sprint(n)) }

func commas(s string) string {
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
