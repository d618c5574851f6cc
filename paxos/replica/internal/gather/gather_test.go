package gather

import (
	"slices"
	"testing"
)

func TestBatch(t *testing.T) {
	for _, c := range []struct{ from, want, rest []int }{
		{nil, nil, nil},
		{[]int{-1, -1}, nil, nil},
		{[]int{1, -1, 2}, []int{1, 2}, nil},
		{[]int{1, 1, 1, 1, -1}, []int{1, 1, 1}, []int{1, -1}}, // too many
		{[]int{6, 4, 1}, []int{6, 4}, []int{1}},               // too large
		{[]int{99, 1}, []int{99}, []int{1}},                   // one that is too large itself
		{[]int{1, 99}, []int{1}, []int{99}},
	} {
		n, batch := Batch(c.from, func(i int) int { return i }, 3, 10)
		if !slices.Equal(batch, c.want) || !slices.Equal(c.from[n:], c.rest) {
			t.Errorf("of %v go %v, and %v stay; want %v and %v", c.from, batch, c.from[n:], c.want, c.rest)
		}
	}
}

func TestGate(t *testing.T) {
	var g Gate
	for i, c := range []struct {
		oldest, newest uint64
		shut           bool
	}{
		{5, 5, true}, {6, 6, true}, {6, 6, false}, {6, 9, false}, {8, 12, false}, {12, 15, false}, {16, 16, true},
		{0, 0, true}, {0, 0, true}, {17, 17, true}, {17, 17, false},
	} {
		if g.Tick(c.oldest, c.newest); g.Shut(true) != c.shut || g.Shut(false) {
			t.Errorf("tick %d, oldest %d: shut %t while busy, %t while not; want %t and false", i, c.oldest, g.Shut(true), g.Shut(false), c.shut)
		}
	}
}
