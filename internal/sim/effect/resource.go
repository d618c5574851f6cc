package effect

import (
	"slices"

	"github.com/prytany/prytany/internal/sim/oracle"
)

// A Fencing says what a resource does about fences.
type Fencing uint8

// The kinds of resources.
const (
	Fenced     Fencing = iota // each use shows its fence, reads too; one below the highest is refused
	WritesOnly                // only updates show it: not enough, see [Resource]
	Unfenced                  // nobody does
)

// A Resource is something that a lock protects: a set that grows by
// read-modify-write. It is no part of the cluster.
//
// A read must show its fence like an update. If it does not, an update of the
// holder before may come between the read and the update of the present one, who
// then writes over it.
type Resource struct {
	lock    string
	fencing Fencing
	judge   Judge
	counts  *Counts
	accept  func(fence, highest uint64) bool // what decides; a test may put another

	highest uint64 // fence seen
	value   []string

	// What the check keeps for itself.
	last  uint64            // fence accepted
	users map[uint64]string // sessions, by fence
}

// NewResource returns an empty resource that a lock protects. accept, if not
// nil, decides in its place which fences it accepts.
func NewResource(lock string, f Fencing, j Judge, c *Counts, accept func(fence, highest uint64) bool) *Resource {
	if accept == nil {
		accept = func(fence, highest uint64) bool { return fence >= highest }
	}
	return &Resource{lock: lock, fencing: f, judge: j, counts: c, accept: accept, users: map[uint64]string{}}
}

// Read returns the value for g to change, unless g is refused.
func (r *Resource) Read(g Grant) (value []string, ok bool) {
	if r.fencing == Fenced && !r.admits(g) {
		return nil, false
	}
	return r.value, true
}

// Write replaces the value by what was read, and one element more, unless g is
// refused.
func (r *Resource) Write(g Grant, read []string, element string) (ok bool) {
	if r.fencing != Unfenced && !r.admits(g) {
		return false
	}
	switch lost := len(r.value) - len(read); {
	case lost == 0 && slices.Equal(r.value, read):
	case r.fencing != Unfenced:
		oracle.Fail("L3", "lock %s: the update %s by session %s with fence %d loses %v, which were accepted", r.lock, element, g.Session, g.Fence, missing(r.value, read))
	default:
		r.counts.Lost += len(missing(r.value, read))
	}
	if r.fencing != Unfenced {
		r.counts.Accepted++
	}
	r.value = append(slices.Clip(read), element)
	return true
}

// missing returns the elements of value that are not in read.
func missing(value, read []string) (out []string) {
	for _, e := range value {
		if !slices.Contains(read, e) {
			out = append(out, e)
		}
	}
	return out
}

// admits decides whether g may use the resource, and checks that this is right
// (L3).
func (r *Resource) admits(g Grant) bool {
	granted, ended := r.judge.Grant(r.lock, g.Session, g.Fence)
	if !r.accept(g.Fence, r.highest) {
		r.counts.Refused++
		if granted && ended == "" {
			oracle.Fail("L3", "lock %s: session %s, which holds it with fence %d, is refused; fence %d was seen", r.lock, g.Session, g.Fence, r.highest)
		}
		return false
	}
	r.highest = max(r.highest, g.Fence)
	switch user, used := r.users[g.Fence]; {
	case g.Fence < r.last:
		oracle.Fail("L3", "lock %s: fence %d of session %s is accepted after %d", r.lock, g.Fence, g.Session, r.last)
	case used && user != g.Session:
		oracle.Fail("L3", "lock %s: session %s uses fence %d, and so did session %s", r.lock, g.Session, g.Fence, user)
	case !granted:
		oracle.Fail("L3", "lock %s: session %s uses fence %d, which it was not granted", r.lock, g.Session, g.Fence)
	}
	r.last, r.users[g.Fence] = g.Fence, g.Session
	return true
}

// Len returns how many elements the value has.
func (r *Resource) Len() int { return len(r.value) }
