package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// most is how many inputs of a target are kept at most, and mostBytes how many
	// bytes of them. What is left out is printed.
	most      = 24
	mostBytes = 24 << 10
	// largest is the largest input that is looked at.
	largest = 4 << 10
	// tries bounds the inputs of a target that are looked at, the small ones first.
	tries = 100
)

// keep copies from the cache into testdata/fuzz, of each target, inputs that reach a
// block of its package, or of one below, that no input of the seeds and no smaller one
// reaches.
func (w *workshop) keep(ctx context.Context, targets []target) error {
	for _, t := range targets {
		n, bytes, err := w.keepOf(ctx, t)
		if err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
		fmt.Printf("%-50s %d inputs of %d bytes kept\n", t, n, bytes)
	}
	return nil
}

// An input is a file of the corpus.
type input struct {
	name string // of the file
	text []byte
}

func (w *workshop) keepOf(ctx context.Context, t target) (kept, size int, err error) {
	have, err := inputs(filepath.Join(w.root, t.Package, "testdata", "fuzz", t.Name))
	if err != nil {
		return 0, 0, err
	}
	cached, err := inputs(filepath.Join(w.cache, w.module, t.Package, t.Name))
	if err != nil {
		return 0, 0, err
	}
	bin, err := w.build(ctx, t.Package, "cover", "-covermode=set", "-coverpkg="+w.module+"/"+t.Package+"/...")
	if err != nil {
		return 0, 0, err
	}
	seen := map[string]bool{}
	// Everything that is there already, and the seeds in the code.
	if err := w.reach(ctx, t, bin, have, "", seen); err != nil {
		return 0, 0, err
	}
	for i, in := range cached {
		if i == tries || kept == most || size+len(in.text) > mostBytes {
			fmt.Printf("%s: %d of %d inputs were not looked at\n", t, len(cached)-i, len(cached))
			break
		}
		before := len(seen)
		if err := w.reach(ctx, t, bin, []input{in}, in.name, seen); err != nil {
			return kept, size, err
		}
		if len(seen) == before {
			continue
		}
		if err := store(filepath.Join(w.root, t.Package, "testdata", "fuzz", t.Name), in); err != nil {
			return kept, size, err
		}
		kept, size = kept+1, size+len(in.text)
	}
	return kept, size, nil
}

// inputs returns the files of a corpus, the small ones first; none, if there is none.
func inputs(dir string) (all []input, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		if len(text) <= largest {
			all = append(all, input{e.Name(), text})
		}
	}
	slices.SortStableFunc(all, func(a, b input) int { return cmp.Compare(len(a.text), len(b.text)) })
	return all, err
}

// reach runs t with the inputs called name, or with all and the seeds in the code, and
// adds what they reach to seen.
func (w *workshop) reach(ctx context.Context, t target, bin string, all []input, name string, seen map[string]bool) error {
	dir := filepath.Join(w.bin, "reach")
	defer func() { _ = os.RemoveAll(dir) }()
	corpus := filepath.Join(dir, "testdata", "fuzz", t.Name)
	for _, in := range all {
		if err := store(corpus, in); err != nil {
			return err
		}
	}
	profile := filepath.Join(dir, "profile")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	run := "-test.run=^" + t.Name + "$"
	if name != "" {
		run += "/^" + name + "$"
	}
	cmd := exec.CommandContext(ctx, bin, run, "-test.coverprofile="+profile)
	cmd.Dir = dir
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, said)
	}
	text, err := os.ReadFile(profile)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		if block, ok := strings.CutSuffix(line, " 1\n"); ok {
			seen[block] = true
		}
	}
	return nil
}

// store writes an input into a corpus.
func store(dir string, in input) error {
	if !bytes.HasPrefix(in.text, []byte("go test fuzz v1\n")) {
		return fmt.Errorf("%s is no input of a fuzz target", in.name)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, in.name), in.text, 0o644)
}
