package sim

import (
	"fmt"
	"time"
)

// opsPerName is after how many operations a key or a lock gets a new name, so
// that histories stay small enough to check.
const opsPerName = 150

// An Op is one operation of a client as the client saw it.
type Op struct {
	Client       int
	ID           string
	Kind         string
	Name         string // lock or key
	Value        string // written
	Revision     uint64 // compared
	Session      string
	Call, Return time.Duration
	Known        bool // it has ended with a definite answer
	Applied      bool // it is in the log
	Out          Outcome
}

// An Outcome is what a client was told.
type Outcome struct {
	OK       bool
	Exists   bool
	Value    string
	Revision uint64
	Fence    uint64
	Session  string // of a lock's holder
}

// A History is what all clients saw.
type History struct {
	Ops   []Op
	names map[string]*name
	known map[string]uint64 // the last revision of a key that any client was told of
}

// A name of a key or lock, and how often it was used.
type name struct{ generation, ops int }

// key returns the present name of the i-th key.
func (h *History) key(i int) string { return h.name("key", i) }

// lock returns the present name of the i-th lock.
func (h *History) lock(i int) string { return h.name("lock", i) }

func (h *History) name(what string, i int) string {
	what = fmt.Sprintf("%s-%d", what, i)
	if h.names == nil {
		h.names = make(map[string]*name)
	}
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

// guess returns a revision that the key may have.
func (h *History) guess(name string) uint64 { return h.known[name] }

func (h *History) begin(client int, o *op, now time.Duration) int {
	h.Ops = append(h.Ops, Op{
		Client: client, ID: o.id, Kind: o.kind.String(), Name: o.name, Value: o.value,
		Revision: o.revision, Session: o.session, Call: now, Return: -1,
	})
	return len(h.Ops) - 1
}

func (h *History) end(i int, a answer, known bool, now time.Duration) {
	p := &h.Ops[i]
	p.Return, p.Known = now, known
	p.Out = Outcome{a.ok, a.exists, a.value, a.revision, a.fence, a.session}
	if known && p.OnKey() {
		if h.known == nil {
			h.known = make(map[string]uint64)
		}
		h.known[p.Name] = a.revision
		if p.Kind == opDelete.String() {
			h.known[p.Name] = 0
		}
	}
}

func (p *Op) reads() bool { return p.Kind == opGet.String() || p.Kind == opLook.String() }

// OnKey reports whether p is an operation on a key.
func (p *Op) OnKey() bool {
	switch p.Kind {
	case opGet.String(), opPut.String(), opCAS.String(), opDelete.String():
		return true
	}
	return false
}
