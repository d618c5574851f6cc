package service

import (
	"context"
	"strings"
	"time"

	"github.com/prytany/prytany/internal/mutant"
	"github.com/prytany/prytany/locks"
)

// A tail reads the history as it grows, from what is told on. Its subscription
// spares it what does not matter: while the ring has not rung nothing does, and
// nothing that lies before the revision at which it rang. So it falls behind
// only by what it is to tell.
type tail struct {
	told      uint64 // everything up to this revision is told
	matches   func(*locks.Event) bool
	subscribe func(locks.View) (locks.Ring, func()) // to everything that may match
	ring      locks.Ring
	stop      func() // ends the subscription; nil before the first read
}

// read returns what matches of the changes after told, and moves told. If the
// history no longer has all of them, oldest is the first revision that it has;
// else it is 0.
func (t *tail) read(m *locks.Machine) (out []locks.Change, oldest uint64) {
	var changes []*locks.Change
	m.View(func(v locks.View) {
		from := t.told
		t.told = max(from, v.Meta().Revision)
		if t.stop != nil {
			if !t.ring.Rung() {
				return
			}
			from = max(from, t.ring.At()-1)
			if mutant.On(mutant.LosesEvents) {
				from = max(from, v.Meta().Revision-1)
			}
			t.stop()
		}
		t.ring, t.stop = t.subscribe(v)
		var first uint64
		if changes, first = v.Changes(from); first > from+1 && !mutant.On(mutant.StartsAtHead) {
			oldest = first
		}
	})
	for _, c := range changes { // they never change: no need to hold anything up
		if events := matching(c.Events, t.matches); len(events) > 0 {
			out = append(out, locks.Change{Revision: c.Revision, Events: events})
		}
	}
	return out, oldest
}

// matching returns those of events that match: all is shared.
func matching(events []locks.Event, matches func(*locks.Event) bool) []locks.Event {
	n := 0
	for n < len(events) && matches(&events[n]) {
		n++
	}
	if n == len(events) {
		return events
	}
	out := events[:n:n]
	for i := n + 1; i < len(events); i++ {
		if matches(&events[i]) {
			out = append(out, events[i])
		}
	}
	return out
}

// close ends the subscription.
func (t *tail) close() {
	if t.stop != nil {
		t.stop()
	}
}

// A stream is one watch. It is used by one goroutine.
type stream struct {
	s       *Service
	w       Watch
	tail    tail
	limit   *time.Timer    // of Next; stopped between its calls
	over    *locks.Error   // why there is nothing more to come
	pending []locks.Change // read and not returned
	upTo    uint64         // everything up to here is returned, but for pending
	silent  int            // calls of Next in a row that had nothing to return
}

// Watch begins to tell of changes; Meta.Revision is the one after which
// everything is told. A watch from the next revision on begins after everything
// that was acknowledged before the call. Errors: Invalid; Compacted; NoLeader;
// NotApplied if this node does not get as far as From in time.
func (s *Service) Watch(ctx context.Context, w Watch) (Stream, locks.Meta, error) {
	const op = "watch"
	check := checkText
	if w.Exact {
		check = checkName
	}
	err := check("prefix", w.Prefix, s.cfg.Limits.MaxName)
	if err == nil {
		err = s.sync(ctx, Read{Stale: w.From > 0, MinRevision: max(w.From, 1) - 1})
	}
	if err != nil {
		return nil, locks.Meta{}, fail(op, w.Prefix, err)
	}
	var meta locks.Meta
	s.machine.View(func(v locks.View) { meta = v.Meta() })
	if w.From > 0 {
		meta.Revision = w.From - 1
	}
	t := &stream{s: s, w: w}
	t.tail = tail{told: meta.Revision, matches: t.matches, subscribe: t.subscribe}
	if t.read(); t.over != nil {
		t.tail.close()
		return nil, meta, fail(op, w.Prefix, t.over)
	}
	return t, meta, nil
}

func (t *stream) subscribe(v locks.View) (locks.Ring, func()) {
	if t.w.Exact {
		return v.SubscribeName(t.w.Prefix)
	}
	return v.SubscribePrefix(t.w.Prefix)
}

func (t *stream) matches(e *locks.Event) bool {
	return t.w.Types.Has(e.Type) && (e.Name == t.w.Prefix || !t.w.Exact && strings.HasPrefix(e.Name, t.w.Prefix))
}

// read takes what is new.
func (t *stream) read() {
	pending, oldest := t.tail.read(t.s.machine)
	if oldest > 0 {
		t.over = &locks.Error{
			Code: locks.Compacted, Current: oldest,
			Detail: "events from before are no longer kept; read anew, and go on from there",
		}
		return
	}
	t.pending, t.upTo = pending, t.tail.told
}

// Next implements [Stream].
func (t *stream) Next(ctx context.Context, wait time.Duration) (changes []locks.Change, upTo uint64, err error) {
	if t.limit == nil {
		t.limit = time.NewTimer(wait)
	} else {
		t.limit.Reset(wait)
	}
	defer t.limit.Stop()
	for last := false; ; t.read() {
		switch {
		case t.over != nil:
			again := *t.over // the caller gets it as its own
			return nil, t.upTo, fail("watch", t.w.Prefix, &again)
		case len(t.pending) > 0:
			changes, t.pending, t.silent = t.pending, nil, 0
			return changes, t.upTo, nil
		case last:
			return nil, t.upTo, t.cutOff(wait)
		}
		select {
		case <-t.tail.ring.C:
		case <-t.limit.C:
			last = true
		case <-ctx.Done():
			return nil, t.upTo, context.Cause(ctx)
		}
	}
}

// A stream that has been silent so many times in a row, each for at least
// minSilence, ends if this node has not heard of the group for most of it. The
// group is asked each time, so all but the first must have been in vain.
const (
	maxSilent  = 3
	minSilence = 10 * time.Second
)

// cutOff notes that nothing came for wait. If nothing can come, because the group
// does not answer this node, that is an error: a stream at another node goes on
// where this one ends.
func (t *stream) cutOff(wait time.Duration) error {
	age := t.s.cfg.Age() // to ask is to have it made lower, if that is possible
	if t.silent++; t.silent < maxSilent || age <= max(wait, minSilence)*(2*maxSilent-1)/2 {
		return nil
	}
	return fail("watch", t.w.Prefix, &locks.Error{
		Code: locks.NoLeader, Detail: "this node is cut off from the group; go on at another after the same revision",
	})
}

// Close implements [Stream].
func (t *stream) Close() {
	if t.over != nil && t.over.Code == locks.Internal {
		return
	}
	t.tail.close()
	t.pending, t.over = nil, &locks.Error{Code: locks.Internal, Detail: "the watch is closed"}
}
