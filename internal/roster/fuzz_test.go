package roster

import (
	"testing"

	"github.com/prytany/prytany/synod"
)

// FuzzRoster has processes of a few nodes speak in any order, three bytes a step. Who
// is let in must be as a list of all who have spoken says: nobody below an incarnation
// that was seen, and no second process of the same.
func FuzzRoster(f *testing.F) {
	f.Add([]byte{0, 1, 1, 0, 1, 2, 0, 2, 1, 0, 1, 1, 1, 3, 0, 1, 3, 4})
	f.Fuzz(func(t *testing.T, steps []byte) {
		type process struct{ incarnation, nonce uint64 }
		r, spoken := New(nil), map[synod.NodeID][]process{}
		for steps = steps[:min(len(steps), 3*48)]; len(steps) >= 3; steps = steps[3:] {
			node := synod.NodeID(steps[0]%4 + 1)
			p := process{uint64(steps[1] % 8), uint64(steps[2] % 4)}
			want := true
			for i, q := range spoken[node] {
				last := i == len(spoken[node])-1
				if p.incarnation < q.incarnation || last && p.incarnation == q.incarnation && p.nonce != q.nonce && p.nonce != 0 && q.nonce != 0 {
					want = false
				}
			}
			if err := r.Admit(node, p.incarnation, p.nonce); (err == nil) != want {
				t.Fatalf("%v of %v, after %v: %v", p, node, spoken[node], err)
			} else if err != nil {
				continue
			}
			r.Note(node, p.incarnation, p.nonce)
			spoken[node] = append(spoken[node], p)
			was := r.Seen(node).Position
			at := uint64(steps[0])
			if news := r.Reached(node, p.incarnation, p.nonce, at); news != (at > was) || r.Seen(node).Position != max(was, at) {
				t.Fatalf("%d after %d: %v, and then %+v", at, was, news, r.Seen(node))
			}
		}
		if again := New(r.seen); len(again.seen) != len(r.seen) {
			t.Fatal("a roster is made of another, and has forgotten nodes")
		}
	})
}

// FuzzSelf compares any past with any sighting: no panic, and who was never seen may
// speak.
func FuzzSelf(f *testing.F) {
	f.Add(uint64(3), uint64(7), uint64(2), uint64(5), uint64(9), []byte{1, 2, 3, 4})
	f.Add(uint64(1), uint64(0), uint64(1<<63), uint64(5), uint64(9), []byte{})
	f.Fuzz(func(t *testing.T, incarnation, nonce, seenAs, seenNonce, position uint64, past []byte) {
		s := Self{Node: 1, Incarnation: incarnation, Nonce: nonce}
		for ; len(past) >= 2; past = past[2:] {
			s.Past = append(s.Past, Life{Nonce: uint64(past[0]), End: uint64(past[1])})
		}
		if err := s.Check(Sighting{}); err != nil {
			t.Fatal(err)
		}
		err := s.Check(Sighting{seenAs, seenNonce, position})
		if seenAs > incarnation && err == nil {
			t.Fatalf("incarnation %d may speak after %d", incarnation, seenAs)
		}
		if seenAs == incarnation && !differ(seenNonce, nonce) && err != nil {
			t.Fatalf("what was seen of this very process forbids it: %v", err)
		}
	})
}
