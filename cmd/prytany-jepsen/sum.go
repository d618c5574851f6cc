//go:build linux

package main

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"

	"github.com/prytany/prytany/internal/ledger"
	"github.com/prytany/prytany/jepsen/campaign"
	"github.com/prytany/prytany/jepsen/nemesis"
	"github.com/prytany/prytany/jepsen/verdict"
)

// sum is the command sum: it adds up what runs have left, wherever they were made.
func sum(args []string) (int, error) {
	f := flag.NewFlagSet("sum", flag.ContinueOnError)
	out := f.String("out", "", "`directory` for "+campaign.SumFile+"; default: the first that is named")
	into := f.String("ledger", "", "add the sum to this `file`, too")
	name := f.String("campaign", "real processes", "what the sum is called in the ledger")
	if err := f.Parse(args); err != nil {
		return 0, err
	}
	if f.NArg() == 0 {
		return 0, errors.New("sum takes the directories of runs, or those above them")
	}
	if *out == "" {
		*out = f.Arg(0)
	}
	return addUp(*out, *into, *name, f.Args())
}

// addUp writes the sum of all runs in and below dirs into out, and by name into the ledger
// if there is one, prints it and returns its exit code.
func addUp(out, into, name string, dirs []string) (int, error) {
	rows, err := campaign.Find(dirs...)
	if err != nil {
		return 0, err
	}
	var kinds []string
	for _, fault := range nemesis.Faults() {
		kinds = append(kinds, fault.Name)
	}
	s := campaign.Add(rows, kinds)
	err = errors.Join(s.Save(out), s.Text(os.Stdout))
	if into != "" {
		err = errors.Join(err, note(into, name, rows, kinds))
	}
	return s.Outcome().Exit(), err
}

// notedFile is in the directory of a run that is in a ledger: it is not added again when
// more runs have been made beside it.
const notedFile = "noted"

// note adds those of rows to the ledger that are in none, and marks them all.
func note(into, name string, rows []campaign.Row, kinds []string) error {
	var fresh []campaign.Row
	for _, r := range rows {
		if !slices.ContainsFunc(append(r.Copies, r.Dir), isNoted) {
			fresh = append(fresh, r)
		}
	}
	if len(fresh) > 0 {
		if err := ledger.Add(into, noted(name, fresh, campaign.Add(fresh, kinds))); err != nil {
			return err
		}
	}
	for _, r := range rows {
		for _, dir := range append(r.Copies, r.Dir) {
			if isNoted(dir) {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, notedFile), []byte(name+"\n"), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

func isNoted(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, notedFile))
	return err == nil
}

// noted is a campaign's row in the ledger. What is undecided has failed there: it is not
// known to have passed. So have controls that had to lose updates, and lost none.
func noted(name string, rows []campaign.Row, s campaign.Sum) ledger.Row {
	r := ledger.Row{
		Campaign: name, From: rows[0].Seed, Runs: int64(s.Runs), Hours: s.Took.Hours(),
		Failed: int64(s.Outcomes[verdict.Failed] + s.Outcomes[verdict.Undecided]),
		Did: map[string]int64{
			"calls": s.Calls["calls"], "of unknown outcome": s.Calls["info"], "searched partitions": s.Partitions,
			"rejected runs": int64(s.Outcomes[verdict.Rejected]),
		},
	}
	if s.Controls > 0 && s.Lost == 0 {
		r.Failed = min(r.Failed+int64(s.Controls), r.Runs) // those that failed anyway count once
	}
	for _, row := range rows {
		r.From = min(r.From, row.Seed)
	}
	for _, n := range s.Faults {
		r.Did["faults"] += int64(n)
	}
	return r
}
