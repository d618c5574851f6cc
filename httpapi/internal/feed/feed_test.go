package feed

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/prytany/prytany/locks"
)

func put(revision uint64, size int) *locks.Change {
	e := &locks.Entry{Key: "app/color", Value: []byte(strings.Repeat("v", size)), Revision: revision, Created: revision, Version: 1}
	return &locks.Change{Revision: revision, Events: []locks.Event{{Type: locks.EventPut, Name: e.Key, Entry: e}}}
}

// Streams of one topic share the bytes of a change, streams of another do not.
func TestToldOnce(t *testing.T) {
	told := NewCache()
	base := Topic{Group: "main", Prefix: "app/"}
	topics := []Topic{base, base, base, base, base, base}
	topics[1].Group = "g1"
	topics[2].SSE = true
	topics[3].Prefix = "app/c"
	topics[4].Exact = true
	topics[5].Types = locks.EventSet(0).With(locks.EventPut)
	ch := put(7, 10)
	var first []*byte
	for range 2 {
		for i, topic := range topics {
			b := told.Get(topic, ch)
			if string(b) != string(Encode(ch, topic.SSE)) {
				t.Errorf("%+v: %s", topic, b)
			}
			if len(first) < len(topics) {
				first = append(first, &b[0])
			} else if first[i] != &b[0] {
				t.Errorf("%+v: encoded twice", topic)
			}
		}
	}
	if len(told.said) != len(topics) {
		t.Errorf("%d kept", len(told.said))
	}
	for i := range first {
		for j := range i {
			if first[i] == first[j] {
				t.Errorf("topics %d and %d share", i, j)
			}
		}
	}
}

// What is kept is bounded in number and in bytes, and what has been forgotten is
// encoded again.
func TestToldIsBounded(t *testing.T) {
	for _, size := range []int{1, 100 << 10, 20 << 20} {
		told := NewCache()
		for revision := range uint64(2*maxChanges + 3) {
			if size > 1<<20 && revision > 3 {
				break
			}
			ch := put(revision+1, size)
			if b := told.Get(Topic{}, ch); len(b) < size {
				t.Fatalf("%d bytes of %d", len(b), size)
			}
			sum := 0
			for _, s := range told.said {
				sum += s.size
			}
			if len(told.said) > maxChanges || len(told.order) > maxChanges || sum != told.bytes || sum > maxBytes {
				t.Fatalf("%d changes, %d in order, %d bytes, %d counted", len(told.said), len(told.order), sum, told.bytes)
			}
		}
		if size == 1 && (told.said[saying{Topic{}, 1}] != nil || told.said[saying{Topic{}, 2*maxChanges + 3}] == nil) {
			t.Error("not the oldest was forgotten")
		}
	}
}

// What cannot be said is never taken for silence.
func TestToldFailsForAll(t *testing.T) {
	told, ch := NewCache(), &locks.Change{Revision: 1, Events: []locks.Event{{Type: locks.NumEventTypes}}}
	for range 2 {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("an event without a name was told")
				}
			}()
			told.Get(Topic{}, ch)
		}()
	}
}

func TestToldToMany(t *testing.T) {
	told := NewCache()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for revision := range uint64(500) {
				ch := put(revision+1, 64<<10)
				if want := fmt.Sprintf(`"revision":%d,"name":`, revision+1); !strings.Contains(string(told.Get(Topic{}, ch)[:80]), want) {
					t.Errorf("revision %d: %.80s", revision+1, told.Get(Topic{}, ch))
				}
			}
		})
	}
	all.Wait()
}

// The bytes are a promise, too.
func TestStreamBytes(t *testing.T) {
	ch := &locks.Change{Revision: 51, Events: []locks.Event{{Type: locks.EventDelete, Name: "a"}, {Type: locks.EventUnlock, Name: "b", Fence: 3}}}
	const one, two = `{"type":"delete","revision":51,"more":true,"name":"a"}` + "\n", `{"type":"unlock","revision":51,"name":"b","fence":3}` + "\n"
	if got := string(Encode(ch, false)); got != one+two {
		t.Errorf("%q", got)
	}
	if got := string(Encode(ch, true)); got != "event: delete\ndata: "+one+"\nid: 51\nevent: unlock\ndata: "+two+"\n" {
		t.Errorf("%q", got)
	}
}

func TestBookmark(t *testing.T) {
	if got := string(AppendBookmark([]byte("x"), 7, false)); got != "x"+`{"type":"bookmark","revision":7}`+"\n" {
		t.Errorf("%q", got)
	}
	if got := string(AppendBookmark(nil, 7, true)); got != "id: 7\nevent: bookmark\ndata: "+`{"type":"bookmark","revision":7}`+"\n\n" {
		t.Errorf("%q", got)
	}
}
