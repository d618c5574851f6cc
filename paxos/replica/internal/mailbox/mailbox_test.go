package mailbox

import (
	"slices"
	"testing"
)

func TestBox(t *testing.T) {
	var b Box[int]
	var put, got []int
	for round := range 50 {
		for i := range round % 7 {
			b.Put(round*10 + i)
			put = append(put, round*10+i)
		}
		items, more := b.Take(3)
		if len(items) > 3 || more != (b.Len() > 0) {
			t.Fatalf("%v, more %v, %d left", items, more, b.Len())
		}
		got = append(got, items...)
		b.Put(-round) // while they are being looked at
		put = append(put, -round)
		if len(items) > 0 && items[len(items)-1] != got[len(got)-1] {
			t.Fatal("what was taken has changed")
		}
		b.Back(items)
	}
	got = append(got, b.Empty()...)
	if !slices.Equal(put, got) {
		t.Errorf("put %v; got %v", put, got)
	}
	if b.Len() != 0 {
		t.Error("it is not empty")
	}
}

func TestCrowdIsNotKept(t *testing.T) {
	var b Box[int]
	for range keep + 1 {
		b.Put(1)
	}
	got, _ := b.Take(10 * keep)
	b.Back(got)
	if cap(b.spare) > 0 {
		t.Errorf("room for %d is kept", cap(b.spare))
	}
}
