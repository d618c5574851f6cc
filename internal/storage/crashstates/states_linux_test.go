package crashstates

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/crashfs"
	"github.com/prytany/prytany/internal/ledger"
	"github.com/prytany/prytany/internal/storage"
)

var (
	from  = flag.Uint64("from", 1, "first `seed` of the scripts")
	seeds = flag.Int("seeds", 0, "how many `scripts` for each kind of log; 0: as many as a test of all takes")
	into  = flag.String("ledger", "", "add what was tried to this `file`")
	steps = flag.Int("steps", 40, "`steps` of a script")
	most  = flag.Int("most", 0, "states that are tried of those before one sync, drawn; 0: 40, or all if -seeds is given")
)

var kinds = []string{storage.LogBolt, storage.LogAppend}

// needFUSE skips a test where nothing can be mounted. REQUIRE_FUSE=1 makes that an error.
func needFUSE(t *testing.T) {
	t.Helper()
	if err := crashfs.Probe(); err != nil {
		if os.Getenv("REQUIRE_FUSE") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// A walk goes through a recorded history and tries what crashes may leave.
type walk struct {
	judge
	r       *rand.Rand
	from    crashfs.Image // the file system at first
	promise promise       // at first
	// skip says whether the first of these operations is as if it had not been.
	skip   func(*crashfs.Disk, []crashfs.Op) bool
	most   int                                // states of one point
	deeper func(crashfs.Image, promise) error // every so often

	points, full, tried, again int
	seen                       map[[2]uint64]bool
}

// A bad is a state that may not be.
type bad struct {
	where string
	what  string
	why   error
}

func (b *bad) Error() string { return fmt.Sprintf("%s: %v\n%s", b.where, b.why, b.what) }

// run goes through ops. Error: the first bad state.
func (w *walk) run(ops []crashfs.Op) error {
	d := crashfs.NewDisk(w.from)
	p := w.promise
	for i, op := range ops {
		switch {
		case op.Kind == crashfs.Mark:
			var m mark
			if err := json.Unmarshal(op.Data, &m); err != nil {
				return err
			}
			if w.promise.done >= 0 {
				continue // the marks are of an opening after the crash
			}
			if m.Done {
				p = promise{done: m.Step, under: -1, node: m.Node, position: m.Position}
			} else {
				p.under = m.Step
			}
			continue
		case w.skip != nil && w.skip(d, ops[i:]):
			continue
		case op.Kind == crashfs.Sync || op.Kind == crashfs.SyncDir:
			if err := w.point(d, p, fmt.Sprintf("before operation %d, %s", i, op.Kind)); err != nil {
				return err
			}
		}
		if _, errno := d.Do(op); errno != 0 {
			return fmt.Errorf("operation %d, %+v: %w", i, op, errno)
		}
	}
	return w.point(d, p, "at the end")
}

// point tries the states of one moment, that were not tried before with the same promise.
func (w *walk) point(d *crashfs.Disk, p promise, where string) error {
	all, full := d.States(w.r)
	w.points++
	if full {
		w.full++
	}
	var states []crashfs.State
	for s := range all {
		key := [2]uint64{s.Image.Sum(), uint64(p.done+1)<<32 | uint64(p.under+1)}
		if w.seen[key] {
			w.again++
			continue
		}
		w.seen[key] = true
		states = append(states, s)
	}
	if w.most > 0 && len(states) > w.most {
		w.r.Shuffle(len(states), func(i, j int) { states[i], states[j] = states[j], states[i] })
		states = states[:w.most]
	}
	for _, s := range states {
		w.tried++
		err := w.try(s.Image, p)
		if err == nil && w.deeper != nil && w.tried%w.every() == 0 {
			err = w.deeper(s.Image, p)
		}
		if err != nil {
			under := "nothing"
			if p.under >= 0 {
				under = w.steps[p.under].name
			}
			return &bad{fmt.Sprintf("%s, after step %d, during %s", where, p.done, under), s.What(), err}
		}
	}
	return nil
}

// every is of how many states the opening of one is recorded.
func (w *walk) every() int { return 150 }

func newWalk(t *testing.T, is task) *walk {
	t.Helper()
	return &walk{
		judge: judge{steps: is.script(), opts: options(is.Kind), dir: scratch(t)},
		r:     rand.New(rand.NewPCG(is.Seed, 3)), from: crashfs.NewImage(), promise: promise{done: -1, under: -1}, seen: map[[2]uint64]bool{},
	}
}

// enough is how many states a test of all opens at least.
const enough = 20_000

// note adds the scripts of a kind of log to the ledger, if there is one.
func note(t *testing.T, kind string, scripts, states, deep int) {
	t.Helper()
	if *into == "" {
		return
	}
	failed := int64(0)
	if t.Failed() {
		failed = 1 // at least
	}
	if err := ledger.Add(*into, ledger.Row{
		Campaign: "crash states, " + kind, From: *from, Runs: int64(scripts), Failed: failed,
		Did: map[string]int64{"states": int64(states), "states of openings that were cut off": int64(deep)},
	}); err != nil {
		t.Error(err)
	}
}

// TestCrashStates tries what crashes may leave of whole scripts, and of openings after
// crashes.
func TestCrashStates(t *testing.T) {
	needFUSE(t)
	n, cap := *seeds, *most
	if n == 0 {
		n = 5
		if cap == 0 {
			cap = 40
		}
		if testing.Short() {
			n = 1
		}
	}
	opened := 0
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			total := walk{}
			deep, begin := 0, time.Now()
			defer func() { note(t, kind, n, total.tried, deep) }() // also when it ends early
			for seed := *from; seed < *from+uint64(n); seed++ {
				is := task{Kind: kind, Seed: seed, Steps: *steps}
				w := newWalk(t, is)
				w.most = cap
				w.deeper = func(m crashfs.Image, p promise) error {
					inner := newWalk(t, is)
					inner.from, inner.promise, inner.most = m, p, 25
					err := inner.run(record(t, task{Kind: kind}, m))
					deep += inner.tried
					if err != nil {
						return fmt.Errorf("a crash within the opening: %w", err)
					}
					return nil
				}
				if err := w.run(record(t, is, crashfs.NewImage())); err != nil {
					var b *bad
					if errors.As(err, &b) {
						t.Errorf("seed %d: %v", seed, err)
					} else {
						t.Fatalf("seed %d: %v", seed, err)
					}
				}
				t.Logf("seed %d: %d states of %d syncs", seed, w.tried, w.points)
				total.points, total.full, total.tried, total.again = total.points+w.points, total.full+w.full, total.tried+w.tried, total.again+w.again
			}
			t.Logf("%s: %d scripts, %d syncs, %d of them with so few changes before that all states were made; %d states opened, and %d of openings that were cut off; %d that came again; %v",
				kind, n, total.points, total.full, total.tried, deep, total.again, time.Since(begin).Round(time.Second))
			opened += total.tried + deep
			if least := 50 * n; total.full < least || total.tried < 10*least || deep < least {
				t.Errorf("%d syncs with all states, %d states, %d of openings: too few to tell anything", total.full, total.tried, deep)
			}
		})
	}
	if *seeds == 0 && !testing.Short() && opened < enough {
		t.Errorf("%d states were opened; want %d", opened, enough)
	}
}
