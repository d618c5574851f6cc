package locks

import (
	"bytes"
	"testing"
	"time"

	"github.com/prytany/prytany/synod"
)

// samples is one command of every kind, all fields in use.
func samples() []Command {
	one := uint64(1)
	r := Request{ID: "id", Own: true, Hash: 5, Retry: true, Since: 3}
	return []Command{
		&LeadCommand{Ballot: synod.Ballot{Round: 1, Member: 2}},
		&ForgetCommand{Own: true, UpTo: 9},
		&DelayCommand{Lock: "l", Fence: 3},
		&ExpireCommand{Session: "s", Ballot: synod.Ballot{Round: 1, Member: 2}, Renewals: 1},
		&OpenCommand{Request: r, ID: "s", Name: "name", TTL: time.Second, LockDelay: time.Minute},
		&EndCommand{Request: r, ID: "s"},
		&AcquireCommand{Request: r, Lock: "l", Session: "s", Open: true, TTL: time.Second, Note: "note", Wait: true},
		&CancelCommand{Request: r, Lock: "l", Session: "s"},
		&ReleaseCommand{Request: r, Lock: "l", Fence: 4, Force: true, Reason: "why"},
		&PutCommand{
			Request: r, Key: "k", Value: []byte("v"), ContentType: "text/plain",
			IfRevision: &one, IfPresent: true, Session: "s", Guard: &Guard{Lock: "l", Fence: 4},
		},
		&DeleteCommand{Request: r, Key: "k", IfRevision: &one, Guard: &Guard{Lock: "l", Fence: 4}},
	}
}

func TestUnsupportedCommand(t *testing.T) {
	w := newWorld(t)
	if got := w.raw([]byte{4, 1}); !got.Refused || got.Code != Internal || w.m.Unsupported() != nil {
		t.Errorf("malformed: %+v, %v", got, w.m.Unsupported())
	}
	if got := w.raw([]byte{200, 1}); !got.Refused || got.Code != Internal || w.m.Unsupported() == nil {
		t.Errorf("a newer version's: %+v, %v", got, w.m.Unsupported())
	}
	if _, err := w.m.Snapshot(); err == nil {
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
		w.m.Ask(data, 0)
		_, _ = DecodeResult(data)
		_, _ = DecodeAnswer(data)
		if w.m.Unsupported() != nil {
			if _, err := w.m.Snapshot(); err == nil {
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
	w.open("a", "b")
	w.do(&AcquireCommand{Request: req("2"), Lock: "m", Session: "a"})
	w.do(&AcquireCommand{Request: req("3"), Lock: "m", Session: "b", Wait: true})
	f.Add(snapshotBody(w.m))
	f.Fuzz(func(t *testing.T, body []byte) {
		w := newWorld(t)
		if w.m.Restore(body) != nil && w.m.revision != 0 {
			t.Fatal("a refused snapshot has changed the state")
		}
		if w.m.Restore(seal(bytes.Clone(body))) != nil {
			return
		}
		if again := snapshotBody(w.m); !bytes.Equal(again, body) {
			t.Fatalf("%x restores and is saved as %x", body, again)
		}
		for _, c := range samples() {
			w.do(c)
		}
		for id := range w.m.sessions.From("") {
			w.do(&EndCommand{ID: id})
		}
	})
}

// snapshotBody returns m's snapshot without its checksum.
func snapshotBody(m *Machine) []byte {
	data, _ := m.Snapshot()
	return data[:len(data)-4]
}
