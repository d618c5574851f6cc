package ordered

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestMapIsLikeAMap(t *testing.T) { rapid.Check(t, likeAMap) }

// FuzzMap has the fuzzer choose what rapid draws.
func FuzzMap(f *testing.F) {
	seed := make([]byte, 8<<10) // with less rapid draws nothing
	_, _ = rand.NewChaCha8([32]byte{1}).Read(seed)
	f.Add(seed)
	f.Fuzz(rapid.MakeFuzz(likeAMap))
}

func likeAMap(t *rapid.T) {
	var tr Map[int]
	m := map[string]int{}
	old, was := tr, maps.Clone(m)
	for i := range rapid.IntRange(0, 300).Draw(t, "steps") {
		key := fmt.Sprint(rapid.IntRange(0, 60).Draw(t, "key"))
		switch rapid.IntRange(0, 9).Draw(t, "what") {
		case 0, 1, 2, 3:
			tr.Delete(key)
			delete(m, key)
		case 4:
			old, was = tr, maps.Clone(m)
		default:
			tr.Set(key, i)
			m[key] = i
		}
	}
	sameAs(t, tr, m)
	sameAs(t, old, was) // what came after did not touch it
	keys := slices.Sorted(maps.Keys(m))
	var values []int
	for _, k := range keys {
		values = append(values, m[k])
	}
	sameAs(t, Build(keys, values), m)
}

func sameAs(t *rapid.T, tr Map[int], m map[string]int) {
	if got := maps.Collect(tr.From("")); !maps.Equal(got, m) || tr.Len() != len(m) {
		t.Fatalf("tree of %d: %v\nwant %v", tr.Len(), got, m)
	}
	for _, from := range []string{"", "3", "35", "x"} {
		var got, want []string
		for k := range tr.From(from) {
			got = append(got, k)
		}
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if k >= from {
				want = append(want, k)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("from %q: %v; want %v", from, got, want)
		}
	}
	balanced(t, tr.root)
}

func balanced(t *rapid.T, n *node[int]) {
	if n == nil {
		return
	}
	l, r := n.left.tall(), n.right.tall()
	if n.height != 1+max(l, r) || l > r+1 || r > l+1 {
		t.Fatalf("at %s: height %d over %d and %d", n.key, n.height, l, r)
	}
	balanced(t, n.left)
	balanced(t, n.right)
}
