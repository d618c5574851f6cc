package service

import (
	"context"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prytany/prytany/locks"
)

const many = 10_000

// BenchmarkStreams puts entries under a prefix that 10,000 streams watch. Each
// is told of one before the next.
func BenchmarkStreams(b *testing.B) {
	l := newFakeLog()
	s := newService(l)
	ctx, cancel := context.WithCancel(b.Context())
	var told, all sync.WaitGroup
	for range many {
		w, _, err := s.Watch(ctx, Watch{Prefix: "config/"})
		if err != nil {
			b.Fatal(err)
		}
		all.Go(func() {
			defer w.Close()
			for {
				changes, _, err := w.Next(ctx, time.Minute)
				if err != nil {
					return
				}
				told.Add(-len(changes))
			}
		})
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for b.Loop() {
		told.Add(many)
		l.order(&locks.PutCommand{Key: "config/a", Value: []byte("v")})
		told.Wait()
	}
	runtime.ReadMemStats(&after)
	events := float64(b.N) * many
	b.ReportMetric(float64(b.Elapsed())/events, "ns/stream")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/events, "allocs/stream")
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/events, "B/stream")
	cancel()
	all.Wait()
}

// BenchmarkHeldKeepAlives holds 10,000 keepalives and measures the heap that
// they take: stacks are not part of it.
func BenchmarkHeldKeepAlives(b *testing.B) {
	l := newFakeLog()
	s := newService(l)
	ids := make([]string, many)
	for i := range ids {
		ids[i] = open(b, s, "")
	}
	heap := func() (m runtime.MemStats) {
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m
	}
	var grown, stacks float64
	for b.Loop() {
		ctx, cancel := context.WithCancel(b.Context())
		before := heap()
		var all sync.WaitGroup
		for _, id := range ids {
			all.Go(func() { _, _, _ = s.KeepAlive(ctx, KeepAlive{ID: id, Hold: 5 * time.Minute}) })
		}
		for subscriptions(l.m) < many {
			runtime.Gosched()
		}
		after := heap()
		grown += float64(after.HeapAlloc) - float64(before.HeapAlloc)
		stacks += float64(after.StackInuse) - float64(before.StackInuse)
		cancel()
		all.Wait()
	}
	b.ReportMetric(grown/float64(b.N)/many, "B/held")
	b.ReportMetric(stacks/float64(b.N)/many, "stack-B/held")
}

// BenchmarkRenewals has 2,000 callers renew over a log whose questions take a
// millisecond.
func BenchmarkRenewals(b *testing.B) {
	l := newFakeLog()
	s := newService(l)
	ids := make([]string, 2000)
	for i := range ids {
		ids[i] = open(b, s, "")
	}
	l.delay = func() time.Duration { return time.Millisecond / 2 }
	var next atomic.Int64
	var all sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for _, id := range ids {
		all.Go(func() {
			for next.Add(1) <= int64(b.N) {
				if _, _, err := s.KeepAlive(b.Context(), KeepAlive{ID: id}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "renewals/s")
	b.ReportMetric(float64(b.N)/float64(l.asks), "renewals/question")
}

// BenchmarkCalls has one caller ask for one thing after the other of a log that
// answers at once.
func BenchmarkCalls(b *testing.B) {
	l := newFakeLog()
	s := newService(l)
	id := open(b, s, "")
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	value := make([]byte, 256)
	put(b, s, "app/color")
	var n int
	key := func() Common { // each is another
		n++
		return Common{IdempotencyKey: strconv.Itoa(n)}
	}
	for _, tt := range []struct {
		name string
		do   func() error
	}{
		{"put", func() error {
			_, _, _, err := s.Put(ctx, Put{Common: key(), Key: "app/color", Value: value, ContentType: "text/plain"})
			return err
		}},
		{"put-unkeyed", func() error {
			_, _, _, err := s.Put(ctx, Put{Key: "app/color", Value: value, ContentType: "text/plain"})
			return err
		}},
		{"get", func() error { _, _, err := s.Get(ctx, "app/color", Read{}); return err }},
		{"get-stale", func() error { _, _, err := s.Get(ctx, "app/color", Read{Stale: true}); return err }},
		{"lock-unlock", func() error {
			g, _, err := s.Acquire(ctx, Acquire{Common: key(), Name: "nightly", Session: id})
			if err == nil {
				_, err = s.Release(ctx, Release{Common: key(), Name: "nightly", Fence: g.Fence})
			}
			return err
		}},
		{"keepalive", func() error { _, _, err := s.KeepAlive(ctx, KeepAlive{ID: id}); return err }},
	} {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := tt.do(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
