package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	// grace is what a target may take beyond its time before it is ended and has
	// failed: for building its fixtures, and for making a failing input smaller.
	grace = 3 * time.Minute
	// endIn is what it may take then.
	endIn = 20 * time.Second
)

// A workshop builds and runs the targets of the module at root.
type workshop struct {
	root, module string
	cache        string // where inputs are kept between runs, by import path
	bin          string // of this run
}

// open begins a workshop in the module of the working directory.
func open(ctx context.Context) (*workshop, error) {
	said, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}\n{{.Path}}").Output()
	if err != nil {
		return nil, fmt.Errorf("go list: run it in the module: %w", err)
	}
	cache, err := exec.CommandContext(ctx, "go", "env", "GOCACHE").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	root, module, _ := strings.Cut(strings.TrimSpace(string(said)), "\n")
	w := &workshop{root: root, module: module, cache: filepath.Join(strings.TrimSpace(string(cache)), "fuzz")}
	w.bin, err = os.MkdirTemp("", "fuzzboard-")
	return w, err
}

func (w *workshop) close() { _ = os.RemoveAll(w.bin) }

// build builds the tests of a package, once for all its targets, with flags, and
// returns the binary. kind tells apart what was built with other flags.
func (w *workshop) build(ctx context.Context, pkg, kind string, flags ...string) (string, error) {
	out := filepath.Join(w.bin, strings.ReplaceAll(pkg, "/", "_")+"."+kind)
	if _, err := os.Stat(out); err == nil {
		return out, nil
	}
	args := append([]string{"test", "-c", "-vet=off", "-o", out}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "./"+pkg)...)
	cmd.Dir = w.root
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go test -c ./%s: %w\n%s", pkg, err, said)
	}
	return out, nil
}

// instrumented builds a package for fuzzing.
func (w *workshop) instrumented(ctx context.Context, pkg string) (string, error) {
	return w.build(ctx, pkg, "fuzz", "-gcflags="+w.module+"/...=-d=libfuzzer")
}

// buildAll builds everything that targets need, so that no time of theirs goes into it.
func (w *workshop) buildAll(ctx context.Context, targets []target) error {
	for _, t := range targets {
		if _, err := w.instrumented(ctx, t.Package); err != nil {
			return err
		}
	}
	return nil
}

// fuzz runs one target until limit: a duration, or a number of inputs and an x. An error
// means that it could not be run; that it failed is in the tally.
func (w *workshop) fuzz(ctx context.Context, t target, limit string, parallel int) (tally, error) {
	bin, err := w.instrumented(ctx, t.Package)
	if err != nil {
		return tally{}, err
	}
	if d, err := time.ParseDuration(limit); err == nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d+grace)
		defer cancel()
	}
	cmd := exec.CommandContext(ctx, bin, "-test.run=^$", "-test.fuzz=^"+t.Name+"$", "-test.fuzztime="+limit, "-test.timeout=0",
		"-test.fuzzcachedir="+filepath.Join(w.cache, w.module, t.Package), "-test.fuzzminimizetime=500ms", fmt.Sprintf("-test.parallel=%d", parallel))
	cmd.Dir = filepath.Join(w.root, t.Package)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = endIn
	began := time.Now()
	err = cmd.Run()
	out := tally{target: t, Runs: 1, Seconds: time.Since(began).Seconds(), Inputs: inputsIn(said.String())}
	if p := cmd.ProcessState; p != nil {
		out.CPU = (p.UserTime() + p.SystemTime()).Seconds()
	}
	switch exit, ended := errors.AsType[*exec.ExitError](err); {
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		out.Failures, out.said = 1, "it did not end in time:\n"+said.String()
	case ctx.Err() != nil && !strings.Contains(said.String(), "Failing input written"): // interrupted: what it has done counts
	case ended && exit.Exited() && timeWasOver.MatchString(said.String()):
	case ended && exit.Exited(), ctx.Err() != nil:
		out.Failures, out.said = 1, said.String()
	case err != nil:
		return tally{}, fmt.Errorf("%s: %w\n%s", t, err, said.String())
	case out.Inputs == 0: // the time was over before the seeds were through
		out.said = "it was given no input:\n" + said.String()
	}
	return out, nil
}

// timeWasOver is the end of a run whose time was over while package testing asked its
// worker for something. That counts as a failure there; none of an input does.
var timeWasOver = regexp.MustCompile(`(?m)^--- FAIL: \w+ \(.*\)\n    context deadline exceeded\nFAIL\n\z`)

var execs = regexp.MustCompile(`(?m)^fuzz: elapsed: .*, execs: (\d+) `)

// inputsIn returns the number of inputs in the last line of what package testing says.
func inputsIn(said string) uint64 {
	all := execs.FindAllStringSubmatch(said, -1)
	if len(all) == 0 {
		return 0
	}
	n, err := strconv.ParseUint(all[len(all)-1][1], 10, 64)
	if err != nil {
		return 0
	}
	return n
}
