package agenda

import (
	"testing"
	"time"
)

func TestEventsComeInOrder(t *testing.T) {
	var s Schedule[int]
	for _, at := range []time.Duration{5, 1, 4, 1, 3, 5, 9, 2, 6, 5, 3, 5} {
		s.Add(at)
	}
	var last Event[int]
	for s.Len() > 0 {
		e := s.Pop()
		if before(e, &last) {
			t.Errorf("(%d, %d) comes after (%d, %d)", e.At, e.seq, last.At, last.seq)
		}
		last = *e
		s.Release(e)
	}
}
