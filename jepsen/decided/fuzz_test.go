package decided

import (
	"bytes"
	"reflect"
	"testing"
)

// FuzzRead reads anything as the log of a node, and merges it with a good one: what is
// taken is, written again, the same; the merged log has no gap, and says of every
// decided slot what it is or that it is missing.
func FuzzRead(f *testing.F) {
	for _, n := range []Node{
		node(1, 2, vote(2, 1, "a", true), vote(3, 1, "b", false)),
		{Version: Version, Name: "n1", ID: 1, Decided: 1 << 62, Snapshot: 1 << 61},
		node(1, 1, vote(1<<60, 1, "a", false)),
	} {
		var b bytes.Buffer
		if err := n.Write(&b); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte(`{"version":1,"decided":18446744073709551615,"snapshot":18446744073709551615}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		n, err := Read(bytes.NewReader(text))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := n.Write(&b); err != nil {
			t.Fatal(err)
		}
		if again, err := Read(&b); err != nil || !reflect.DeepEqual(again, n) {
			t.Fatalf("%+v came back as %+v, %v", n, again, err)
		}
		l := Merge([]Node{n, node(2, 2, vote(2, 1, "a", true))})
		for i, s := range l.Slots {
			if s.Slot != uint64(i)+first || s.From > s.To {
				t.Fatalf("%+v is the slot %d of the log", s, i+first)
			}
		}
		if end := first + uint64(len(l.Slots)); l.Whole() == nil && end <= l.Decided {
			t.Fatalf("it is whole up to slot %d of %d", end, l.Decided)
		}
	})
}
