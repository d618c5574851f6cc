// Package load drives a service with so many workers for so long, and measures
// how long each operation took.
//
// In a closed loop a worker begins an operation when its last one has ended: the
// rate is what comes of it. In an open loop operations are due at fixed times,
// and the latency counts from when one was due, not from when some worker got
// round to it. Otherwise a service that stands still for a second would delay
// one operation for each worker, and spare all others that users would have
// sent meanwhile.
package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The range of latencies that can be told apart, and how well.
const (
	shortest = time.Microsecond
	longest  = time.Hour
	digits   = 3
)

// A Plan says what to do.
type Plan struct {
	Workers  int
	Rate     float64       // operations a second that are due, by all workers together; 0: closed loop
	Warmup   time.Duration // operations that begin in it are done and not counted
	Duration time.Duration
	Kinds    []string // what kinds of operations there are

	// Do does the n-th operation of a worker, both counted from 0, and tells its
	// kind, an index into Kinds. It must come back some time after ctx has ended.
	Do func(ctx context.Context, worker, n int) (kind int, err error)
	// Unclear, unless nil, reports whether an error leaves open what happened.
	Unclear func(error) bool
	// Progress, unless nil, is called every second from a goroutine of its own.
	Progress func(Progress)
}

// A Progress is how far a run has come.
type Progress struct {
	Warm     bool          // the warm-up is over
	Elapsed  time.Duration // of the warm-up, or of what counts
	Rate     float64       // operations that succeeded a second, in the last second or so
	P50, P99 time.Duration // of all that counted so far
	Failed   int64
}

// A Result is what a run measured.
type Result struct {
	Elapsed time.Duration // from the first operation that counted to the end of the last
	Kinds   []Kind
	// Late is how many operations were due within the time and never sent, because
	// all workers were busy. Open loop only.
	Late int64
}

// A Kind is what was measured of one kind of operation.
type Kind struct {
	Name    string
	Done    int64 // succeeded
	Failed  int64 // Unclear ones too
	Unclear int64
	First   error // the first of the errors, nil if there were none
	// Latency is of those that succeeded, in microseconds, from when they were
	// due; Service from when they were sent. In a closed loop they are the same.
	Latency, Service *hdrhistogram.Histogram
}

// Run carries out p. If ctx ends before that it returns what was measured until
// then. The only errors are plans that make no sense.
func Run(ctx context.Context, p Plan) (Result, error) {
	switch {
	case p.Workers < 1:
		return Result{}, fmt.Errorf("load: %d workers: want 1 or more", p.Workers)
	case p.Rate < 0:
		return Result{}, fmt.Errorf("load: %v operations a second: want 0 or more", p.Rate)
	case p.Duration <= 0 || p.Warmup < 0:
		return Result{}, fmt.Errorf("load: %v after %v: want more than nothing", p.Duration, p.Warmup)
	case len(p.Kinds) == 0 || p.Do == nil:
		return Result{}, errors.New("load: nothing to do")
	}
	r := &run{Plan: p, begin: time.Now()}
	r.from = r.begin.Add(p.Warmup)
	r.until = r.from.Add(p.Duration)
	for _, name := range p.Kinds {
		r.kinds = append(r.kinds, Kind{Name: name, Latency: histogram(), Service: histogram()})
	}
	done := make(chan struct{})
	var reports sync.WaitGroup
	if p.Progress != nil {
		reports.Go(func() { r.report(done) })
	}
	var workers sync.WaitGroup
	for w := range p.Workers {
		workers.Go(func() { r.work(ctx, w) })
	}
	workers.Wait()
	close(done)
	reports.Wait()
	return r.result(ctx), nil
}

func histogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(int64(shortest/time.Microsecond), int64(longest/time.Microsecond), digits)
}

// A run is one Plan under way.
type run struct {
	Plan
	begin, from, until time.Time
	late               atomic.Int64

	mu    sync.Mutex
	kinds []Kind
	last  time.Time // when the last operation that counts ended
}

// work is one worker.
func (r *run) work(ctx context.Context, worker int) {
	for n := 0; ctx.Err() == nil; n++ {
		due := time.Now()
		if r.Rate > 0 {
			if due = r.due(worker, n); due.Before(r.from) && time.Now().After(r.from) {
				continue // what the warm-up did not get done burdens nothing that counts
			}
			if !due.Before(r.until) || !sleepUntil(ctx, due) {
				return
			}
		}
		sent := time.Now()
		if !sent.Before(r.until) {
			if r.Rate > 0 {
				r.late.Add(r.dueAfter(worker, n))
			}
			return
		}
		kind, err := r.Do(ctx, worker, n)
		ended := time.Now()
		if err != nil && ctx.Err() != nil {
			return // broken off from outside, which says nothing of the service
		}
		if r.Rate == 0 {
			due = sent
		}
		if !due.Before(r.from) {
			r.count(kind, err, due, sent, ended)
		}
	}
}

// due is when the n-th operation of a worker is due: the workers take turns.
func (r *run) due(worker, n int) time.Time {
	turn := float64(n)*float64(r.Workers) + float64(worker)
	return r.begin.Add(time.Duration(turn / r.Rate * float64(time.Second)))
}

// dueAfter is how many operations of a worker, from the n-th on, are due before
// the end and count.
func (r *run) dueAfter(worker, n int) (left int64) {
	for ; r.due(worker, n).Before(r.until); n++ {
		if !r.due(worker, n).Before(r.from) {
			left++
		}
	}
	return left
}

// sleepUntil reports whether t came before ctx ended.
func sleepUntil(ctx context.Context, t time.Time) bool {
	d := time.Until(t)
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func (r *run) count(kind int, err error, due, sent, ended time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ended.After(r.last) {
		r.last = ended
	}
	k := &r.kinds[kind]
	if err != nil {
		k.Failed++
		if r.Unclear != nil && r.Unclear(err) {
			k.Unclear++
		}
		if k.First == nil {
			k.First = err
		}
		return
	}
	k.Done++
	record(k.Latency, ended.Sub(due))
	record(k.Service, ended.Sub(sent))
}

// record counts d. An hour and more counts as an hour: no request lives so long.
func record(h *hdrhistogram.Histogram, d time.Duration) {
	d = min(max(d, shortest), longest)
	if err := h.RecordValue(d.Microseconds()); err != nil {
		panic(err) // d is within the histogram's range
	}
}

// report tells of progress every second until done.
func (r *run) report(done <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var before int64
	at := r.from
	for {
		select {
		case <-done:
			return
		case now := <-tick.C:
			p := Progress{Warm: now.After(r.from), Elapsed: now.Sub(r.begin)}
			if p.Warm {
				all := histogram()
				r.mu.Lock()
				for _, k := range r.kinds {
					all.Merge(k.Latency)
					p.Failed += k.Failed
				}
				r.mu.Unlock()
				count := all.TotalCount()
				p.Elapsed, p.Rate = now.Sub(r.from), float64(count-before)/now.Sub(at).Seconds()
				p.P50, p.P99 = Quantile(all, 50), Quantile(all, 99)
				before, at = count, now
			}
			r.Progress(p)
		}
	}
}

func (r *run) result(ctx context.Context) Result {
	out := Result{Kinds: r.kinds, Elapsed: r.last.Sub(r.from), Late: r.late.Load()}
	if r.last.IsZero() {
		end := time.Now()
		if ctx.Err() == nil || end.After(r.until) {
			end = r.until
		}
		out.Elapsed = max(end.Sub(r.from), 0)
	}
	return out
}

// Quantile is the latency that percent of 100 operations did not exceed, 0 if
// there were none.
func Quantile(h *hdrhistogram.Histogram, percent float64) time.Duration {
	if h.TotalCount() == 0 {
		return 0
	}
	return time.Duration(h.ValueAtQuantile(percent)) * time.Microsecond
}

// Rate is how many operations succeeded a second.
func (r Result) Rate(k Kind) float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(k.Done) / r.Elapsed.Seconds()
}
