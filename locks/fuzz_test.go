package locks

import (
	"bytes"
	"errors"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/prytany/prytany/locks/internal/command"
	"github.com/prytany/prytany/locks/internal/wire"
	"github.com/prytany/prytany/synod"
)

// samples is one command of every kind, all fields in use.
func samples() []Command {
	one := uint64(1)
	r := Request{ID: "id", Own: true, Hash: 5, Retry: true, Since: 3}
	return []Command{
		&LeadCommand{Ballot: synod.Ballot{Round: 1, Member: 2}},
		&ForgetCommand{Own: true, UpTo: 9},
		&DelayCommand{Lock: "l", Since: 3, Ballot: synod.Ballot{Round: 1, Member: 2}},
		&EndYieldCommand{Lock: "l", Since: 3, Ballot: synod.Ballot{Round: 1, Member: 2}},
		&CompactCommand{UpTo: 2},
		&ExpireCommand{Session: "s", Ballot: synod.Ballot{Round: 1, Member: 2}, Renewals: 1},
		&OpenCommand{Request: r, ID: "s", Name: "name", TTL: time.Second, LockDelay: time.Minute},
		&EndCommand{Request: r, ID: "s"},
		&AcquireCommand{
			Request: r, Lock: "l", Session: "s", Open: true, TTL: time.Second, Note: "note", Wait: true,
			Shared: true, Slots: 2, Campaign: true, Value: "value",
		},
		&AcquireAllCommand{Request: r, Session: "s", Locks: []string{"k", "l"}, Note: "note"},
		&CancelCommand{Request: r, Lock: "l", Session: "s"},
		&ReleaseCommand{Request: r, Lock: "l", Fence: 4, Session: "s", Force: true, Reason: "why"},
		&YieldCommand{Request: r, Lock: "l", Within: time.Second, Reason: "why"},
		&ProclaimCommand{Request: r, Lock: "l", Fence: 4, Value: "value"},
		&TransferCommand{Request: r, Lock: "l", Fence: 4, To: "s"},
		&AdvanceCommand{Request: r, Resource: "r", Fence: 4},
		&ForgetFenceCommand{Request: r, Resource: "r", Fence: 4},
		&PutCommand{
			Request: r, Key: "k", Value: []byte("v"), ContentType: "text/plain",
			IfRevision: &one, IfPresent: true, Session: "s", Guard: &Guard{Lock: "l", Fence: 4},
		},
		&DeleteCommand{Request: r, Key: "k", IfRevision: &one, Guard: &Guard{Lock: "l", Fence: 4}},
		&TxnCommand{
			Request: r,
			If: []If{
				{Kind: IfRevision, Name: "k", Revision: 3}, {Kind: IfExists, Name: "k"}, {Kind: IfAbsent, Name: "k"},
				{Kind: IfValue, Name: "k", Value: []byte("v")}, {Kind: IfAlive, Name: "s"},
				{Kind: IfCurrent, Name: "l", Revision: 4},
			},
			Then: []Op{
				{Kind: OpPut, Key: "k", Value: []byte("v"), ContentType: "text/plain", Session: "s"},
				{Kind: OpGet, Key: "k"}, {Kind: OpDelete, Key: "k"}, {Kind: OpDeletePrefix, Key: "k"},
			},
			Else: []Op{{Kind: OpPut, Key: "else", Value: []byte("v")}, {Kind: OpGet, Key: "else"}},
		},
	}
}

// busy is a world with something of every kind in it.
func busy(t testing.TB) *world {
	w := newWorld(t)
	w.lead(b(1))
	w.do(&OpenCommand{ID: "late", Name: "late", TTL: time.Second, LockDelay: time.Minute})
	w.open("a", "b", "c", "d")
	w.do(&AcquireCommand{Lock: "delayed", Session: "late"})
	w.do(&PutCommand{Key: "gone", Session: "late"})
	w.do(&ExpireCommand{Session: "late", Ballot: b(1), Renewals: 1})
	for i, c := range []*AcquireCommand{
		{Session: "a", Shared: true, Note: "note"}, {Session: "b", Shared: true},
		{Session: "c", Wait: true}, {Session: "d", Shared: true, Wait: true},
	} {
		c.Request, c.Lock = req(strconv.Itoa(i)), "shared"
		w.do(c)
	}
	w.do(&YieldCommand{Lock: "shared", Within: time.Second, Reason: "why"})
	w.do(&AcquireCommand{Lock: "slots", Session: "a", Slots: 2})
	w.do(&AcquireCommand{Lock: "slots", Session: "b", Slots: 2})
	w.do(&AcquireCommand{Lock: "elected", Session: "a", Campaign: true, Value: "http://a"})
	w.do(&AcquireCommand{Request: req("b"), Lock: "elected", Session: "b", Campaign: true, Value: "http://b", Wait: true})
	w.do(&AcquireCommand{Request: req("o"), Lock: "elected", Session: "o", Open: true, TTL: time.Second, Wait: true})
	w.do(&AcquireAllCommand{Request: Request{ID: "all", Hash: 1}, Session: "c", Locks: []string{"all", "both"}})
	w.do(&ReleaseCommand{Lock: "both", Force: true, Reason: "why"})
	w.do(&AdvanceCommand{Resource: "disk", Fence: 7})
	w.do(&PutCommand{Request: Request{ID: "put", Hash: 2}, Key: "k", Value: []byte("v"), ContentType: "text/plain", Session: "d"})
	w.do(&TxnCommand{Request: Request{ID: "txn", Hash: 3}, If: []If{{Kind: IfExists, Name: "k"}}, Then: []Op{
		{Kind: OpPut, Key: "t", Value: []byte("1")}, {Kind: OpGet, Key: "k"}, {Kind: OpPut, Key: "t", Value: []byte("2")},
	}})
	w.do(&DeleteCommand{Key: "none"})
	return w
}

func TestUnsupportedCommand(t *testing.T) {
	w := newWorld(t)
	if got := w.raw([]byte{4, 1}); !got.Refused || got.Code != Internal || w.m.Unsupported() != nil {
		t.Errorf("malformed: %+v, %v", got, w.m.Unsupported())
	}
	if got := w.raw([]byte{200, 1}); !got.Refused || got.Code != Internal || w.m.Unsupported() == nil {
		t.Errorf("a newer version's: %+v, %v", got, w.m.Unsupported())
	}
	if _, err := encoded(w.m.Snapshot()); err == nil {
		t.Error("a state without the command's effect became a snapshot")
	}
	if w.m.Revision() != 2 {
		t.Errorf("revision %d; want 2: every command counts", w.m.Revision())
	}
}

func FuzzApply(f *testing.F) {
	for _, c := range samples() {
		f.Add(Encode(c))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := Decode(data); err == nil && !bytes.Equal(Encode(c), data) {
			t.Fatalf("%x decodes to %+v, which encodes to %x", data, c, Encode(c))
		}
		w := newWorld(t)
		w.open("s")
		w.do(&AcquireCommand{Request: req("1"), Lock: "l", Session: "s"})
		w.raw(data)
		w.raw(data)
		w.lead(b(1))
		if w.m.Unsupported() != nil {
			if _, err := encoded(w.m.Snapshot()); err == nil {
				t.Fatal("a state without the command's effect became a snapshot")
			}
			return
		}
		restored(t, w.m)
	})
}

func FuzzRestore(f *testing.F) {
	w := newWorld(f)
	f.Add(snapshotBody(w.m))
	for _, c := range samples() {
		w.do(c)
	}
	f.Add(snapshotBody(w.m))
	f.Add(snapshotBody(busy(f).m))
	f.Fuzz(func(t *testing.T, body []byte) {
		w := newWorld(t)
		if install(w.m, body) != nil && w.m.revision != 0 {
			t.Fatal("a refused snapshot has changed the state")
		}
		if install(w.m, wire.Seal(bytes.Clone(body))) != nil {
			return
		}
		if again := snapshotBody(w.m); !bytes.Equal(again, body) {
			t.Fatalf("%x restores and is saved as %x", body, again)
		}
		for _, c := range samples() {
			w.do(c)
		}
		for name := range w.m.locks.From("") {
			w.do(&YieldCommand{Lock: name, Within: 1})
			w.do(&ReleaseCommand{Lock: name, Force: true})
		}
		for id := range w.m.sessions.From("") {
			w.do(&EndCommand{ID: id})
		}
		restored(t, w.m)
	})
}

// FuzzAnswers reads what is sent beside the log.
func FuzzAnswers(f *testing.F) {
	w := busy(f)
	for _, c := range samples() {
		f.Add(w.raw(Encode(c)).Encode())
	}
	all := Question{Extend: true, Sessions: []string{"a", "late", "x"}, Locks: []string{"shared", "delayed", "x"}}
	f.Add(all.Encode())
	f.Add(w.m.Ask(all.Encode(), 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := DecodeResult(data); err == nil && !bytes.Equal(r.Encode(), data) {
			t.Errorf("%x decodes to %+v, which encodes to %x", data, r, r.Encode())
		}
		if a, err := DecodeAnswer(data); err == nil && !bytes.Equal(a.Encode(), data) {
			t.Errorf("%x decodes to %+v, which encodes to %x", data, a, a.Encode())
		}
		if q, err := command.DecodeQuestion(data); err == nil && !bytes.Equal(q.Encode(), data) {
			t.Errorf("%x decodes to %+v, which encodes to %x", data, q, q.Encode())
		}
		before := w.m.Revision()
		w.m.Ask(data, 0) // what it extends is none of the state
		if w.m.Revision() != before || w.m.Unsupported() != nil {
			t.Fatal("a question has changed the state")
		}
	})
}

// FuzzBodies reads what transactions and requests for several locks return.
func FuzzBodies(f *testing.F) {
	w := busy(f)
	all := samples()
	f.Add(w.do(all[len(all)-1]).Body)
	f.Add(w.do(&AcquireAllCommand{Session: "d", Locks: []string{"shared", "delayed", "free"}}).Body)
	f.Add(w.do(&AcquireAllCommand{Session: "d", Locks: []string{"free", "freer"}}).Body)
	f.Fuzz(func(t *testing.T, body string) {
		if x, err := command.DecodeTxn(body); err == nil && x.Encode() != body {
			t.Errorf("%x decodes to %+v, which encodes to %x", body, x, x.Encode())
		}
		if x, err := command.DecodeHeld(body); err == nil && command.EncodeHeld(x) != body {
			t.Errorf("%x decodes to %+v, which encodes to %x", body, x, command.EncodeHeld(x))
		}
	})
}

// TestSamplesAreOfEveryKind keeps the corpus complete.
func TestSamplesAreOfEveryKind(t *testing.T) {
	kinds := map[byte]bool{}
	for _, c := range samples() {
		data := Encode(c)
		kinds[data[0]] = true
		again, err := Decode(data)
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("%+v is decoded as %+v, %v", c, again, err)
		}
	}
	for kind := range 256 {
		_, err := Decode([]byte{byte(kind)})
		_, unknown := errors.AsType[*command.UnsupportedError](err)
		if kinds[byte(kind)] == unknown {
			t.Errorf("kind %d: there is a sample: %v; it is known: %v", kind, kinds[byte(kind)], !unknown)
		}
	}
}

// TestBusyWorldSurvivesItsSnapshot also cuts the snapshot short and changes it.
func TestBusyWorldSurvivesItsSnapshot(t *testing.T) {
	w := busy(t)
	restored(t, w.m)
	if n := w.m.Counts(); n.Locks != 6 || n.Waiters != 4 || n.Sessions != 5 || n.Fences != 1 || n.Entries != 2 {
		t.Errorf("the busy world has %+v", n)
	}
	body := snapshotBody(w.m)
	for i := range body {
		if install(NewMachine(), wire.Seal(bytes.Clone(body[:i]))) == nil {
			t.Errorf("the first %d bytes restore", i)
		}
		for _, flip := range []byte{1, 0x40, 0xff} {
			other := bytes.Clone(body)
			other[i] ^= flip
			m := NewMachine()
			if install(m, wire.Seal(bytes.Clone(other))) == nil && !bytes.Equal(snapshotBody(m), other) {
				t.Fatalf("byte %d changed by %x: restores and is saved as something else", i, flip)
			}
		}
	}
}

// snapshotBody returns m's snapshot without its checksum.
func snapshotBody(m *Machine) []byte {
	data, _ := encoded(m.Snapshot())
	return data[:len(data)-4]
}
