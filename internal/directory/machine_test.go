package directory

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

var _ replica.Machine = (*Machine)(nil)

// An echo is an inner machine that says what it was called with. Its state is data.
type echo struct {
	calls []string
	data  []byte
	err   error
}

func (e *echo) call(format string, args ...any) []byte {
	s := fmt.Sprintf(format, args...)
	e.calls = append(e.calls, s)
	return []byte(s)
}

func (e *echo) Apply(slot paxos.Slot, cmd []byte, now time.Duration) []byte {
	return e.call("apply %d %s %v", slot, cmd, now)
}
func (e *echo) Applied(slot paxos.Slot) { e.call("applied %d", slot) }
func (e *echo) Snapshot() func(io.Writer) error {
	data, err := e.data, e.err
	return func(w io.Writer) error { // in two pieces
		_, failed := w.Write(data[:min(2, len(data))])
		_, more := w.Write(data[min(2, len(data)):])
		return cmp.Or(err, failed, more)
	}
}
func (e *echo) Restore(data []byte) (func(), error) {
	return func() { e.data = bytes.Clone(data) }, e.err
}
func (e *echo) Lead(b synod.Ballot, now time.Duration) [][]byte {
	return [][]byte{e.call("lead %v %v", b, now)}
}
func (e *echo) Follow() { e.call("follow") }
func (e *echo) Ask(req []byte, now time.Duration) []byte {
	return e.call("ask %s %v", req, now)
}

func TestAllElseIsTheInnerMachines(t *testing.T) {
	e := &echo{}
	m := New(e)
	before := m.View()
	if got := m.Apply(3, []byte("x"), 1); string(got) != "apply 3 x 1ns" {
		t.Errorf("%s", got)
	}
	if got := m.Apply(4, nil, 1); string(got) != "apply 4  1ns" {
		t.Errorf("%s", got)
	}
	m.Applied(4)
	if got := m.Lead(synod.Ballot{Round: 1, Member: 2}, 2); len(got) != 1 || string(got[0]) != "lead 1.2 2ns" {
		t.Errorf("%s", got)
	}
	if got := m.Ask([]byte{first, 'q'}, 5); string(got) != "ask \xd1q 5ns" {
		t.Errorf("%s", got)
	}
	m.Follow()
	m.Apply(5, Encode(&Resize{ID: paxos.Main, Replicas: 3}), 3)
	want := []string{"apply 3 x 1ns", "apply 4  1ns", "applied 4", "lead 1.2 2ns", "ask \xd1q 5ns", "follow"}
	if !slices.Equal(e.calls, want) {
		t.Errorf("%q; want %q", e.calls, want)
	}
	if m.Unsupported() != nil {
		t.Error(m.Unsupported())
	}
	if v := m.View(); v == before || v.Version != 1 || before.Version != 0 || before.Group(paxos.Main).Replicas != 0 {
		t.Errorf("version %d", v.Version)
	}
}

// TestNoCommandOfLocksIsTaken pins that locks knows no command that begins as those
// here do, and that those it knows get there.
func TestNoCommandOfLocksIsTaken(t *testing.T) {
	known := 0
	for b := range 256 {
		m := locks.NewMachine()
		m.Apply(1, []byte{byte(b)}, 0)
		if m.Unsupported() != nil {
			continue
		}
		known++
		if b == first {
			t.Fatalf("locks has a command that begins with %#x", first)
		}
		outer := New(locks.NewMachine())
		if outer.Apply(1, []byte{byte(b)}, 0); outer.inner.(*locks.Machine).Revision() != 1 {
			t.Errorf("a command that begins with %#x does not get to locks", b)
		}
	}
	if known < 20 {
		t.Errorf("locks knows %d first bytes; want more", known)
	}
	for _, c := range samples() {
		if b := Encode(c); b[0] != first {
			t.Errorf("%T begins with %#x", c, b[0])
		}
	}
}

func TestNewerCommandsStopTheNode(t *testing.T) {
	for _, tt := range []struct {
		name  string
		cmd   []byte
		stops bool
	}{
		{"a newer version", []byte{first, commandVersion + 1, 1, 5, 6}, true},
		{"a newer kind", []byte{first, commandVersion, 8}, true},
		{"malformed", []byte{first, commandVersion, 1, 5}, false},
		{"too much", append(Encode(&Cancel{ID: 1, Plan: 1}), 0), false},
		{"no kind", []byte{first, commandVersion}, false},
		{"kind zero", []byte{first, commandVersion, 0}, false},
		{"version zero", []byte{first, 0, 1}, false},
		{"one byte", []byte{first}, false},
		{"larger than a command may be", Encode(&Create{Name: strings.Repeat("x", maxCommand)}), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.create("g", 1)
			r := w.raw(tt.cmd)
			if r.Code != Unreadable || r.Detail == "" || r.Version != 1 {
				t.Errorf("%+v", r)
			}
			if err := w.m.Unsupported(); err != nil != tt.stops {
				t.Errorf("unsupported: %v", err)
			}
			if _, err := encoded(w.m.Snapshot()); err != nil != tt.stops {
				t.Errorf("snapshot: %v; a state without the effect of a command is none", err)
			}
		})
	}
	w := newWorld(t)
	w.m.Apply(1, []byte{200}, 0)
	if w.m.Unsupported() == nil {
		t.Error("the inner machine does not know a command, and nobody tells")
	}
}

func TestLargestCommandFits(t *testing.T) {
	full := strings.Repeat("x", MaxText)
	c := &Create{Request: full, Name: strings.Repeat("n", MaxName), Replicas: MaxReplicas, Near: full}
	for i := range MaxZones {
		c.Zones = append(c.Zones, fmt.Sprintf("%d%s", i%10, full[1:])[:MaxText-2]+fmt.Sprintf("%02d", i))
	}
	for i := range MaxReplicas {
		c.Members = append(c.Members, paxos.Member{Node: synod.NodeID(^uint64(i)), Name: full, PeerAddr: full})
	}
	w := newWorld(t)
	w.must(c)
	r := &Report{ID: 2, Config: 2}
	for i := range MaxReplicas + 1 {
		r.Members = append(r.Members, paxos.Member{Node: synod.NodeID(^uint64(i)), Ordinal: synod.Ordinal(i + 1), Name: full, PeerAddr: full})
	}
	w.must(r)
}

// TestChangedTellsOfEveryState waits for states while commands make them.
func TestChangedTellsOfEveryState(t *testing.T) {
	w := newWorld(t)
	const last = 50
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for v := w.m.View(); v.Version < last; {
				<-w.m.Changed(v)
				next := w.m.View()
				if next == v || next.Version <= v.Version || len(v.Groups()) != int(v.Version)+1 {
					t.Errorf("version %d after %d, with %d groups", next.Version, v.Version, len(v.Groups()))
					return
				}
				v = next
			}
		})
	}
	for i := range last {
		w.create(fmt.Sprint("g", i), 1)
		w.do(&Delete{ID: paxos.Main}) // changes nothing
	}
	wg.Wait()
	v := w.m.View()
	changed := w.m.Changed(v)
	w.do(&Delete{ID: paxos.Main})
	select {
	case <-changed:
		t.Error("a refusal has woken somebody")
	default:
	}
	if err := restore(w.m, snapshot(t, New(locks.NewMachine()))); err != nil {
		t.Fatal(err)
	}
	<-changed
	<-w.m.Changed(v)
	<-w.m.Changed(nil)
	if len(w.m.View().Groups()) != 1 || len(v.Groups()) != last+1 {
		t.Error("the restored state is another")
	}
}

// TestViewsDoNotChange keeps a view of each state and looks at them at the end.
func TestViewsDoNotChange(t *testing.T) {
	w := newWorld(t)
	var views []*View
	var want [][]byte
	keep := func(Result) {
		v := w.m.View()
		views, want = append(views, v), append(want, v.encode())
	}
	for i := range 20 {
		id := paxos.GroupID(i + 2)
		keep(w.must(&Create{Name: fmt.Sprint("g", 99-i), Replicas: 3, Members: members(1, 2, 3)}))
		keep(w.must(&Begin{ID: id, Config: 1, Plan: Plan{Add: member(4)}}))
		keep(w.must(&Report{ID: id, Config: 2, Members: voters(1, 2, 3, 4)}))
		keep(w.must(&Remove{Node: synod.NodeID(100 - i)}))
		if i%3 == 0 {
			keep(w.must(&Delete{ID: id}))
		}
	}
	for i, v := range views {
		if !bytes.Equal(v.encode(), want[i]) || v.Version != uint64(i+1) {
			t.Errorf("view %d has changed", i)
		}
	}
}

func TestSnapshotOfTheStartIsTheInnerMachines(t *testing.T) {
	e := &echo{data: []byte("inner")}
	m := New(e)
	if got := snapshot(t, m); string(got) != "inner" {
		t.Errorf("%q", got)
	}
	w := &world{t: t, m: m}
	w.must(&Resize{ID: paxos.Main, Replicas: 3})
	got := snapshot(t, m)
	if !bytes.HasPrefix(got, []byte(magic)) || !bytes.HasSuffix(got, []byte("inner")) {
		t.Errorf("%q", got)
	}
	to := &echo{}
	m = New(to)
	if err := restore(m, got); err != nil || string(to.data) != "inner" || m.View().Version != 1 {
		t.Errorf("%v, %q, version %d", err, to.data, m.View().Version)
	}
	if err := restore(m, []byte("old")); err != nil || string(to.data) != "old" || m.View().Version != 0 {
		t.Errorf("%v, %q, version %d", err, to.data, m.View().Version)
	}
	e = &echo{data: []byte(magic + "by chance")}
	if err := restore(m, snapshot(t, New(e))); err != nil || !bytes.Equal(to.data, e.data) || m.View().Version != 0 {
		t.Errorf("%v, %q: bytes that look like ours", err, to.data)
	}
	e.err = errors.New("no")
	if _, err := encoded(New(e).Snapshot()); err != e.err {
		t.Errorf("%v; want the inner machine's error", err)
	}
}

// TestSnapshotIsOfItsMoment encodes only after the state has changed.
func TestSnapshotIsOfItsMoment(t *testing.T) {
	w := busy(t)
	want := snapshot(t, w.m)
	encode := w.m.Snapshot()
	w.create("later", 1)
	w.must(&Delete{ID: 3})
	if got, err := encoded(encode); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v: the snapshot has changed", err)
	}
}

func TestRestoreChangesBothOrNothing(t *testing.T) {
	data := snapshot(t, busy(t).m)
	dir, inner, err := unwrap(data)
	if err != nil || len(dir) == 0 {
		t.Fatal(err)
	}
	for i := range len(data) - len(inner) {
		for _, cut := range [][]byte{data[:i], slices.Concat(data[:i], []byte{data[i] ^ 0x10}, data[i+1:])} {
			w := newWorld(t)
			w.create("before", 1)
			v := w.m.View()
			if _, err := w.m.Restore(cut); err == nil || !strings.Contains(err.Error(), "restore") {
				t.Fatalf("byte %d: %v", i, err)
			}
			if w.m.View() != v {
				t.Fatal("what was refused has changed something")
			}
		}
	}
	e := &echo{err: errors.New("no")}
	m := New(e)
	if _, err := m.Restore(data); err != e.err || m.View().Version != 0 {
		t.Errorf("%v; want the inner machine's error", err)
	}
	w := busy(t)
	next := restored(t, w.m)
	if !reflect.DeepEqual(w.m.View().byID, next.View().byID) || !reflect.DeepEqual(w.m.requests, next.requests) {
		t.Error("the restored state is another")
	}
}

// TestUnsoundDirectoriesAreRefused changes the state to what no commands make.
func TestUnsoundDirectoriesAreRefused(t *testing.T) {
	for name, harm := range map[string]func(v *View, g *Group){
		"no groups":                     func(v *View, g *Group) { v.byID = nil },
		"main is not there":             func(v *View, g *Group) { v.byID = v.byID[1:] },
		"main has another name":         func(v *View, g *Group) { v.byID[0] = &Group{ID: 1, Name: "other"} },
		"main has a first":              func(v *View, g *Group) { v.byID[0] = &Group{ID: 1, Name: "main", First: g.First} },
		"main has too many replicas":    func(v *View, g *Group) { v.byID[0] = &Group{ID: 1, Name: "main", Replicas: 10} },
		"members without a report":      func(v *View, g *Group) { v.byID[0] = &Group{ID: 1, Name: "main", Members: g.Members} },
		"a plan before a report":        func(v *View, g *Group) { v.byID[0] = &Group{ID: 1, Name: "main", Plan: g.Plan} },
		"ids out of order":              func(v *View, g *Group) { v.byID[1], v.byID[2] = v.byID[2], v.byID[1] },
		"an id of the future":           func(v *View, g *Group) { v.next = 5 },
		"a name twice":                  func(v *View, g *Group) { g.Name = "four" },
		"a bad name":                    func(v *View, g *Group) { g.Name = "A" },
		"a request twice":               func(v *View, g *Group) { g.Request = "make four" },
		"a bad zone":                    func(v *View, g *Group) { g.Zones = []string{""} },
		"no replicas":                   func(v *View, g *Group) { g.Replicas = 0 },
		"no configuration":              func(v *View, g *Group) { g.Config = 0 },
		"no first":                      func(v *View, g *Group) { g.First = paxos.Membership{} },
		"no members":                    func(v *View, g *Group) { g.Members = nil },
		"a plan of the future":          func(v *View, g *Group) { g.Plan.ID = v.plans + 1 },
		"a plan without a number":       func(v *View, g *Group) { g.Plan.ID = 0 },
		"a plan of nothing":             func(v *View, g *Group) { g.Plan.Add, g.Plan.Remove = paxos.Member{}, 0 },
		"a plan with an ordinal":        func(v *View, g *Group) { g.Plan.Add.Ordinal = 1 },
		"removed nodes not in order":    func(v *View, g *Group) { v.gone = []synod.NodeID{8, 7} },
		"a removed node twice":          func(v *View, g *Group) { v.gone = []synod.NodeID{7, 7} },
		"a removed name twice":          func(v *View, g *Group) { v.removed[1] = v.removed[0] },
		"a removed name too many":       func(v *View, g *Group) { v.gone = v.gone[:1] },
		"a removed name of another":     func(v *View, g *Group) { v.removed[1].Node = 6 },
		"a removed node by itself":      func(v *View, g *Group) { v.removed[1].By = 7 },
		"a deleted group that is":       func(v *View, g *Group) { v.past[0].id = 3 },
		"a deleted group of no time":    func(v *View, g *Group) { v.past[0].version = 0 },
		"a deleted group to come":       func(v *View, g *Group) { v.past[0].version = v.Version + 1 },
		"deleted groups at once":        func(v *View, g *Group) { v.past = append(v.past, v.past[0]) },
		"a deleted group's long name":   func(v *View, g *Group) { v.past[0].made = strings.Repeat("x", MaxText+1) },
		"too many deleted groups":       func(v *View, g *Group) { v.past = make([]deleted, MaxDeleted+1) },
		"a group's long request":        func(v *View, g *Group) { g.Request = strings.Repeat("x", MaxText+1) },
		"a version of no configuration": func(v *View, g *Group) { g.First.ID = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			w := busy(t)
			v := w.m.own()
			g := *v.Group(3)
			v.put(&g)
			harm(v, &g)
			if _, err := New(locks.NewMachine()).Restore(snapshot(t, w.m)); err == nil || strings.Contains(err.Error(), "%!") {
				t.Errorf("restored: %v", err)
			}
		})
	}
}
