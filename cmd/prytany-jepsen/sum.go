//go:build linux

package main

import (
	"errors"
	"flag"
	"os"

	"github.com/prytany/prytany/jepsen/campaign"
	"github.com/prytany/prytany/jepsen/nemesis"
)

// sum is the command sum: it adds up what runs have left, wherever they were made.
func sum(args []string) (int, error) {
	f := flag.NewFlagSet("sum", flag.ContinueOnError)
	out := f.String("out", "", "`directory` for "+campaign.SumFile+"; default: the first that is named")
	if err := f.Parse(args); err != nil {
		return 0, err
	}
	if f.NArg() == 0 {
		return 0, errors.New("sum takes the directories of runs, or those above them")
	}
	if *out == "" {
		*out = f.Arg(0)
	}
	return addUp(*out, f.Args())
}

// addUp writes the sum of all runs in and below dirs into out, prints it and returns
// its exit code.
func addUp(out string, dirs []string) (int, error) {
	rows, err := campaign.Find(dirs...)
	if err != nil {
		return 0, err
	}
	var kinds []string
	for _, fault := range nemesis.Faults() {
		kinds = append(kinds, fault.Name)
	}
	s := campaign.Add(rows, kinds)
	return s.Outcome().Exit(), errors.Join(s.Save(out), s.Text(os.Stdout))
}
