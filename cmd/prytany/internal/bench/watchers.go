package bench

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/prytany/prytany/cmd/prytany/internal/cli"
)

// watchers write all the time and note when they were answered.
type watchers struct {
	*entries

	mu     sync.Mutex
	acks   []ack // since forget, in order of their ends
	failed int
}

// An ack is one write that was acknowledged.
type ack struct{ sent, ended time.Time }

// write writes to the key of one client until ctx ends.
func (w *watchers) write(ctx context.Context, worker int) {
	for n := int64(1); ctx.Err() == nil; n++ {
		sent := time.Now()
		err := w.put(ctx, worker, worker, n)
		ended := time.Now()
		w.mu.Lock()
		switch {
		case err == nil:
			w.acks = append(w.acks, ack{sent, ended})
		case ctx.Err() == nil:
			w.failed++
		}
		w.mu.Unlock()
		if err != nil {
			cli.Pause(ctx, 10*time.Millisecond)
		}
	}
}

// forget begins a round.
func (w *watchers) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	// The last answer before it is where a gap begins.
	w.acks = slices.Clone(w.acks[max(len(w.acks)-1, 0):])
	w.failed = 0
}

// await waits until each client that waits has been answered, for all that time
// at least: a leader that goes may be missed some time later only. It gives up
// after a minute.
func (w *watchers) await(ctx context.Context, began time.Time, rest time.Duration) {
	for end := began.Add(time.Minute); ctx.Err() == nil && time.Now().Before(end); cli.Pause(ctx, 10*time.Millisecond) {
		w.mu.Lock()
		answered := slices.ContainsFunc(w.acks, func(a ack) bool { return a.ended.After(began.Add(rest)) })
		w.mu.Unlock()
		if answered {
			return
		}
	}
}

// judge says what a round that began then has cost.
func (w *watchers) judge(began time.Time) (r round) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r.Failed = w.failed
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	for i, a := range w.acks {
		r.LongestMS = max(r.LongestMS, ms(a.ended.Sub(a.sent)))
		if i > 0 {
			r.OutageMS = max(r.OutageMS, ms(a.ended.Sub(w.acks[i-1].ended)))
		}
		if r.FirstMS == 0 && a.sent.After(began) {
			r.FirstMS = ms(a.ended.Sub(began))
		}
	}
	if len(w.acks) > 0 {
		// Nothing since the last one is a gap, too.
		r.OutageMS = max(r.OutageMS, ms(time.Since(w.acks[len(w.acks)-1].ended)))
	}
	return r
}
