package cluster

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// A span is when a node took a snapshot; to is zero until it is taken.
type span struct {
	node     string
	from, to time.Time
}

// spans are the snapshots that nodes have taken, as their logs say.
type spans struct {
	mu  sync.Mutex
	all []span
}

// forget leaves out those that are taken.
func (s *spans) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = slices.DeleteFunc(s.all, func(x span) bool { return !x.to.IsZero() })
}

// begun notes that node begins a snapshot. One that it has not ended it never will: it
// has been started again.
func (s *spans) begun(node string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = slices.DeleteFunc(s.all, func(x span) bool { return x.node == node && x.to.IsZero() })
	s.all = append(s.all, span{node: node, from: time.Now()})
}

// taken notes that node has taken the snapshot.
func (s *spans) taken(node string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, x := range s.all {
		if x.node == node && x.to.IsZero() {
			s.all[i].to = time.Now()
		}
	}
}

// split returns how long puts took, in order: those during which a snapshot was being
// taken for some of the time, and the others.
func (s *spans) split(puts []put) (during, between []time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var in, out []put
	for _, p := range puts {
		if slices.ContainsFunc(s.all, func(x span) bool {
			return x.from.Before(p.due.Add(p.took)) && (x.to.IsZero() || x.to.After(p.due))
		}) {
			in = append(in, p)
		} else {
			out = append(out, p)
		}
	}
	return times(in), times(out)
}

// many returns how many are taken.
func (s *spans) many() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.all {
		if !x.to.IsZero() {
			n++
		}
	}
	return n
}

// share returns for what part of the time between two moments any snapshot was being
// taken, how many were to their end, and how long one took on average.
func (s *spans) share(from, to time.Time) (part float64, n int, mean time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortFunc(s.all, func(a, b span) int { return a.from.Compare(b.from) })
	var covered, sum time.Duration
	until := from
	for _, x := range s.all {
		if x.to.IsZero() {
			x.to = to
		} else {
			n, sum = n+1, sum+x.to.Sub(x.from)
		}
		if x.from.After(until) {
			until = x.from
		}
		if x.to.After(until) {
			covered, until = covered+x.to.Sub(until), x.to
		}
	}
	return float64(covered) / float64(to.Sub(from)), n, sum / time.Duration(max(n, 1))
}

// A spanHandler reads in the log of nodes when they take snapshots.
type spanHandler struct {
	spans *spans
	node  string
}

func (h spanHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h spanHandler) WithGroup(string) slog.Handler { return h }

func (h spanHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		if a.Key == "node" {
			h.node = a.Value.String()
		}
	}
	return h
}

func (h spanHandler) Handle(_ context.Context, r slog.Record) error {
	switch r.Message {
	case "snapshot begun":
		h.spans.begun(h.node)
	case "snapshot taken":
		h.spans.taken(h.node)
	}
	return nil
}
