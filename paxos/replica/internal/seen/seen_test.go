package seen

import "testing"

func TestWindow(t *testing.T) {
	var w Window
	id := func(n uint64) uint64 { return 3<<32 + n }
	for _, step := range []struct {
		id   uint64
		want bool
	}{
		{id(5), true}, {id(5), false}, {id(2), true}, {id(2), false}, {id(5 + windowSize - 1), true}, {id(5), false},
		{id(6), true}, {id(6), false}, {id(5 + windowSize), true}, {id(5), false}, {id(7), true},
		{id(9 * windowSize), true}, {id(5 + windowSize), false}, {id(9*windowSize - 1), true}, {1<<33 - 1, false},
	} {
		if got := w.Fresh(step.id); got != step.want {
			t.Errorf("Fresh(%d) = %v; want %v", step.id-id(0), got, step.want)
		}
	}
}
