package check

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/jepsen/decided"
	"github.com/prytany/prytany/jepsen/forge"
	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/ops"
	"github.com/prytany/prytany/jepsen/verdict"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos"
)

// numbered gives the lines of a changed history their numbers anew.
func numbered(events []history.Event) []history.Event {
	for i := range events {
		events[i].Seq = uint64(i + 1)
	}
	return events
}

// find returns the n-th event that is so.
func find(t *testing.T, events []history.Event, n int, is func(e *history.Event) bool) int {
	t.Helper()
	for i := range events {
		if is(&events[i]) {
			if n--; n == 0 {
				return i
			}
		}
	}
	t.Fatal("there is no such event")
	return 0
}

func aPut(e *history.Event) bool {
	r, ok := e.Result.(history.WatchResult)
	return e.F == history.Watched && ok && r.Type == "put"
}

// broken are changes of a good run after which a check must say so.
var broken = []struct {
	name, check string
	want        verdict.Outcome
	text        string // in what is said
	change      func(t *testing.T, r *forge.Run)
}{
	{"watch gap", "watch", verdict.Failed, "comes before it", func(t *testing.T, r *forge.Run) {
		i := find(t, r.Events, 20, aPut)
		r.Events = slices.Delete(r.Events, i, i+1)
	}},
	{"watch duplicate", "watch", verdict.Failed, "told before", func(t *testing.T, r *forge.Run) {
		i := find(t, r.Events, 20, aPut)
		r.Events = slices.Insert(r.Events, i+1, r.Events[i])
	}},
	{"watch resumes too late", "watch", verdict.Failed, "went on from", func(t *testing.T, r *forge.Run) {
		i := find(t, r.Events, 1, func(e *history.Event) bool { return e.F == history.Watched && e.Kind == history.Info })
		p := r.Events[i].Process
		for j := i + 1; j < len(r.Events); j++ {
			if e := &r.Events[j]; e.F == history.Watched && e.Process == p {
				a := e.Args.(history.WatchArgs)
				a.From += 5
				e.Args = a
			}
		}
	}},
	{"watch refused for nothing", "watch", verdict.Failed, "no longer kept", func(t *testing.T, r *forge.Run) {
		i := find(t, r.Events, 20, aPut)
		r.Events[i].Kind, r.Events[i].Code, r.Events[i].Result = history.Fail, "compacted", nil
	}},
	{"two values in a slot", "agreement", verdict.Failed, "has decided", func(_ *testing.T, r *forge.Run) {
		r.Nodes[1].Votes = slices.Clone(r.Nodes[1].Votes)
		r.Nodes[1].Votes[40].Value = r.Nodes[1].Votes[41].Value
	}},
	{"two values in a ballot", "agreement", verdict.Failed, "in ballot", func(_ *testing.T, r *forge.Run) {
		for i := range r.Nodes { // nobody knows what is chosen at the end
			r.Nodes[i].Votes = slices.Clone(r.Nodes[i].Votes)
			last := &r.Nodes[i].Votes[len(r.Nodes[i].Votes)-1]
			last.Chosen = false
			r.Nodes[i].Decided = last.Slot - 1
		}
		last := &r.Nodes[1].Votes[len(r.Nodes[1].Votes)-1]
		last.Value = r.Nodes[1].Votes[0].Value
	}},
	{"a vote is missing", "agreement", verdict.Failed, "has no vote", func(_ *testing.T, r *forge.Run) {
		r.Nodes[1].Votes = slices.Delete(slices.Clone(r.Nodes[1].Votes), 9, 10)
	}},
	{"snapshots", "answers", verdict.Undecided, "take no snapshots", func(_ *testing.T, r *forge.Run) {
		for i := range r.Nodes {
			r.Nodes[i].Snapshot, r.Nodes[i].Votes = 100, r.Nodes[i].Votes[99:]
		}
	}},
	{"one node of three", "effects", verdict.Undecided, "majority", func(_ *testing.T, r *forge.Run) {
		r.Nodes = r.Nodes[:1]
	}},
	{"an effect before its call", "real-time", verdict.Failed, "was answered before", func(t *testing.T, r *forge.Run) {
		i := find(t, r.Events, 30, func(e *history.Event) bool { return e.Kind == history.OK && e.F == history.Put })
		op := r.Events[i].Op
		j := find(t, r.Events, 1, func(e *history.Event) bool { return e.Kind == history.Invoke && e.Op == op })
		at := r.Events[i].At
		e := r.Events[j]
		e.At, e.Process = at+400*time.Millisecond, 9999
		end := r.Events[i]
		end.At, end.Process = at+401*time.Millisecond, 9999
		r.Events = slices.Delete(slices.Delete(r.Events, i, i+1), j, j+1)
		k := find(t, r.Events, 1, func(e *history.Event) bool { return e.At > end.At })
		r.Events = slices.Insert(r.Events, k, e, end)
	}},
	{"beliefs overlap", "L5-belief", verdict.Failed, "by its own clock", overlap},
	{"beliefs overlap beside a pause", "L5-belief", verdict.Passed, "only counted", func(t *testing.T, r *forge.Run) {
		overlap(t, r)
		r.Plan.Faults = append(r.Plan.Faults, "pause-client")
	}},
	{"no end", "guards", verdict.Rejected, "has no end", func(_ *testing.T, r *forge.Run) {
		r.Events = r.Events[:len(r.Events)-1]
	}},
	{"no calls", "guards", verdict.Rejected, "want 150", func(_ *testing.T, r *forge.Run) {
		r.Events = slices.DeleteFunc(r.Events, func(e history.Event) bool { return e.Op != 0 })
	}},
	{"a fault that does not end", "guards", verdict.Rejected, "never ended", func(_ *testing.T, r *forge.Run) {
		r.Events = slices.DeleteFunc(r.Events, func(e history.Event) bool { return e.Phase == "end" && e.Fault == "loss" })
	}},
	{"two calls of a process", "record", verdict.Rejected, "is under way", func(t *testing.T, r *forge.Run) {
		i := find(t, r.Events, 50, func(e *history.Event) bool { return e.Kind == history.OK && e.F == history.Get })
		r.Events = slices.Delete(r.Events, i, i+1)
	}},
	{"a value put twice", "record", verdict.Rejected, "put twice", func(t *testing.T, r *forge.Run) {
		put := func(e *history.Event) bool { return e.Kind == history.Invoke && e.F == history.Put }
		i, j := find(t, r.Events, 5, put), find(t, r.Events, 6, put)
		r.Events[j].Args = r.Events[i].Args
	}},
	{"the machine stands still", "guards", verdict.Passed, "", func(_ *testing.T, r *forge.Run) {
		r.Events = slices.Insert(r.Events, 5, history.Event{Kind: history.Fault, Fault: history.MachinePause, Phase: "begin"},
			history.Event{Kind: history.Fault, Fault: history.MachinePause, Phase: "end"})
	}},
	{"the machine stands still after the last call", "guards", verdict.Passed, "", func(_ *testing.T, r *forge.Run) {
		i := len(r.Events) - 1
		at := r.Events[i].At
		r.Events = slices.Insert(r.Events, i, history.Event{Kind: history.Fault, At: at, Fault: history.MachinePause, Phase: "begin"},
			history.Event{Kind: history.Fault, At: at, Fault: history.MachinePause, Phase: "end"})
	}},
	{"sessions that outlive a standstill", "L6-eventual-release", verdict.None, "left alone", func(_ *testing.T, r *forge.Run) {
		// It lasts to the end: nothing is due then.
		at := r.Events[len(r.Events)-1].At
		r.Events = slices.Insert(r.Events, len(r.Events)-1, history.Event{Kind: history.Fault, At: at, Fault: history.MachinePause})
	}},
	{"wild clocks", "L4-no-early-expiry", verdict.Passed, "nothing is promised", func(_ *testing.T, r *forge.Run) {
		r.Plan.Faults = append(r.Plan.Faults, "clock-rate")
	}},
}

// overlap lets a belief go on beside that of the next holder.
func overlap(t *testing.T, r *forge.Run) {
	i := find(t, r.Events, 20, func(e *history.Event) bool {
		return e.Kind == history.OK && e.F == history.Belief && strings.HasPrefix(e.Key, "lock-b")
	})
	e := r.Events[i]
	r.Events = slices.Delete(r.Events, i, i+1)
	next := find(t, r.Events[i:], 1, func(n *history.Event) bool {
		return n.F == history.Belief && n.Kind == history.Invoke && n.Key == e.Key && n.Session != e.Session
	})
	e.At = r.Events[i+next].At + time.Microsecond
	r.Events = slices.Insert(r.Events, i+next+1, e)
}

func TestBrokenRuns(t *testing.T) {
	for _, tt := range broken {
		t.Run(tt.name, func(t *testing.T) {
			r := forge.Make(forge.Options{Seed: 3})
			tt.change(t, &r)
			r.Plan.Version = history.Version
			v := judge(forge.Run{Plan: r.Plan, Events: numbered(r.Events), Nodes: r.Nodes}, quick)
			c := v.Check(tt.check)
			said := c.Detail
			for _, o := range c.Offenders {
				said += " " + o.Text
			}
			if c.Outcome != tt.want || !strings.Contains(said, tt.text) {
				t.Errorf("%s is %s: %s; want %s, because of %q", tt.check, c.Outcome, said, tt.want, tt.text)
			}
		})
	}
}

// A rewriter is a machine to which commands come changed.
type rewriter struct {
	*locks.Machine
	change func(locks.Command) locks.Command
}

func (m rewriter) Apply(slot paxos.Slot, cmd []byte, now time.Duration) []byte {
	if c, err := locks.Decode(cmd); err == nil {
		if c = m.change(c); c != nil {
			cmd = locks.Encode(c)
		}
	}
	return m.Machine.Apply(slot, cmd, now)
}

// TestMachineThatErrs replays a good log through machines with bugs: the model must
// not follow them.
func TestMachineThatErrs(t *testing.T) {
	for name, tt := range map[string]struct {
		check  string
		change func(locks.Command) locks.Command
	}{
		"forgets requests": {"effects", func(c locks.Command) locks.Command {
			if p, ok := c.(*locks.PutCommand); ok {
				p.Request = locks.Request{}
			}
			return c
		}},
		"lets everybody share": {"machine", func(c locks.Command) locks.Command {
			if a, ok := c.(*locks.AcquireCommand); ok && !a.Campaign && a.Slots <= 1 {
				a.Shared = true
			}
			return c
		}},
		"does not expire": {"machine", func(c locks.Command) locks.Command {
			if _, ok := c.(*locks.ExpireCommand); ok {
				return &locks.ForgetCommand{}
			}
			return c
		}},
		"releases for anybody": {"machine", func(c locks.Command) locks.Command {
			if r, ok := c.(*locks.ReleaseCommand); ok {
				r.Force, r.Fence, r.Session = true, 0, ""
			}
			return c
		}},
		"ignores conditions": {"machine", func(c locks.Command) locks.Command {
			if p, ok := c.(*locks.PutCommand); ok {
				p.IfRevision = nil
			}
			return c
		}},
	} {
		t.Run(name, func(t *testing.T) {
			o := quick
			o.NewMachine = func() Machine { return rewriter{locks.NewMachine(), tt.change} }
			v := judge(forge.Make(forge.Options{Seed: 4}), o)
			if c := v.Check(tt.check); c.Outcome != verdict.Failed {
				t.Errorf("%s is %s:\n%s", tt.check, c.Outcome, text(v))
			}
		})
	}
}

// TestExclusion gives the events of two commands to L1.
func TestExclusion(t *testing.T) {
	lock := func(session string, fence uint64) locks.Event {
		return locks.Event{Type: locks.EventLock, Name: "a", Session: session, Fence: fence}
	}
	over := locks.Event{Type: locks.EventSession, Name: "x", Session: "x", Reason: "expired"}
	unlock := locks.Event{Type: locks.EventUnlock, Name: "a", Session: "x", Fence: 1}
	for name, tt := range map[string]struct {
		events [][]locks.Event
		want   int
	}{
		"one after another":         {[][]locks.Event{{lock("x", 1)}, {unlock, lock("y", 2)}}, 0},
		"two holders":               {[][]locks.Event{{lock("x", 1)}, {lock("y", 2)}}, 1},
		"a dead holder":             {[][]locks.Event{{lock("x", 1)}, {over}}, 1},
		"a session ends with all":   {[][]locks.Event{{lock("x", 1)}, {over, unlock, lock("y", 2)}}, 0},
		"a grant to a dead session": {[][]locks.Event{{over}, {lock("x", 2)}}, 1},
	} {
		p := &proof{
			facts:   &facts{opened: map[string]uint64{}, dead: map[string]uint64{}, expired: map[string]bool{}, grants: map[grant]*span{}, log: &decided.Log{}},
			holders: map[string][]locks.Event{}, m: locks.NewMachine(),
		}
		for i, events := range tt.events {
			for j := range events {
				p.event(&events[j], uint64(i+1))
			}
			for j := range events {
				p.exclusive(&events[j], uint64(i+1))
			}
		}
		if c := p.exclusion(); len(p.breach) != tt.want || (c.Outcome == verdict.Failed) != (tt.want > 0) {
			t.Errorf("%s: %v; want %d breaches", name, p.breach, tt.want)
		}
	}
}

func TestWithoutALog(t *testing.T) {
	r := forge.Make(forge.Options{Seed: 5})
	v := Run(ops.Pair(r.Plan, r.Events), nil, quick)
	if v.Outcome != verdict.Undecided || v.Exit != verdict.ExitUndecided {
		t.Errorf("without a log the verdict is %s:\n%s", v.Outcome, text(v))
	}
}

// TestWithoutRevisions judges a run whose answers name slots alone.
func TestWithoutRevisions(t *testing.T) {
	for seed := range uint64(5) {
		r := forge.Make(forge.Options{Seed: seed})
		for i := range r.Events {
			r.Events[i].Revision = 0
		}
		if v := judge(r, quick); v.Outcome != verdict.Passed {
			t.Errorf("seed %d:\n%s", seed, text(v))
		}
		r = forge.Make(forge.Options{Seed: seed, Bug: forge.ReadIndexReused})
		for i := range r.Events {
			r.Events[i].Revision = 0
		}
		if v := judge(r, quick); v.Check("real-time").Outcome != verdict.Failed {
			t.Errorf("seed %d: a stale read is not found by its slot:\n%s", seed, text(v))
		}
	}
}

// TestUndecidedIsNoPass gives the search a single step.
func TestUndecidedIsNoPass(t *testing.T) {
	r := forge.Make(forge.Options{Seed: 5})
	v := Run(ops.Pair(r.Plan, r.Events), decided.Merge(r.Nodes), Options{Patience: time.Minute, Steps: 1, Failover: time.Second})
	if c := v.Check("linear-registers"); c.Outcome != verdict.Undecided || v.Outcome != verdict.Undecided {
		t.Errorf("a search that is broken off is %s, and the verdict %s", c.Outcome, v.Outcome)
	}
}
