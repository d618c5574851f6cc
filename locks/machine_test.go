package locks

import (
	"bytes"
	"io"
	"reflect"
	"testing"
	"time"

	"github.com/prytany/prytany/locks/internal/command"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// A world is one machine with its own log and clock.
type world struct {
	t   testing.TB
	m   *Machine
	log [][]byte
	now time.Duration
}

func newWorld(t testing.TB) *world { return &world{t: t, m: NewMachine()} }

// do applies c and returns its result without its revision.
func (w *world) do(c Command) Result {
	w.t.Helper()
	r := w.raw(Encode(c))
	r.Revision = 0
	return r
}

func (w *world) raw(cmd []byte) Result {
	w.t.Helper()
	w.log = append(w.log, cmd)
	r, err := DecodeResult(w.m.Apply(paxos.Slot(len(w.log)), cmd, w.now))
	if err != nil {
		w.t.Fatalf("Apply(%x) returned garbage: %v", cmd, err)
	}
	w.m.Applied(paxos.Slot(len(w.log)))
	return r
}

// lead calls Lead once, applies what it proposes, and returns it.
func (w *world) lead(b synod.Ballot) (out []Command) {
	w.t.Helper()
	for _, cmd := range w.m.Lead(b, w.now) {
		c, err := Decode(cmd)
		if err != nil {
			w.t.Fatal(err)
		}
		out = append(out, c)
		w.raw(cmd)
	}
	return out
}

func (w *world) open(ids ...string) {
	w.t.Helper()
	for _, id := range ids {
		if r := w.do(&OpenCommand{ID: id, TTL: 10 * time.Second}); r.Refused {
			w.t.Fatalf("open %s: %+v", id, r)
		}
	}
}

func (w *world) ask(q Question) Answer {
	w.t.Helper()
	a, err := DecodeAnswer(w.m.Ask(q.Encode(), w.now))
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// lock returns what is known of the lock name.
func (w *world) lock(name string) (l Lock) {
	w.m.View(func(v View) { l, _ = v.Lock(name, w.now) })
	return l
}

func b(round uint64) synod.Ballot { return synod.Ballot{Round: round, Member: 1} }

func req(id string) Request { return Request{ID: id, Own: true} }

func TestLockPassesInOrder(t *testing.T) {
	w := newWorld(t)
	w.open("a", "b", "c") // revisions 1 to 3
	steps := []struct {
		name string
		cmd  Command
		want Result
	}{
		{"free", &AcquireCommand{Lock: "l", Session: "a", Note: "n"}, Result{Session: "a", TTL: 10 * time.Second, Fence: 4, Slots: 1}},
		{"held", &AcquireCommand{Lock: "l", Session: "b"},
			Result{Refused: true, Code: LockHeld, Position: 1, Holder: command.Holder{Session: "a", Owner: "a", Fence: 4, Note: "n"}}},
		{"again", &AcquireCommand{Lock: "l", Session: "a"}, Result{Session: "a", TTL: 10 * time.Second, Fence: 4, Slots: 1}},
		{"queue", &AcquireCommand{Request: req("1"), Lock: "l", Session: "b", Wait: true},
			Result{Queued: true, Session: "b", TTL: 10 * time.Second, Position: 1}},
		{"queue behind", &AcquireCommand{Request: req("2"), Lock: "l", Session: "c", Wait: true},
			Result{Queued: true, Session: "c", TTL: 10 * time.Second, Position: 2}},
		{"stale release", &ReleaseCommand{Lock: "l", Fence: 3},
			Result{Refused: true, Code: StaleFence, Detail: "the grant is over", Current: 4}},
		{"release", &ReleaseCommand{Lock: "l", Fence: 4}, Result{Session: "a", Fence: 4}},
		{"the first has it", &AcquireCommand{Request: req("1"), Lock: "l", Session: "b", Wait: true},
			Result{Repeated: true, Session: "b", TTL: 10 * time.Second, Fence: 10, Slots: 1}},
		{"cancel too late", &CancelCommand{Request: req("1"), Lock: "l", Session: "b"},
			Result{Session: "b", TTL: 10 * time.Second, Fence: 10, Slots: 1}},
		{"cancel", &CancelCommand{Request: req("2"), Lock: "l", Session: "c"},
			Result{Refused: true, Code: LockHeld, Position: 1, Holder: command.Holder{Session: "b", Owner: "b", Fence: 10}}},
		{"never granted later", &ReleaseCommand{Lock: "l", Force: true, Reason: "stuck"}, Result{Session: "b", Fence: 10}},
		{"unknown", &ReleaseCommand{Lock: "l", Fence: 10},
			Result{Refused: true, Code: StaleFence, Detail: "nobody holds the lock"}},
	}
	for _, s := range steps {
		if got := w.do(s.cmd); got != s.want {
			t.Errorf("%s: %+v\nwant %+v", s.name, got, s.want)
		}
	}
	got := w.lock("l")
	want := Lock{Name: "l", Slots: 1, Changed: 14, Past: []Past{
		{"b", "b", 10, 14, "forced: stuck"},
		{"a", "a", 4, 10, "released"},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("lock is %+v\nwant    %+v", got, want)
	}
}

// encoded returns what encode writes.
func encoded(encode func(io.Writer) error) ([]byte, error) {
	var b bytes.Buffer
	err := encode(&b)
	return b.Bytes(), err
}
