package httpapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/httpapi/internal/feed"
	"github.com/prytany/prytany/locks"
)

func put(revision uint64, size int) *locks.Change {
	e := &locks.Entry{Key: "app/color", Value: []byte(strings.Repeat("v", size)), Revision: revision, Created: revision, Version: 1}
	return &locks.Change{Revision: revision, Events: []locks.Event{{Type: locks.EventPut, Name: e.Key, Entry: e}}}
}

// nowhere is the connection of a reader who takes everything at once.
type nowhere struct {
	http.ResponseWriter
	writes int
}

func (n *nowhere) Write(b []byte) (int, error)        { n.writes++; return len(b), nil }
func (n *nowhere) FlushError() error                  { return nil }
func (n *nowhere) SetWriteDeadline(_ time.Time) error { return nil }

// tellers returns n streams of one topic.
func tellers(n int) (out []*teller) {
	s := New(Config{})
	for range n {
		w := &nowhere{}
		out = append(out, &teller{
			pipe:  &pipe{c: &call{s: s}, w: &recorder{ResponseWriter: w}, rc: http.NewResponseController(w)},
			topic: feed.Topic{Group: "main", Prefix: "app/", SSE: true},
		})
	}
	return out
}

// What one revision did is written at once, however much it is.
func TestOneWriteForARevision(t *testing.T) {
	s := tellers(1)[0]
	for i := range everything {
		s.change(&everything[i])
	}
	if n := s.w.(*recorder).ResponseWriter.(*nowhere).writes; n != len(everything) || s.err != nil {
		t.Errorf("%d writes of %d revisions, %v", n, len(everything), s.err)
	}
}

// A stream that tells what another has told allocates nothing for it, nor for a
// bookmark after its first.
func TestWatchersShare(t *testing.T) {
	ch := put(1, 1<<10)
	both := tellers(2)
	for _, s := range both {
		s.change(ch)
		s.bookmark(1)
	}
	n := testing.AllocsPerRun(100, func() {
		both[1].change(ch)
		both[1].flush()
		both[1].bookmark(1 << 50)
		both[1].flush()
	})
	if n > 0 || both[1].err != nil {
		t.Errorf("%v allocations, %v", n, both[1].err)
	}
}

// What one stream costs for one event of 1 KiB, the network aside.
func BenchmarkWatchers(b *testing.B) {
	for _, watchers := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(watchers), func(b *testing.B) {
			all := tellers(watchers)
			b.ReportAllocs()
			revision := uint64(0)
			for b.Loop() {
				revision++
				ch := put(revision, 1<<10)
				for _, s := range all {
					s.change(ch)
					s.flush()
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*watchers), "ns/watcher")
		})
	}
}
