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
	r := Request{"id", true, 5, true, 3}
	return []Command{
		&LeadCommand{synod.Ballot{Round: 1, Member: 2}},
		&ForgetCommand{true, 9},
		&DelayCommand{"l", 3},
		&ExpireCommand{"s", synod.Ballot{Round: 1, Member: 2}, 0},
		&OpenCommand{r, "s", "name", time.Second, time.Minute},
		&EndCommand{r, "s"},
		&AcquireCommand{r, "l", "s", true, time.Second, "note", true},
		&CancelCommand{r, "l", "s"},
		&ReleaseCommand{r, "l", 4, true, "why"},
		&PutCommand{r, "k", []byte("v"), "text/plain", &one, true, "s", &Guard{"l", 4}},
		&DeleteCommand{r, "k", &one, &Guard{"l", 4}},
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
