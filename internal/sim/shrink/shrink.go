// Package shrink makes a run of the simulator that fails smaller: first fewer faults, by
// delta debugging ("Simplifying and Isolating Failure-Inducing Input", Zeller and
// Hildebrandt, 2002), then a shorter and simpler run around those that are left. What it
// finds is kept as a [Case] and repeated for ever.
package shrink

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prytany/prytany/internal/sim/dice"
	"github.com/prytany/prytany/internal/sim/plan"
)

// A Case is a run that failed once, as small as it could be made.
type Case struct {
	Story     string       // what went wrong
	Invariant string       // that was broken
	Bug       string       // the known-bad variant that fails in it; "" if the bug was real, and is mended
	Options   plan.Options // of the run
}

// Fails runs o and reports whether it fails for the reason that is looked for.
type Fails func(o plan.Options) bool

// ErrPasses says that a run does not fail to begin with.
var ErrPasses = errors.New("the run does not fail for that reason: there is nothing to make smaller")

// Minimise returns a run that fails too and is no larger than o. Its faults are spelled
// out. It makes no more than most runs; the smallest one found by then is returned.
func Minimise(o plan.Options, most int, fails Fails) (small plan.Options, runs int, err error) {
	m := &minimiser{o: o, left: most, fails: fails}
	m.o.Strikes = append([]plan.Strike{}, o.Script()...)
	if !m.try(m.o) {
		return o, most - m.left, ErrPasses
	}
	for changed := true; changed && m.left > 0; {
		changed = m.shorten()
		changed = m.drop() || changed
		changed = m.simplify() || changed
	}
	return m.o, most - m.left, nil
}

// A minimiser has the smallest run so far that fails.
type minimiser struct {
	o     plan.Options
	left  int // runs
	fails Fails
}

// try takes o if it fails too.
func (m *minimiser) try(o plan.Options) bool {
	if m.left == 0 {
		return false
	}
	m.left--
	if !m.fails(o) {
		return false
	}
	m.o = o
	return true
}

// shorten ends the faults earlier, as early as it goes by halving what is left.
func (m *minimiser) shorten() (changed bool) {
	const least = 200 * time.Millisecond
	for step := m.o.Chaos / 2; step >= least; step /= 2 {
		for m.o.Chaos > step {
			o := m.o
			o.Chaos -= step
			o.Strikes = slices.DeleteFunc(slices.Clone(o.Strikes), func(s plan.Strike) bool { return s.At >= o.Chaos })
			if !m.try(o) {
				break
			}
			changed = true
		}
	}
	return changed
}

// drop leaves out faults, first many at once and at last one by one, until each that is
// left is needed.
func (m *minimiser) drop() (changed bool) {
	for size := (len(m.o.Strikes) + 1) / 2; size > 0; {
		dropped := false
		for i := 0; i < len(m.o.Strikes); {
			o := m.o
			o.Strikes = slices.Delete(slices.Clone(o.Strikes), i, min(i+size, len(o.Strikes)))
			if m.try(o) {
				dropped, changed = true, true
			} else {
				i += size
			}
		}
		if !dropped || size > 1 {
			size /= 2
		}
	}
	return changed
}

// simpler are the ways in which a run can be made simpler. Those that change nothing
// are not tried.
var simpler = []func(o *plan.Options){
	func(o *plan.Options) { o.Sides, o.SideMoves, o.SideBytes, o.SideFiller = 0, false, 0, 0 },
	func(o *plan.Options) { o.Work.Workers = 0 },
	func(o *plan.Options) { o.Churn = false },
	func(o *plan.Options) { o.HandOverEvery = 0 },
	func(o *plan.Options) { o.Clients = (o.Clients + 1) / 2 },
	func(o *plan.Options) { o.Clients = max(o.Clients-1, 1) },
	func(o *plan.Options) { o.Features = 0 },
	func(o *plan.Options) { o.Features &= o.Features - 1 },
	func(o *plan.Options) { o.Bulk, o.Events = 0, 0 },
	func(o *plan.Options) { o.Drop, o.Dup = 0, 0 },
	func(o *plan.Options) { o.Delay.Tail, o.Sync.Tail = 0, 0 },
	func(o *plan.Options) { o.Sync = dice.Delay{} },
	func(o *plan.Options) { o.MaxDrift = 0 },
	func(o *plan.Options) { o.Codec, o.LeaseReads, o.Revive = false, false, false },
	func(o *plan.Options) { o.Mode = plan.Safety },
	func(o *plan.Options) {
		o.Nodes = max(o.Nodes-2, min(o.Nodes, 3))
		o.Voters = min(o.Voters, o.Nodes)
		o.Strikes = slices.DeleteFunc(slices.Clone(o.Strikes), func(s plan.Strike) bool { return s.A >= o.Nodes || s.B >= o.Nodes })
	},
	func(o *plan.Options) {
		o.Strikes = slices.Clone(o.Strikes)
		for i := range o.Strikes {
			o.Strikes[i].Last /= 2
		}
	},
	func(o *plan.Options) { o.Faults = nil }, // they say only what could have struck
}

// rounds bounds how often one way is gone before others are.
const rounds = 4

// simplify takes from the run what it does not need to fail.
func (m *minimiser) simplify() (changed bool) {
	for _, less := range simpler {
		for range rounds {
			o := m.o
			less(&o)
			if same(&o, &m.o) || !m.try(o) {
				break
			}
			changed = true
		}
	}
	return changed
}

// same reports whether two runs are alike, as they are written down.
func same(a, b *plan.Options) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

// Write puts c into a file that is named like it, and returns its path.
func (c *Case) Write(dir, name string) (string, error) {
	b, err := json.MarshalIndent(c, "", "\t")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name+".json")
	return path, os.WriteFile(path, append(b, '\n'), 0o644)
}

// Read returns the cases in a directory by the names of their files, which is not to be
// empty.
func Read(dir string) (map[string]Case, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("there is no case in %s", dir)
	}
	out := make(map[string]Case, len(files))
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var c Case
		if err := json.Unmarshal(b, &c); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		out[filepath.Base(path)] = c
	}
	return out, nil
}
