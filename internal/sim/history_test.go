package sim

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/prytany/prytany/internal/sim/audit"
	"github.com/prytany/prytany/internal/sim/workload"
	"github.com/prytany/prytany/locks"
)

// maxSteps bounds the search for a linearization of the history of one name, in the same
// way on every machine: most take a few hundred steps.
const maxSteps = 1_000_000

// A judge says which histories of one kind of object can be.
type judge struct {
	what  string
	model porcupine.Model
	// tells returns the name that p tells something about, "" if it does not.
	tells func(p *workload.Record) string
	// revised says that the model has all changes take effect in the order of their revisions.
	revised bool
}

var judges = []judge{
	{what: "key", model: register, revised: true, tells: func(p *workload.Record) string {
		switch p.Kind {
		case workload.Get, workload.Put, workload.CAS, workload.Delete:
			if !strings.HasPrefix(p.Name, "attached") { // it may go at any time
				return p.Name
			}
		}
		return ""
	}},
	{what: "group of keys", model: group, tells: only(workload.Txn, workload.Peek)},
	{what: "fence register", model: fences, tells: only(workload.Advance, workload.Forget, workload.Reading)},
	{what: "election", model: terms, tells: func(p *workload.Record) string {
		if strings.HasPrefix(p.Name, "seat") && termTold(p) {
			return p.Name
		}
		return ""
	}},
}

func only(kinds ...workload.Kind) func(*workload.Record) string {
	return func(p *workload.Record) string {
		for _, k := range kinds {
			if p.Kind == k {
				return p.Name
			}
		}
		return ""
	}
}

// checkHistory fails if what the clients saw cannot be.
func checkHistory(r Report) error {
	for _, j := range judges {
		byName := make(map[string][]porcupine.Operation)
		for i := range r.History.Ops {
			p := &r.History.Ops[i]
			name := j.tells(p)
			if name == "" || !p.Known && !p.Applied {
				continue // it has had no effect, and nobody was told anything
			}
			byName[name] = append(byName[name], recorded(p, p, r.Time))
		}
		if j.revised {
			for _, ops := range byName {
				inOrder(ops)
			}
		}
		if err := linearizable(j.what, j.model, byName); err != nil {
			return r.failure(err)
		}
	}
	if err := linearizable("lock", grants, sightings(r)); err != nil {
		return r.failure(err)
	}
	return nil
}

// recorded is p as porcupine wants it. What nobody was told may happen as late
// as at the end.
func recorded(p *workload.Record, input any, end time.Duration) porcupine.Operation {
	o := porcupine.Operation{ClientId: p.Client, Input: input, Call: int64(p.Call), Return: int64(p.Return)}
	if !p.Known {
		o.Return = int64(end) + 1
	}
	return o
}

// inOrder has each change return no later than one with a higher revision: it must take
// effect before that, so nothing is lost by it, and without it two dozen changes that nobody
// was told of, which may come as late as the end, are more than the search can try.
func inOrder(ops []porcupine.Operation) {
	revision := func(o *porcupine.Operation) uint64 { return o.Input.(*workload.Record).Result.Revision }
	changes := make([]*porcupine.Operation, 0, len(ops))
	for i := range ops {
		if revision(&ops[i]) > 0 {
			changes = append(changes, &ops[i])
		}
	}
	slices.SortFunc(changes, func(a, b *porcupine.Operation) int { return cmp.Compare(revision(b), revision(a)) })
	soonest, above := int64(math.MaxInt64), int64(math.MaxInt64) // of the revisions so far, and of those above this one
	for i, o := range changes {
		if i > 0 && revision(o) < revision(changes[i-1]) {
			above = soonest
		}
		soonest = min(soonest, o.Return)
		o.Return = max(o.Call, min(o.Return, above))
	}
}

// sightings returns what clients were told of who holds each lock.
func sightings(r Report) map[string][]porcupine.Operation {
	byLock := make(map[string][]porcupine.Operation)
	for i := range r.History.Ops {
		p := &r.History.Ops[i]
		// A writer that has become a reader, of which nobody heard, lets others in:
		// without it the next reader would say that the writer is gone.
		downgraded := p.Applied && p.Kind == workload.Acquire && p.Result.Shared
		if !p.Known && !downgraded {
			continue
		}
		for lock, s := range sighted(p) {
			byLock[lock] = append(byLock[lock], recorded(p, s, r.Time))
		}
	}
	return byLock
}

func (r *Report) failure(err error) error {
	return &Failure{Seed: r.Options.Seed, Mode: r.Options.Mode, Invariant: "history", Detail: err.Error(), At: r.Time}
}

// linearizable fails for a history that is not, and for one of which it could
// not be decided.
func linearizable(what string, m porcupine.Model, histories map[string][]porcupine.Operation) error {
	for name, ops := range histories {
		switch search(m, ops, maxSteps) {
		case porcupine.Illegal:
			return fmt.Errorf("the history of %s %s is not linearizable:%s", what, name, describe(ops))
		case porcupine.Unknown:
			return fmt.Errorf("the history of %s %s (%d operations) could not be decided in %d steps", what, name, len(ops), maxSteps)
		}
	}
	return nil
}

// search looks for a linearization of ops. After so many steps none is possible, so that it
// soon ends: that none was found means nothing then.
func search(m porcupine.Model, ops []porcupine.Operation, most int) porcupine.CheckResult {
	step, steps := m.Step, 0
	m.Step = func(state, input, output any) (bool, any) {
		if steps++; steps > most {
			return false, state
		}
		return step(state, input, output)
	}
	switch {
	case porcupine.CheckOperations(m, ops):
		return porcupine.Ok
	case steps > most:
		return porcupine.Unknown
	}
	return porcupine.Illegal
}

func describe(ops []porcupine.Operation) string {
	var b strings.Builder
	for _, o := range ops[max(0, len(ops)-40):] {
		fmt.Fprintf(&b, "\n  [%v, %v] client %d", time.Duration(o.Call), time.Duration(o.Return), o.ClientId+1)
		if p, ok := o.Input.(*workload.Record); ok {
			fmt.Fprintf(&b, " %s %v %+v: %+v %+v", p.ID, p.Kind, p.Command, p.Result, p.Seen)
		} else {
			fmt.Fprintf(&b, " %+v", o.Input)
		}
	}
	return b.String()
}

// TestSearchIsBounded shows that a search takes as many steps as it must and no more.
func TestSearchIsBounded(t *testing.T) {
	history := func(inputs ...any) (ops []porcupine.Operation) {
		for i, in := range inputs {
			ops = append(ops, porcupine.Operation{ClientId: i, Input: in, Call: int64(10 * i), Return: int64(10*i + 5)})
		}
		return ops
	}
	good, bad := history(put("a", 5), get("a", 5)), history(put("a", 5), get("b", 5))
	for _, tt := range []struct {
		ops  []porcupine.Operation
		most int
		want porcupine.CheckResult
	}{{good, 2, porcupine.Ok}, {good, 1, porcupine.Unknown}, {bad, 2, porcupine.Illegal}, {bad, 1, porcupine.Unknown}} {
		if got := search(register, tt.ops, tt.most); got != tt.want {
			t.Errorf("%d steps: %s, want %s", tt.most, got, tt.want)
		}
	}
}

// TestInOrder shows how late changes may be, by their revisions.
func TestInOrder(t *testing.T) {
	at := func(call, ret int64, revision uint64) porcupine.Operation {
		return porcupine.Operation{Input: put("a", revision), Call: call, Return: ret}
	}
	ops := []porcupine.Operation{at(10, 100, 7), at(12, 100, 5), at(15, 30, 7), at(20, 40, 8), at(50, 90, 6), at(1, 100, 0)}
	inOrder(ops)
	for i, want := range []int64{40, 30, 30, 40, 50, 100} {
		if ops[i].Return != want {
			t.Errorf("change %d returns at %d, want %d", i, ops[i].Return, want)
		}
	}
}

func TestModelsRefuseBadHistories(t *testing.T) {
	for _, tt := range badHistories {
		var ops []porcupine.Operation
		for i, in := range tt.ops {
			call, ret := int64(10*i), int64(10*i+5)
			if tt.concurrent {
				call, ret = 0, 100
			}
			ops = append(ops, porcupine.Operation{ClientId: i, Input: in, Call: call, Return: ret})
		}
		if got := porcupine.CheckOperations(tt.model, ops); got != tt.want {
			t.Errorf("%s: linearizable = %v, want %v", tt.name, got, tt.want)
		}
	}
}

// badHistories are histories of which the models must say whether they can be.
var badHistories = []struct {
	name       string
	model      porcupine.Model
	ops        []any
	concurrent bool
	want       bool
}{
	{"read after write", register, []any{put("a", 5), get("a", 5)}, false, true},
	{"stale read", register, []any{put("a", 5), put("b", 6), get("a", 5)}, false, false},
	{"concurrent writes", register, []any{put("a", 6), put("b", 5), get("a", 6)}, true, true},
	{"revision falls", register, []any{put("a", 6), put("b", 5)}, false, false},
	{"a deletion before what it deletes", register, []any{put("a", 5), del(4), get("", 0)}, false, false},
	{"a deletion", register, []any{put("a", 5), del(6), get("", 0), put("b", 7)}, false, true},
	{"a refusal of long ago", register, []any{put("a", 5), put("b", 7), refused(1, 6, 7)}, false, false},
	{"a refusal", register, []any{put("a", 5), put("b", 7), refused(1, 8, 7)}, false, true},
	{"lost write", register, []any{put("a", 5), get("", 0)}, false, false},
	{"two transactions", group, []any{txn(5, 0), txn(6, 5)}, false, true},
	{"a transaction that others were before", group, []any{txn(5, 0), txn(6, 0)}, false, false},
	{"half a transaction", group, []any{txn(5, 0), peek(5, 0)}, false, false},
	{"a whole transaction", group, []any{txn(5, 0), peek(5, 5)}, false, true},
	{"fences rise", fences, []any{advance(3, true, 0), advance(3, true, 0), advance(2, false, 3)}, false, true},
	{"fences fall", fences, []any{advance(3, true, 0), advance(2, true, 0)}, false, false},
	{"a fence is refused for nothing", fences, []any{advance(3, true, 0), advance(4, false, 3)}, false, false},
	{"a leader proclaims", terms, []any{campaigns("x", 3, "a"), proclaim("x", 3, "b"), leads("x", 3, "b", 4)}, false, true},
	{"a proclamation is lost", terms, []any{campaigns("x", 3, "a"), proclaim("x", 3, "b"), leads("x", 3, "a", 4)}, false, false},
	{"a term comes back", terms, []any{campaigns("x", 3, "a"), campaigns("y", 5, "b"), proclaim("x", 3, "c")}, false, false},
	{"grants one after another", grants, []any{one("x", 3), one("y", 4)}, false, true},
	{"fence falls", grants, []any{one("x", 4), one("y", 3)}, false, false},
	{"two holders", grants, []any{one("x", 4), one("y", 4)}, false, false},
	{"released grant comes back", grants, []any{one("x", 4), gone("x", 4), one("x", 4)}, false, false},
	{"readers share", grants, []any{reader("x", 3), reader("y", 3), reader("x", 3)}, false, true},
	{"a reader beside a writer", grants, []any{reader("x", 3), one("y", 4), reader("x", 3)}, false, false},
	{"a downgrade", grants, []any{one("x", 3), reader("x", 3), reader("y", 5), reader("x", 3)}, false, true},
	{"an upgrade with its old fence", grants, []any{reader("x", 3), reader("y", 4), one("x", 3)}, false, false},
	{"an upgrade", grants, []any{reader("x", 3), reader("y", 4), gone("y", 4), one("x", 6)}, false, true},
	{"a look does not show a holder", grants, []any{reader("x", 3), all(9, "y", 5), reader("x", 3)}, false, false},
	{"a reader and a writer", grants, []any{sighting{mode: sawWhole, at: 9, wrong: tooMany(audit.LockState{
		Slots: 1, Holders: []audit.Hold{{Session: "x", Fence: 3}, {Session: "y", Fence: 4, Shared: true}},
	})}}, false, false},
	{"a semaphore", grants, []any{slot("x", 3), slot("y", 4), slot("x", 3)}, false, true},
}

func put(value string, revision uint64) *workload.Record {
	return &workload.Record{Op: workload.Op{Kind: workload.Put, Command: &locks.PutCommand{Value: []byte(value)}}, Result: locks.Result{Revision: revision}}
}

func del(revision uint64) *workload.Record {
	return &workload.Record{Op: workload.Op{Kind: workload.Delete, Command: &locks.DeleteCommand{}}, Result: locks.Result{Revision: revision}}
}

// refused is a put that wanted another revision than the entry's, while the service stood at one.
func refused(wanted, revision, current uint64) *workload.Record {
	return &workload.Record{
		Op:     workload.Op{Kind: workload.CAS, Command: &locks.PutCommand{IfRevision: &wanted}},
		Result: locks.Result{Refused: true, Code: locks.RevisionMismatch, Revision: revision, Current: current},
	}
}

func get(value string, revision uint64) *workload.Record {
	p := &workload.Record{Op: workload.Op{Kind: workload.Get}}
	p.Seen.Value.Value, p.Seen.Value.Revision = value, revision
	return p
}

// txn puts all keys of a group, if the first has a revision.
func txn(revision, compared uint64) *workload.Record {
	c := &locks.TxnCommand{If: []locks.If{{Kind: locks.IfRevision, Name: workload.GroupKey("", 0), Revision: compared}}}
	r := locks.TxnResult{Succeeded: true}
	for i := range workload.GroupKeys {
		c.Then = append(c.Then, locks.Op{Kind: locks.OpPut, Key: workload.GroupKey("", i), Value: []byte("v")})
		r.Steps = append(r.Steps, locks.Done{Kind: locks.OpPut, Key: workload.GroupKey("", i), Revision: revision})
	}
	return &workload.Record{Op: workload.Op{Kind: workload.Txn, Command: c}, Result: locks.Result{Revision: revision, Body: r.Encode()}}
}

func peek(first, others uint64) *workload.Record {
	p := &workload.Record{Op: workload.Op{Kind: workload.Peek}}
	for i := range p.Seen.Group {
		p.Seen.Group[i].Value, p.Seen.Group[i].Revision = "v", others
		if others == 0 {
			p.Seen.Group[i].Value = ""
		}
	}
	p.Seen.Group[0].Value, p.Seen.Group[0].Revision = "v", first
	return p
}

func advance(fence uint64, ok bool, current uint64) *workload.Record {
	return &workload.Record{Op: workload.Op{Kind: workload.Advance, Command: &locks.AdvanceCommand{Fence: fence}}, Result: locks.Result{Refused: !ok, Fence: fence, Current: current}}
}
