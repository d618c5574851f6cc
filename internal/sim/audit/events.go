package audit

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prytany/prytany/locks"
)

// A record is what those who watch must be told: the events of each command,
// and from which on they are kept.
type record struct {
	events  [][]locks.Event // by revision, from 1; of each, in the order of names
	kept    []uint64        // revisions with events that are kept, oldest first
	bytes   int             // of values in events
	dropped []drop
}

// A drop says that after count commands all events up to revision were dropped.
type drop struct {
	count    int
	revision uint64
}

// event notes what the present command does.
func (a *Account) event(e locks.Event) {
	for len(a.log.events) < a.count {
		a.log.events = append(a.log.events, nil)
	}
	last := &a.log.events[a.count-1]
	*last = append(*last, e)
	if e.Entry != nil {
		a.log.bytes += len(e.Entry.Value)
	}
}

// of returns the events of a revision.
func (r *record) of(revision uint64) []locks.Event {
	if revision == 0 || revision > uint64(len(r.events)) {
		return nil
	}
	return r.events[revision-1]
}

// compact drops the events up to a revision.
func (r *record) compact(count int, upTo uint64) {
	n := 0
	for n < len(r.kept) && r.kept[n] <= upTo {
		n++
	}
	r.drop(count, n)
}

func (r *record) drop(count, n int) {
	if n > 0 {
		r.dropped = append(r.dropped, drop{count, r.kept[n-1]})
		r.kept = r.kept[n:]
	}
}

// byName puts events in the order of their names. Events of one name stay in
// the order in which they happened; that of names is the machine's own.
func byName(events []locks.Event) []locks.Event {
	slices.SortStableFunc(events, func(x, y locks.Event) int { return strings.Compare(x.Name, y.Name) })
	return events
}

// told compares the events that the node called who tells of the present
// command with those that happened.
func (a *Account) told(who string, c locks.Command, got []locks.Event) {
	want := byName(a.log.of(uint64(a.count)))
	if msg := differ(byName(slices.Clone(got)), want); msg != "" {
		a.fail("I12", "%s tells what %T%+v did: %s", who, c, c, msg)
	}
	if len(want) > 0 {
		a.log.kept = append(a.log.kept, uint64(a.count))
		a.log.drop(a.count, len(a.log.kept)-a.keep)
	}
}

// differ says how events differ from those that are wanted, "" if they do not.
func differ(got, want []locks.Event) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("%+v is missing", want[i])
		case i >= len(want):
			return fmt.Sprintf("%+v has not happened", got[i])
		case !same(&got[i], &want[i]):
			return fmt.Sprintf("%+v (%+v) is told for %+v (%+v)", got[i], got[i].Entry, want[i], want[i].Entry)
		}
	}
	return ""
}

func same(got, want *locks.Event) bool {
	if (got.Entry == nil) != (want.Entry == nil) {
		return false
	}
	if e, w := got.Entry, want.Entry; e != nil && (e.Key != w.Key || string(e.Value) != string(w.Value) || e.ContentType != w.ContentType ||
		e.Revision != w.Revision || e.Created != w.Created || e.Version != w.Version || e.Session != w.Session) {
		return false
	}
	g, w := *got, *want
	g.Entry, w.Entry = nil, nil
	return g == w
}

// Dropped returns up to which revision the events were dropped by the first
// count commands.
func (a *Account) Dropped(count int) uint64 {
	return after(a.log.dropped, count, func(d drop) int { return d.count }).revision
}

// manyBytes is more than what a machine keeps of events may come to.
const manyBytes = 48 << 20

// Oldest checks that a node which has applied count commands says rightly from
// which revision on it keeps events.
func (a *Account) Oldest(who string, count int, oldest uint64) {
	want := a.Dropped(count) + 1
	if oldest != want && (oldest < want || a.log.bytes < manyBytes) {
		a.fail("I12", "%s keeps events from revision %d after %d commands; want %d", who, oldest, count, want)
	}
}

// Told checks what a stream of the events that matter tells: all of after < R <=
// upTo, each revision whole and once, in order.
func (a *Account) Told(what string, after, upTo uint64, got []locks.Change, matters func(*locks.Event) bool) {
	for r := after + 1; r <= upTo; r++ {
		var want, told []locks.Event
		for _, e := range a.log.of(r) {
			if matters(&e) {
				want = append(want, e)
			}
		}
		if len(got) > 0 && got[0].Revision == r {
			told, got = byName(slices.Clone(got[0].Events)), got[1:]
			if len(told) == 0 {
				a.fail("I12", "%s: nothing is told of revision %d", what, r)
			}
		}
		if msg := differ(told, want); msg != "" {
			a.fail("I12", "%s: what is told of revision %d of those after %d, up to %d: %s", what, r, after, upTo, msg)
		}
	}
	if len(got) > 0 {
		a.fail("I12", "%s: revision %d is told among those after %d, up to %d", what, got[0].Revision, after, upTo)
	}
}
