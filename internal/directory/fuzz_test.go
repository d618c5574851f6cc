package directory

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/prytany/prytany/locks"
)

// FuzzDecode applies any bytes, twice, in a busy world.
func FuzzDecode(f *testing.F) {
	for _, c := range samples() {
		f.Add(Encode(c))
	}
	f.Add([]byte{first, commandVersion + 1, 1})
	b := busy(f)
	full := snapshot(f, b.m)
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := decode(data); err == nil && !bytes.Equal(Encode(c), data) {
			t.Fatalf("%x decodes to %+v, which encodes to %x", data, c, Encode(c))
		}
		w, twin := newWorld(t), newWorld(t)
		for _, x := range []*world{w, twin} {
			if x.slot = b.slot; restore(x.m, full) != nil {
				t.Fatal("a snapshot is not restored")
			}
		}
		cmd := append([]byte{first}, data...)
		if Is(data) {
			cmd = data
		}
		for range 2 {
			if a, b := w.raw(cmd), twin.raw(cmd); !reflect.DeepEqual(a, b) {
				t.Fatalf("%x: %+v on one node, %+v on the other", cmd, a, b)
			}
		}
		if w.m.Unsupported() != nil {
			if _, err := encoded(w.m.Snapshot()); err == nil {
				t.Fatal("a state without the command's effect became a snapshot")
			}
			return
		}
		restored(t, w.m)
	})
}

// FuzzRestore restores any directory whose checksum is right.
func FuzzRestore(f *testing.F) {
	w := newWorld(f)
	inner := snapshot(f, w.m)
	f.Add(w.m.View().encode())
	for _, c := range samples() {
		w.do(c)
	}
	f.Add(w.m.View().encode())
	f.Add(busy(f).m.View().encode())
	f.Fuzz(func(t *testing.T, dir []byte) {
		w := newWorld(t)
		if restore(w.m, append(head(dir), inner...)) != nil {
			if w.m.View().Version != 0 {
				t.Fatal("a refused snapshot has changed the state")
			}
			return
		}
		if again := w.m.View().encode(); !bytes.Equal(again, dir) {
			t.Fatalf("%x restores and is saved as %x", dir, again)
		}
		for _, c := range samples() {
			w.do(c)
		}
		restored(t, w.m)
	})
}

// FuzzUnwrap takes snapshots apart.
func FuzzUnwrap(f *testing.F) {
	f.Add(snapshot(f, busy(f).m))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, data []byte) {
		if dir, in, err := unwrap(data); err == nil && dir != nil && !bytes.Equal(append(head(dir), in...), data) {
			t.Fatalf("%x is taken apart as %x and %x", data, dir, in)
		}
		_, _ = New(locks.NewMachine()).Restore(data)
	})
}

// FuzzResult reads what another node has answered.
func FuzzResult(f *testing.F) {
	w := busy(f)
	for _, c := range samples() {
		f.Add(w.do(c).encode())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := DecodeResult(data); err == nil && !bytes.Equal(r.encode(), data) {
			t.Errorf("%x decodes to %+v, which encodes to %x", data, r, r.encode())
		}
	})
}

// TestSamplesAreOfEveryKind keeps the corpus complete, and every field in it in use.
func TestSamplesAreOfEveryKind(t *testing.T) {
	kinds := map[uint8]bool{}
	for _, c := range samples() {
		kinds[c.kind()] = true
		if again, err := decode(Encode(c)); err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("%+v is decoded as %+v, %v", c, again, err)
		}
		for v, i := reflect.ValueOf(c).Elem(), 0; i < v.NumField(); i++ {
			if v.Field(i).IsZero() {
				t.Errorf("%T: no sample uses %s", c, v.Type().Field(i).Name)
			}
		}
	}
	for kind := range 256 {
		if known := newCommand(uint8(kind)) != nil; known != kinds[uint8(kind)] {
			t.Errorf("kind %d: there is a sample: %v; it is known: %v", kind, !known, known)
		}
	}
}
