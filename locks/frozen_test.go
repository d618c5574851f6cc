package locks

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/paxos"
	"pgregory.net/rapid"
)

// A pair is a machine and the model of it, given random commands.
type pair struct {
	t *rapid.T
	x *Machine
	m *model
	n int
}

func newPair(t *rapid.T) *pair {
	p := &pair{t: t, x: NewMachine(), m: newModel()}
	p.do(&LeadCommand{Ballot: b(0)})
	for _, id := range []string{"a", "b", "c", "d"} {
		p.do(&OpenCommand{ID: id, TTL: time.Second, Request: req("open " + id), LockDelay: time.Duration(strings.Index("abcd", id))})
	}
	return p
}

func (p *pair) do(cmd Command) {
	p.x.Apply(paxos.Slot(p.n), Encode(cmd), time.Duration(p.n))
	p.m.apply(cmd)
	p.n++
}

// some runs up to most random commands.
func (p *pair) some(most int) {
	d := drawer{p.t, p.m, p.n + 10}
	for range d.upTo("commands", most) {
		d.n = p.n + 10
		p.do(d.command())
	}
}

// A snapshot is that of the moment when it was asked for, whatever is applied
// before it is encoded, and between any two of its records.
func TestSnapshotIsOfItsMoment(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newPair(t)
		for range 6 {
			p.some(12)
			want, err := p.x.encode()
			if err != nil {
				t.Fatal(err)
			}
			p.x.Snapshot()
			f := p.x.frozen
			f.rest, f.every = func() { p.some(2) }, 1
			p.some(6)
			got, err := encoded(f.encode)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("encoded later: %q, %v; at once: %q", got, err, want)
			}
			if p.x.frozen != nil {
				t.Fatal("the machine keeps what was, although it is encoded")
			}
		}
	})
}

// The encoder runs beside commands and readers: for the race detector.
func TestSnapshotIsEncodedBesideCommands(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newPair(t)
		for range 3 {
			p.some(12)
			want, _ := p.x.encode()
			p.x.Snapshot()
			f := p.x.frozen
			f.every = 1
			var got []byte
			var err error
			done := make(chan struct{})
			go func() {
				defer close(done)
				got, err = encoded(f.encode)
			}()
			p.some(12)
			p.x.View(func(v View) {
				for l := range v.Locks("", 0) {
					_ = l
				}
			})
			<-done
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("encoded beside commands: %q, %v; at once: %q", got, err, want)
			}
		}
	})
}

// The known-bad machine: one that does not keep what was. If the tests above
// could not tell, this one could not either.
func TestWithoutKeepingASnapshotIsOfNoMoment(t *testing.T) {
	wrong := 0
	rapid.Check(t, func(t *rapid.T) {
		p := newPair(t)
		p.some(20)
		want, _ := p.x.encode()
		p.x.Snapshot()
		f := p.x.frozen
		p.x.frozen = nil
		p.some(12)
		p.x.frozen = f
		if got, _ := encoded(f.encode); !bytes.Equal(got, want) {
			wrong++
		}
	})
	if wrong == 0 {
		t.Error("a machine that keeps nothing passes for one that does")
	}
}

// Every command that changes a lock, a grant or a session keeps it first: after
// each kind of change the frozen record is what it was.
func TestEachChangeKeepsWhatWas(t *testing.T) {
	for i, cmd := range changesOfBusy() {
		t.Run(fmt.Sprintf("%d %T", i, cmd), func(t *testing.T) {
			w := busy(t)
			want, _ := w.m.encode()
			encode := w.m.Snapshot()
			w.do(cmd)
			if now, _ := w.m.encode(); bytes.Equal(now, want) {
				t.Fatal("the command changes nothing")
			}
			if got, err := encoded(encode); err != nil || !bytes.Equal(got, want) {
				t.Errorf("the snapshot has what came later, %v", err)
			}
		})
	}
}

// changesOfBusy are commands that change the busy world, each in another way.
func changesOfBusy() []Command {
	return []Command{
		&AcquireCommand{Lock: "shared", Session: "a", Shared: true},                    // renews
		&AcquireCommand{Lock: "all", Session: "c", Shared: true},                       // begins to share
		&AcquireCommand{Lock: "all", Session: "a", Wait: true, Request: req("x")},      // queues
		&AcquireCommand{Lock: "both", Session: "a", Slots: 3},                          // takes a free lock
		&AcquireCommand{Lock: "new", Session: "n", Open: true, TTL: time.Second},       // opens
		&AcquireCommand{Lock: "elected", Session: "a", Campaign: true, Value: "other"}, // publishes
		&AcquireAllCommand{Session: "d", Locks: []string{"both", "free"}},              // takes some
		&ReleaseCommand{Lock: "shared", Fence: 0, Force: true, Reason: "x"},            // breaks
		&ReleaseCommand{Lock: "delayed", Force: true},                                  // ends a delay
		&CancelCommand{Lock: "shared", Session: "c", Request: req("2")},                // leaves a queue
		&CancelCommand{Lock: "elected", Session: "o", Request: req("o")},               // and ends a session
		&YieldCommand{Lock: "elected", Within: time.Second, Reason: "x"},               // asks
		&YieldCommand{Lock: "shared", Within: time.Millisecond, Reason: "sooner"},      // asks again
		&ProclaimCommand{Lock: "elected", Fence: 16, Value: "x"},                       //
		&TransferCommand{Lock: "elected", To: "b"},                                     //
		&EndCommand{ID: "a"},                            //
		&EndCommand{ID: "c"},                            //
		&LeadCommand{Ballot: b(2)},                      //
		&ForgetCommand{UpTo: 100},                       //
		&ForgetCommand{Own: true, UpTo: 100},            //
		&CompactCommand{UpTo: 100},                      //
		&AdvanceCommand{Resource: "disk", Fence: 9},     //
		&ForgetFenceCommand{Resource: "disk", Fence: 7}, //
		&PutCommand{Key: "k", Value: []byte("w")},       //
		&DeleteCommand{Key: "k"},                        //
		&OpenCommand{ID: "e", TTL: time.Second},         //
		&TxnCommand{Then: []Op{{Kind: OpDelete, Key: "k"}, {Kind: OpPut, Key: "l", Value: []byte("v")}}}, //
	}
}

// Of two snapshots under way only the later can be had: what changes is kept for
// one.
func TestLaterSnapshotVoidsTheEarlier(t *testing.T) {
	w := busy(t)
	first := w.m.Snapshot()
	second := w.m.Snapshot()
	if _, err := encoded(first); !errors.Is(err, errThawed) {
		t.Errorf("the earlier one: %v; want an error", err)
	}
	want, _ := w.m.encode()
	w.do(&EndCommand{ID: "a"})
	if got, err := encoded(second); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the later one is not of its moment, %v", err)
	}
}

// An installed state takes the place of the one that is being encoded, and does
// not disturb it.
func TestRestoreBesideAnEncoder(t *testing.T) {
	w, other := busy(t), newWorld(t)
	other.do(&PutCommand{Key: "k"})
	data, err := encoded(other.m.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	want, _ := w.m.encode()
	encode := w.m.Snapshot()
	if err := install(w.m, data); err != nil {
		t.Fatal(err)
	}
	w.open("a")
	w.do(&AcquireCommand{Lock: "shared", Session: "a"})
	if got, err := encoded(encode); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the snapshot is not of its moment, %v", err)
	}
}

// A restored state decoded beside commands is what was written.
func TestRestoreBesideCommands(t *testing.T) {
	source, w := busy(t), busy(t)
	data, err := encoded(source.m.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan func())
	go func() {
		become, err := w.m.Restore(data)
		if err != nil {
			t.Error(err)
		}
		done <- become
	}()
	w.do(&EndCommand{ID: "a"})
	w.do(&PutCommand{Key: "k2"})
	(<-done)()
	if got, _ := w.m.encode(); !slices.Equal(got, data) {
		t.Error("another state was installed")
	}
}

// full takes so many pieces and no more.
type full struct{ left int }

var errFull = errors.New("no room")

func (f *full) Write(p []byte) (int, error) {
	if f.left--; f.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

// An encoder whose pieces are not taken says so, whichever it is, and the machine
// keeps nothing for it any more.
func TestSnapshotThatIsNotTaken(t *testing.T) {
	w := busy(t)
	for left := 0; ; left++ {
		w.m.Snapshot()
		f := w.m.frozen
		f.every = 1
		err := f.encode(&full{left})
		if w.m.frozen != nil {
			t.Fatal("the machine keeps what was")
		}
		if err == nil {
			if left < 4 {
				t.Errorf("the snapshot is complete after %d pieces", left)
			}
			return
		}
		if !errors.Is(err, errFull) {
			t.Fatalf("after %d pieces: %v; want the error of the writer", left, err)
		}
	}
}
