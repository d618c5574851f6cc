// Package timers is what a leader keeps by its own clock: when things run out,
// and which revision was when.
package timers

import (
	"cmp"
	"hash/fnv"
	"slices"
	"time"

	"github.com/prytany/prytany/locks/internal/due"
)

// A Key says what runs out: something of a kind, by its name.
type Key struct {
	Kind uint8
	Name string
}

// Smear returns a time below most that depends on name alone: what would run out at
// once, for many names, is spread by it.
func Smear(name string, most time.Duration) time.Duration {
	h := fnv.New32a()
	h.Write([]byte(name))
	return time.Duration(h.Sum32()) % most
}

// Timers hold when things run out. The zero value is empty.
type Timers struct {
	byKey map[Key]*timer
	due   due.Queue[*timer]
}

type timer struct {
	key       Key
	proposed  bool // its end is proposed; until that is applied nobody knows
	due.Place      // At is when to propose its end
}

// Before orders timers by when they are due, then by key.
func (t *timer) Before(o *timer) bool {
	return cmp.Or(cmp.Compare(t.At, o.At), cmp.Compare(t.key.Kind, o.key.Kind), cmp.Compare(t.key.Name, o.key.Name)) < 0
}

// Len returns how many timers there are.
func (ts *Timers) Len() int { return len(ts.byKey) }

// Set makes k run out at at, whatever was set or proposed before.
func (ts *Timers) Set(k Key, at time.Duration) {
	if t := ts.byKey[k]; t != nil {
		t.proposed = false
		ts.due.Move(t, at)
		return
	}
	if ts.byKey == nil {
		ts.byKey = map[Key]*timer{}
	}
	t := &timer{key: k}
	ts.byKey[k] = t
	ts.due.Add(t, at)
}

// Remove forgets k.
func (ts *Timers) Remove(k Key) {
	if t := ts.byKey[k]; t != nil {
		delete(ts.byKey, k)
		ts.due.Remove(t)
	}
}

// At returns when k runs out, or if its end is proposed, when that is to be
// repeated.
func (ts *Timers) At(k Key) (at time.Duration, proposed, ok bool) {
	t := ts.byKey[k]
	if t == nil {
		return 0, false, false
	}
	return t.At, t.proposed, true
}

// Propose returns what has run out by now, oldest first and at most limit. Until
// it is set or removed, each is returned anew every again.
func (ts *Timers) Propose(now time.Duration, limit int, again time.Duration) (out []Key) {
	for t, ok := ts.due.First(); ok && t.At <= now && len(out) < limit; t, ok = ts.due.First() {
		out = append(out, t.key)
		t.proposed = true
		ts.due.Move(t, now+again)
	}
	return out
}

// Samples remember which revision was when.
type Samples struct{ list []sample } // oldest first

type sample struct {
	revision uint64
	at       time.Duration
}

// Add takes a sample now, unless the last one was taken within every, and
// forgets those that are not needed for anything since the time keep ago.
func (s *Samples) Add(revision uint64, now, every, keep time.Duration) (added bool) {
	if n := len(s.list); n > 0 && now-s.list[n-1].at < every {
		return false
	}
	s.list = append(s.list, sample{revision, now})
	for len(s.list) > 1 && s.list[1].at <= now-keep {
		s.list = s.list[1:]
	}
	return true
}

// AsOf returns the newest revision known to have been reached by at, or 0.
func (s *Samples) AsOf(at time.Duration) uint64 {
	i, found := slices.BinarySearchFunc(s.list, at, func(s sample, at time.Duration) int { return cmp.Compare(s.at, at) })
	if found {
		i++
	}
	if i == 0 {
		return 0
	}
	return s.list[i-1].revision
}
