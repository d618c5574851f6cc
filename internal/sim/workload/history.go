package workload

import (
	"fmt"
	"time"

	"github.com/prytany/prytany/internal/sim/audit"
	"github.com/prytany/prytany/internal/sim/oracle"
	"github.com/prytany/prytany/locks"
)

// opsPerName is after how many operations a key or a lock gets a new name, so
// that histories stay small enough to check.
const opsPerName = 150

// GroupKeys is how many keys a group has: transactions change them together.
const GroupKeys = 3

// GroupKey returns the name of the i-th key of a group.
func GroupKey(group string, i int) string { return fmt.Sprintf("%s/%d", group, i) }

// A Record is one operation of a client as the client saw it.
type Record struct {
	Op
	Client       int
	Call, Return time.Duration
	Known        bool         // it has ended with a definite answer
	Applied      bool         // it is in the log
	Result       locks.Result // what the client was told, or if it does not know, the log
	Seen         Seen         // by a read
}

// A History is what all clients saw.
type History struct {
	Ops    []Record
	names  map[string]*name
	known  map[string]uint64 // the last revision of a key that any client was told of, or highest fence
	values map[string]string // the same for values
}

// A name of a key or lock, and how often it was used.
type name struct{ generation, ops int }

// NewHistory returns an empty history.
func NewHistory() *History {
	return &History{names: make(map[string]*name), known: make(map[string]uint64), values: make(map[string]string)}
}

// key returns the present name of the i-th key.
func (h *History) key(i int) string { return h.name("key", i) }

// lock returns the present name of the i-th lock.
func (h *History) lock(i int) string { return h.name("lock", i) }

func (h *History) name(what string, i int) string {
	what = fmt.Sprintf("%s-%d", what, i)
	k := h.names[what]
	if k == nil {
		k = new(name)
		h.names[what] = k
	}
	if k.ops++; k.ops > opsPerName {
		k.generation, k.ops = k.generation+1, 1
	}
	return fmt.Sprintf("%s-%d", what, k.generation)
}

// guess returns a revision that the key may have, or a fence that the register
// may show.
func (h *History) guess(name string) uint64 { return h.known[name] }

// Begin notes that a client begins o, and returns the number of the record.
func (h *History) Begin(client int, o *Op, now time.Duration) int {
	h.Ops = append(h.Ops, Record{Client: client, Op: *o, Call: now, Return: -1})
	return len(h.Ops) - 1
}

// End notes how the operation of the i-th record has ended.
func (h *History) End(i int, a Answer, known bool, now time.Duration) {
	p := &h.Ops[i]
	p.Return, p.Known = now, known
	p.Result, p.Seen = a.Result, a.Seen
	if !known {
		return
	}
	switch p.Kind {
	case Get, Put, CAS:
		h.known[p.Name] = a.Revision
	case Delete:
		h.known[p.Name] = 0
	case Peek:
		for i, v := range a.Seen.Group {
			h.known[GroupKey(p.Name, i)], h.values[GroupKey(p.Name, i)] = v.Revision, v.Value
		}
	case Advance:
		h.known[p.Name] = max(a.Result.Fence, a.Result.Current)
	case Reading:
		h.known[p.Name] = a.Seen.Fence.Highest
	}
}

// Final notes for every operation whether it is in the log, and checks that each
// one that was acknowledged is. Operations whose outcome their client does not
// know get it from the log: that is what the log is for, and it keeps the search
// for a linearization short.
func (h *History) Final(a *audit.Account) {
	for i := range h.Ops {
		p := &h.Ops[i]
		if p.Command == nil {
			continue
		}
		r, in := a.Answer(p.ID)
		p.Applied = in
		if in && !p.Known {
			p.Result = r
		}
		if p.Known && !in && p.Kind != Cancel {
			oracle.Fail("E2", "operation %s was acknowledged and is not in the log", p.ID)
		}
	}
}
