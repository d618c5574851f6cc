package directory

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// A world is one machine that gets commands.
type world struct {
	t    testing.TB
	m    *Machine
	slot paxos.Slot
}

func newWorld(t testing.TB) *world { return &world{t: t, m: New(locks.NewMachine())} }

// raw applies bytes of a command of the directory.
func (w *world) raw(cmd []byte) Result {
	w.t.Helper()
	w.slot++
	out := w.m.Apply(w.slot, cmd, time.Second)
	r, err := DecodeResult(out)
	if err != nil {
		w.t.Fatalf("%x: answer %x: %v", cmd, out, err)
	}
	if again := r.encode(); !bytes.Equal(again, out) {
		w.t.Fatalf("answer %x is encoded as %x", out, again)
	}
	return r
}

func (w *world) do(c Command) Result {
	w.t.Helper()
	return w.raw(Encode(c))
}

// must applies c, which must do something.
func (w *world) must(c Command) Result {
	w.t.Helper()
	before := w.m.View().Version
	r := w.do(c)
	if r.Code != OK || r.Version != before+1 || w.m.View().Version != r.Version {
		w.t.Fatalf("%+v: %v, %q, version %d after %d", c, r.Code, r.Detail, r.Version, before)
	}
	return r
}

// create makes a group of the nodes.
func (w *world) create(name string, nodes ...synod.NodeID) *Group {
	w.t.Helper()
	return w.must(&Create{Request: "make " + name, Name: name, Replicas: max(1, len(nodes)), Members: members(nodes...)}).Group
}

// snapshot returns m's snapshot.
func snapshot(t testing.TB, m *Machine) []byte {
	t.Helper()
	data, err := encoded(m.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// restored returns a new machine with the state of m, after a look whether that is the
// same in all respects.
func restored(t testing.TB, m *Machine) *Machine {
	t.Helper()
	data := snapshot(t, m)
	next := New(locks.NewMachine())
	if err := restore(next, data); err != nil {
		t.Fatalf("what was saved is not restored: %v", err)
	}
	if again := snapshot(t, next); !bytes.Equal(again, data) {
		t.Fatalf("%x is restored and saved as %x", data, again)
	}
	if next.Hash() != m.Hash() {
		t.Fatal("the restored state has another hash")
	}
	return next
}

// restore makes data the state of m.
func restore(m *Machine, data []byte) error {
	install, err := m.Restore(data)
	if err == nil {
		install()
	}
	return err
}

func member(n synod.NodeID) paxos.Member {
	return paxos.Member{Node: n, Name: fmt.Sprintf("n%d", n), PeerAddr: fmt.Sprintf("10.0.0.%d:7481", n)}
}

func members(nodes ...synod.NodeID) (out []paxos.Member) {
	for _, n := range nodes {
		out = append(out, member(n))
	}
	return out
}

// voters returns members with ordinals from 1.
func voters(nodes ...synod.NodeID) []paxos.Member {
	out := members(nodes...)
	for i := range out {
		out[i].Ordinal = synod.Ordinal(i + 1)
	}
	return out
}

// samples is one command of every kind, all fields in use.
func samples() []Command {
	return []Command{
		&Create{Request: "r", Name: "g2", Replicas: 3, Zones: []string{"a", "b"}, Near: "n2", Members: members(3, 1, 2)},
		&Delete{Request: "d", ID: 2},
		&Resize{ID: 2, Replicas: 5},
		&Begin{ID: 3, Config: 1, Plan: Plan{Add: member(4), Remove: 1, Why: "n1 is dead"}, Replicas: 2},
		&Cancel{ID: 3, Plan: 2},
		&Report{ID: 3, Config: 2, Members: voters(1, 2, 3, 4)},
		&Remove{Node: 9, Name: "n9", By: 4},
	}
}

// busy is a world with something of everything in it: main with members, group 2
// deleted, groups 3 and 4 with plans, group 5 without, two nodes removed.
func busy(t testing.TB) *world {
	w := newWorld(t)
	w.must(&Report{ID: paxos.Main, Config: 3, Members: voters(1, 2, 3)})
	w.create("gone", 1, 2, 3)
	w.must(&Create{Request: "r3", Name: "three", Replicas: 5, Zones: []string{"a", "b"}, Near: "n1", Members: members(1, 2, 3)})
	w.create("four", 3, 2, 1)
	w.create("five", 5)
	w.must(&Delete{Request: "d2", ID: 2})
	w.must(&Begin{ID: 3, Config: 1, Plan: Plan{Add: member(4), Remove: 1, Why: "n1 is dead"}})
	w.must(&Begin{ID: 4, Config: 1, Plan: Plan{Remove: 1}})
	w.must(&Report{ID: 3, Config: 2, Members: voters(1, 2, 3, 4)})
	w.must(&Remove{Node: 8, Name: "n8"})
	w.must(&Remove{Node: 7, Name: "n7", By: 4})
	return w
}

// encoded returns what encode writes.
func encoded(encode func(io.Writer) error) ([]byte, error) {
	var b bytes.Buffer
	err := encode(&b)
	return b.Bytes(), err
}
