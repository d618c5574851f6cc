//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/prytany/prytany/jepsen/check"
	"github.com/prytany/prytany/jepsen/report"
	"github.com/prytany/prytany/jepsen/run"
	"github.com/prytany/prytany/jepsen/verdict"
)

// The files of a run beside its history; see package run.
const (
	historyFile = "history.ndjson"
	breachFile  = "breaches.json"
	verdictFile = "verdict.json"
	reportFile  = "report.html"
)

// checkAgain is the command check: a run's directory, or its history.
func checkAgain(args []string) (int, error) {
	var logs []string
	f := flag.NewFlagSet("check", flag.ContinueOnError)
	f.Func("log", "log of a node, `file`, as often as there are nodes; default: those beside the history", func(name string) error {
		logs = append(logs, name)
		return nil
	})
	var path string
	for rest := args; ; rest = f.Args()[1:] { // flags may come after the path
		if err := f.Parse(rest); err != nil {
			return 0, err
		}
		if f.NArg() == 0 {
			break
		}
		if path != "" {
			return 0, fmt.Errorf("unexpected argument %q", f.Arg(0))
		}
		path = f.Arg(0)
	}
	if path == "" {
		return 0, errors.New("check takes one path: a run's directory, or its history")
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, historyFile)
	}
	v, err := judge(path, logs)
	if err != nil {
		return 0, err
	}
	return v.Exit, v.Text(os.Stdout)
}

// judge checks the run whose history is at path, by the logs of its nodes, and writes
// the verdict and the report beside it. Without logs it takes those beside the history.
func judge(path string, logs []string) (_ *verdict.Verdict, err error) {
	dir := filepath.Dir(path)
	if len(logs) == 0 {
		if logs, err = filepath.Glob(run.DecidedFile(dir, "*")); err != nil {
			return nil, err
		}
	}
	h, log, err := check.Load(path, logs)
	if err != nil {
		return nil, err
	}
	v := check.Run(h, log, check.Options{})
	seen, err := nemesisCheck(dir)
	if err != nil {
		return nil, err
	}
	v.Checks = append(v.Checks, seen)
	v.Close()
	text, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, verdictFile), append(text, '\n'), 0o644); err != nil {
		return nil, err
	}
	return v, report.Save(filepath.Join(dir, reportFile), v, h, log)
}

// writeBreaches keeps what the nemesis has seen that may not be.
func writeBreaches(dir string, breaches []string) error {
	text, err := json.MarshalIndent(breaches, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, breachFile), append(text, '\n'), 0o644)
}

// nemesisCheck is the check of what the nemesis has seen.
func nemesisCheck(dir string) (*verdict.Check, error) {
	c := verdict.New("nemesis", "nodes refuse, end and come to rest as they must when they are broken")
	text, err := os.ReadFile(filepath.Join(dir, breachFile))
	if errors.Is(err, os.ErrNotExist) {
		return c.Nothing("the run has not noted it"), nil
	}
	if err != nil {
		return nil, err
	}
	var breaches []string
	if err := json.Unmarshal(text, &breaches); err != nil {
		return nil, fmt.Errorf("%s: %w", breachFile, err)
	}
	for _, b := range breaches {
		c.Fail(b)
	}
	return c, nil
}
