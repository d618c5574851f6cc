package history

import (
	"slices"
	"testing"
)

// What is dropped must not stay in memory, nor may those who read it lose it.
func TestHistoryLetsGo(t *testing.T) {
	const limit = 1000
	var h History
	var reading []*Change
	most := 0
	for i := range uint64(20_000) {
		h.Add(&Change{Revision: i + 1, Events: []Event{{Type: Delete, Name: "k"}}}, limit, 1<<30)
		if i == 1500 {
			reading = h.Since(0)
		}
		most = max(most, h.gone)
	}
	if most > limit/4 {
		t.Errorf("%d changes were kept from the collector", most)
	}
	if len(reading) != limit || slices.Contains(reading, nil) || reading[0].Revision != 502 {
		t.Errorf("a reader lost what it had: %d changes", len(reading))
	}
	if got := h.Since(1<<64 - 1); len(got) != 0 {
		t.Errorf("%d changes after all revisions", len(got))
	}
	h.Compact(1 << 60)
	if cap(h.changes) != 0 || h.gone != 0 || h.size != 0 {
		t.Errorf("room is kept for %d changes that have gone, with %d bytes", cap(h.changes), h.size)
	}
}

// Readers take no lock: with the race detector this finds who writes to what
// they read.
func TestHistoryIsReadWhileItChanges(t *testing.T) {
	var h History
	views, done := make(chan []*Change), make(chan uint64)
	go func() {
		sum := uint64(0)
		for v := range views {
			for _, c := range v {
				sum += c.Revision + uint64(len(c.Events))
			}
		}
		done <- sum
	}()
	for i := range uint64(2000) {
		h.Add(&Change{Revision: i + 1, Events: []Event{{Type: Put, Entry: &Entry{Key: "k"}}}}, 30, 1<<30)
		if i%100 == 99 {
			h.Compact(i - 10)
		}
		views <- h.Since(0)
	}
	close(views)
	if sum := <-done; sum == 0 {
		t.Error("nothing was read")
	}
}
