package sim

import (
	"fmt"
	"time"
)

// A key or a lock gets a new name after this many operations, or unknown
// outcomes, so that histories stay small enough to check.
const (
	opsPerKey     = 120
	unknownPerKey = 5
)

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
}

// A History is what all clients saw.
type History struct {
	Ops   []Op
	keys  map[int]*keyName
	known map[string]uint64 // the last revision of a key that any client was told of
}

type keyName struct{ generation, ops int }

// key returns the present name of the i-th key.
func (h *History) key(i int) string {
	if h.keys == nil {
		h.keys = make(map[int]*keyName)
	}
	k := h.keys[i]
	if k == nil {
		k = new(keyName)
		h.keys[i] = k
	}
	if k.ops++; k.ops > opsPerKey {
		k.generation, k.ops = k.generation+1, 1
	}
	return fmt.Sprintf("key-%d-%d", i, k.generation)
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
	p.Out = Outcome{a.ok, a.exists, a.value, a.revision, a.fence}
	if known && a.revision != 0 && p.OnKey() {
		if h.known == nil {
			h.known = make(map[string]uint64)
		}
		h.known[p.Name] = a.revision
	}
	if !known && p.OnKey() {
		for _, k := range h.keys {
			k.ops += opsPerKey / unknownPerKey // of any key: a fault seldom comes alone
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
