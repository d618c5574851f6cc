package sim

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// checkTime bounds the search for a linearization of one key's history.
const checkTime = 20 * time.Second

// A keyValue is the state of one key: a register with compare-and-set.
type keyValue struct {
	value    string
	revision uint64 // 0 if there is no entry
	highest  uint64
}

// register says that the operations on one key take effect one after another,
// each between its call and its return, and that revisions rise.
var register = porcupine.Model{
	Init: func() any { return keyValue{} },
	Step: func(state, in, _ any) (bool, any) {
		s, p := state.(keyValue), in.(*Op)
		switch p.Kind {
		case opGet.String():
			return p.Out.Revision == s.revision && p.Out.Value == s.value && p.Out.Exists == (s.revision != 0), s
		case opCAS.String():
			if !p.Out.OK {
				return s.revision != p.Revision && p.Out.Revision == s.revision, s
			}
			if s.revision != p.Revision {
				return false, s
			}
		case opDelete.String():
			return p.Out.OK, keyValue{highest: s.highest}
		case opPut.String():
			if !p.Out.OK {
				return true, s // its guard was over
			}
		}
		return p.Out.Revision > s.highest, keyValue{p.Value, p.Out.Revision, p.Out.Revision}
	},
}

// A lockValue is the state of one lock, as far as clients can know.
type lockValue struct {
	fence   uint64
	session string
	over    bool // the grant of fence has ended
}

// exclusive says that grants of one lock come one after another with rising
// fences, and that a grant that is over does not come back. Leases may end and
// queues may move at any moment, unseen.
var exclusive = porcupine.Model{
	Init: func() any { return lockValue{} },
	Step: func(state, in, _ any) (bool, any) {
		s, p := state.(lockValue), in.(*Op)
		holder, fence := p.Session, p.Out.Fence
		if p.Kind == opLook.String() {
			holder = p.Out.Session
		}
		switch {
		case fence == 0: // nobody holds it now
			s.over = true
			return true, s
		case fence < s.fence:
			return false, s
		case fence == s.fence && (s.over || s.session != holder):
			return false, s
		}
		return true, lockValue{fence, holder, p.Kind == opRelease.String()}
	},
}

// checkHistory fails if what the clients saw cannot be.
func checkHistory(r Report) error {
	end := int64(r.Time) + 1
	byKey, byLock := make(map[string][]porcupine.Operation), make(map[string][]porcupine.Operation)
	for i := range r.History.Ops {
		p := &r.History.Ops[i]
		if !p.Known && !p.Applied {
			continue // it has had no effect, and nobody was told anything
		}
		o := porcupine.Operation{ClientId: p.Client, Input: p, Call: int64(p.Call), Return: int64(p.Return)}
		if !p.Known {
			o.Return = end
		}
		switch {
		case p.OnKey() && !strings.HasPrefix(p.Name, "attached"):
			byKey[p.Name] = append(byKey[p.Name], o)
		case p.Known && lockKnown(p):
			byLock[p.Name] = append(byLock[p.Name], o)
		}
	}
	if err := linearizable("key", register, byKey); err != nil {
		return r.failure(err)
	}
	if err := linearizable("lock", exclusive, byLock); err != nil {
		return r.failure(err)
	}
	return nil
}

// lockKnown reports whether p tells anything about who holds a lock.
func lockKnown(p *Op) bool {
	switch p.Kind {
	case opAcquire.String(), opCancel.String(), opRelease.String():
		return p.Out.OK && p.Out.Fence != 0
	}
	return p.Kind == opLook.String()
}

func (r *Report) failure(err error) error {
	return &Failure{Seed: r.Options.Seed, Mode: r.Options.Mode, Invariant: "history", Detail: err.Error(), At: r.Time}
}

func linearizable(what string, m porcupine.Model, histories map[string][]porcupine.Operation) error {
	for name, ops := range histories {
		switch porcupine.CheckOperationsTimeout(m, ops, checkTime) {
		case porcupine.Illegal:
			return fmt.Errorf("the history of %s %s is not linearizable:%s", what, name, describe(ops))
		case porcupine.Unknown:
			return fmt.Errorf("the history of %s %s (%d operations) could not be decided in %v", what, name, len(ops), checkTime)
		}
	}
	return nil
}

func describe(ops []porcupine.Operation) string {
	var b strings.Builder
	for _, o := range ops[max(0, len(ops)-40):] {
		p := o.Input.(*Op)
		fmt.Fprintf(&b, "\n  [%v, %v] client %d %s %s %s value %q revision %d fence %d: %+v",
			time.Duration(o.Call), time.Duration(o.Return), p.Client+1, p.ID, p.Kind, p.Session, p.Value, p.Revision, p.Out.Fence, p.Out)
	}
	return b.String()
}

func TestModelsRefuseBadHistories(t *testing.T) {
	put := func(call, ret int64, value string, revision uint64) porcupine.Operation {
		return porcupine.Operation{Call: call, Return: ret, Input: &Op{Kind: "put", Value: value, Out: Outcome{OK: true, Revision: revision}}}
	}
	get := func(call, ret int64, value string, revision uint64) porcupine.Operation {
		return porcupine.Operation{Call: call, Return: ret, Input: &Op{Kind: "get", Out: Outcome{OK: true, Exists: revision != 0, Value: value, Revision: revision}}}
	}
	grant := func(call, ret int64, session string, fence uint64) porcupine.Operation {
		return porcupine.Operation{Call: call, Return: ret, Input: &Op{Kind: "acquire", Session: session, Out: Outcome{OK: true, Fence: fence}}}
	}
	release := func(call, ret int64, session string, fence uint64) porcupine.Operation {
		return porcupine.Operation{Call: call, Return: ret, Input: &Op{Kind: "release", Session: session, Out: Outcome{OK: true, Fence: fence}}}
	}
	tests := []struct {
		name  string
		model porcupine.Model
		ops   []porcupine.Operation
		want  bool
	}{
		{"read after write", register, []porcupine.Operation{put(0, 1, "a", 5), get(2, 3, "a", 5)}, true},
		{"stale read", register, []porcupine.Operation{put(0, 1, "a", 5), put(2, 3, "b", 6), get(4, 5, "a", 5)}, false},
		{"concurrent writes", register, []porcupine.Operation{put(0, 9, "a", 6), put(1, 8, "b", 5), get(10, 11, "a", 6)}, true},
		{"revision falls", register, []porcupine.Operation{put(0, 1, "a", 6), put(2, 3, "b", 5)}, false},
		{"lost write", register, []porcupine.Operation{put(0, 1, "a", 5), get(2, 3, "", 0)}, false},
		{"fences rise", exclusive, []porcupine.Operation{grant(0, 1, "x", 3), grant(2, 3, "y", 4)}, true},
		{"fence falls", exclusive, []porcupine.Operation{grant(0, 1, "x", 4), grant(2, 3, "y", 3)}, false},
		{"two holders", exclusive, []porcupine.Operation{grant(0, 1, "x", 4), grant(2, 3, "y", 4)}, false},
		{"released grant comes back", exclusive, []porcupine.Operation{grant(0, 1, "x", 4), release(2, 3, "x", 4), grant(4, 5, "x", 4)}, false},
	}
	for _, tt := range tests {
		if got := porcupine.CheckOperations(tt.model, tt.ops); got != tt.want {
			t.Errorf("%s: linearizable = %v, want %v", tt.name, got, tt.want)
		}
	}
}
