// Package check judges a run by its history and by the log that the cluster decided.
//
// The first verdict is the certificate. Every answer carries a revision, so the log
// gives one order of all that happened; it is replayed through the lock machine and
// through package model, and each answer must be the one of its place in that order
// ("effects", "answers", "reads", "machine"), and the order must not contradict the
// clock of the harness ("real-time"). That takes linear time, is never undecided, and
// proves the history linearizable: the order is a linearization. The second verdict,
// by package linear, knows no log.
//
// Beside them: agreement between the nodes, the seven properties of locks (L1 to L7),
// what watchers were told, and whether anything happened in the run at all ("guards").
package check

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/prytany/prytany/jepsen/decided"
	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/linear"
	"github.com/prytany/prytany/jepsen/ops"
	"github.com/prytany/prytany/jepsen/verdict"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos"
)

// A Machine is what the log is replayed through.
type Machine interface {
	Apply(slot paxos.Slot, cmd []byte, now time.Duration) []byte
	View(f func(locks.View))
}

// Options of [Run]. The zero Options are those of a real run.
type Options struct {
	// Failover is how long it may take after the last fault until the cluster serves
	// again. 0 means 5 s.
	Failover time.Duration
	// MinBefore and MinAfter are the calls that must have been answered before the
	// first fault and after the last. 0 means 150 and 20.
	MinBefore, MinAfter int
	// Patience is for each partition of the second verdict. 0 means 10 s.
	Patience time.Duration
	// Steps bound the search in each partition, too, and on every machine in the same
	// way. 0 means that they do not.
	Steps int
	// NewMachine makes the machine that the log is replayed through; nil means the one
	// of this program.
	NewMachine func() Machine
}

func (o Options) withDefaults() Options {
	o.Failover = cmp.Or(o.Failover, 5*time.Second)
	o.MinBefore, o.MinAfter = cmp.Or(o.MinBefore, 150), cmp.Or(o.MinAfter, 20)
	o.Patience = cmp.Or(o.Patience, 10*time.Second)
	if o.NewMachine == nil {
		o.NewMachine = func() Machine { return locks.NewMachine() }
	}
	return o
}

// Run judges a run. log is nil if there is none: the certificate is undecided then.
func Run(h *ops.History, log *decided.Log, opts Options) *verdict.Verdict {
	opts = opts.withDefaults()
	v := &verdict.Verdict{Run: h.Run, Counts: counts(h)}
	v.Checks = append(v.Checks, record(h), guards(h, opts))
	f := &facts{h: h, opts: opts, paused: touched(h, history.IsPause), wild: touched(h, history.IsWild)}
	v.Checks = append(v.Checks, certify(f, log)...)
	second, files := linear.Check(h, linear.Options{Patience: opts.Patience, Steps: opts.Steps, Wild: f.wild})
	v.Checks = append(v.Checks, second...)
	v.Beside = files
	v.Checks = append(v.Checks, f.exclusion(), f.tokens(), f.fenced(), f.early(), f.beliefs(), f.released(), f.definite())
	v.Checks = append(v.Checks, f.watches())
	v.Lost = f.lost
	v.Close()
	return v
}

// touched reports whether a fault of a kind was part of the run.
func touched(h *ops.History, kind func(string) bool) bool {
	return slices.ContainsFunc(h.Faults, func(e history.Event) bool { return kind(e.Fault) }) ||
		slices.ContainsFunc(h.Run.Faults, kind)
}

// about is o for a breach.
func about(o *ops.Op) verdict.About { return verdict.About{Text: o.String(), Line: o.Seq} }

func counts(h *ops.History) map[string]int64 {
	n := map[string]int64{"calls": int64(len(h.Ops)), "watched": int64(len(h.Watched)), "faults": int64(len(h.Windows()))}
	for _, o := range h.Ops {
		n[string(o.Kind)]++
	}
	return n
}

// facts are what several checks know of a run.
type facts struct {
	h      *ops.History
	opts   Options
	paused bool // processes were stopped for a while
	wild   bool // clocks were made to misbehave

	log     *decided.Log    // nil if there is none, or it is of no use
	final   bool            // what is not in the log has never happened
	changes []*locks.Change // what the commands of the log did
	opened  map[string]uint64
	dead    map[string]uint64 // sessions: revision of their end
	expired map[string]bool   // of these, by their leases
	grants  map[grant]*span
	breach  []breach       // of exclusion
	oldest  uint64         // revision from which on events are still kept
	points  []point        // of calls that have a place in the log
	lost    int64          // updates without fences
	free    map[string]int // locks that are free in the end, and how many wait for each

	known   []moment // for knownBy: times rise, and so do revisions
	unknown []moment // for notYet: revisions rise, and so do times
}

// A grant of a lock.
type grant struct {
	lock    string
	fence   uint64
	session string
}

// A span is from when to when, in revisions; to is 0 if it goes on.
type span struct{ from, to uint64 }

// A breach of L1.
type breach struct {
	revision uint64
	text     string
}

// A point is the place of a call in the order of the log: a change has one revision,
// a read has seen a state from one revision to another.
type point struct {
	op     *ops.Op
	lo, hi uint64
	change bool
}

type moment struct {
	at       time.Duration
	revision uint64
}

// settle prepares what is known about when things had happened.
func (f *facts) settle() {
	for _, p := range f.points {
		if p.op.End != ops.Never {
			f.known = append(f.known, moment{p.op.End, p.lo})
		}
		if p.op.Answered() {
			f.unknown = append(f.unknown, moment{p.op.Call, p.hi})
		}
	}
	for i := range f.h.Watched {
		e := &f.h.Watched[i]
		if r, err := history.Decode[history.WatchResult](e.Result); err == nil && e.Kind == history.OK {
			f.known = append(f.known, moment{e.At, r.Revision})
		}
	}
	slices.SortStableFunc(f.known, func(a, b moment) int { return cmp.Compare(a.at, b.at) })
	for i := 1; i < len(f.known); i++ {
		f.known[i].revision = max(f.known[i].revision, f.known[i-1].revision)
	}
	slices.SortStableFunc(f.unknown, func(a, b moment) int { return cmp.Compare(a.revision, b.revision) })
	for i := 1; i < len(f.unknown); i++ {
		f.unknown[i].at = max(f.unknown[i].at, f.unknown[i-1].at)
	}
}

// knownBy returns the time at which somebody was first told of a state with a
// revision: by then it had happened.
func (f *facts) knownBy(revision uint64) (time.Duration, bool) {
	i := sort.Search(len(f.known), func(i int) bool { return f.known[i].revision >= revision })
	if i == len(f.known) {
		return 0, false
	}
	return f.known[i].at, true
}

// notYet returns the latest time at which a revision had certainly not happened: a
// call that began then came before it.
func (f *facts) notYet(revision uint64) (time.Duration, bool) {
	i := sort.Search(len(f.unknown), func(i int) bool { return f.unknown[i].revision >= revision })
	if i == 0 {
		return 0, false
	}
	return f.unknown[i-1].at, true
}

// heal returns when the last fault was over, 0 if there was none.
func (f *facts) heal() (at time.Duration) {
	for _, w := range f.h.Windows() {
		at = max(at, w.End)
	}
	return at
}

// record says whether the history is one at all.
func record(h *ops.History) *verdict.Check {
	c := verdict.New("record", "the history is well formed")
	for _, p := range h.Problems {
		c.Fail(p.Text, verdict.About{Text: fmt.Sprintf("line %d", p.Seq), Line: p.Seq})
	}
	values := map[string]*ops.Op{}
	for _, o := range h.Ops {
		if a, err := history.Decode[history.PutArgs](o.Args); o.F == history.Put && err == nil {
			if before := values[a.Value]; before != nil {
				c.Fail("a value is put twice: nobody can tell who wrote it", about(before), about(o))
			}
			values[a.Value] = o
		}
	}
	if c.Outcome == verdict.Failed {
		c.Outcome = verdict.Rejected // it says nothing about the service
	}
	return c
}

// guards says whether enough happened for the other checks to mean anything.
func guards(h *ops.History, opts Options) *verdict.Check {
	c := verdict.New("guards", "enough has happened: calls before the first fault, faults, calls after the last")
	windows := h.Windows()
	first, last, planned, whole := h.Until, time.Duration(0), 0, 0
	for _, w := range windows {
		if w.Name == history.MachinePause {
			continue // it comes when it likes
		}
		first, last = min(first, w.Begin), max(last, w.End)
		planned++
		if w.Ended {
			whole++
		}
	}
	var before, after int64
	for _, o := range h.Ops {
		if o.Service() && o.Answered() {
			if o.End <= first {
				before++
			}
			if o.Call >= last {
				after++
			}
		}
	}
	c.Counts["before"], c.Counts["after"], c.Counts["faults"] = before, after, int64(whole)
	reject := func(bad bool, format string, args ...any) {
		if bad {
			c.Outcome = verdict.Rejected
			c.Say(format, args...)
		}
	}
	reject(!h.Complete, "the history has no end: the run was cut off")
	reject(before < int64(opts.MinBefore), "%d calls were answered before the first fault; want %d", before, opts.MinBefore)
	reject(after < int64(opts.MinAfter), "%d calls that began after the last fault were answered; want %d", after, opts.MinAfter)
	reject(len(h.Run.Faults) > 0 && whole == 0, "faults were asked for (%v), and none was begun and ended", h.Run.Faults)
	reject(whole < planned, "%d faults were never ended: nothing was quiet at the end", planned-whole)
	return c
}
