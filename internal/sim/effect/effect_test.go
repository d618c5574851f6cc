package effect

import (
	"testing"
	"time"

	"github.com/prytany/prytany/internal/sim/oracle"
	"github.com/prytany/prytany/locks"
)

// A judgement of every grant: why it has ended.
type everything map[Grant]string

func (e everything) Grant(lock, session string, fence uint64) (granted bool, ended string) {
	ended, granted = e[Grant{Lock: lock, Session: session, Fence: fence}]
	return granted, ended
}

func (e everything) Taken(lock, session string, fence uint64) bool {
	_, ended := e.Grant(lock, session, fence)
	return ended == locks.ReasonForced
}

func grant(session string, fence uint64) Grant {
	return Grant{Lock: "lock", Session: session, Fence: fence}
}

// broken returns the invariant that f finds broken, "" if none.
func broken(f func()) (invariant string) {
	defer func() {
		if v, ok := recover().(oracle.Violation); ok {
			invariant = v.Invariant
		}
	}()
	f()
	return ""
}

func TestResource(t *testing.T) {
	always := func(_, _ uint64) bool { return true }
	judge := everything{grant("a", 1): locks.ReasonExpired, grant("b", 2): "", grant("c", 2): ""}
	for _, c := range []struct {
		name   string
		want   string
		accept func(fence, highest uint64) bool
		do     func(r *Resource)
	}{
		{"one after the other", "", nil, func(r *Resource) {
			for _, g := range []Grant{grant("a", 1), grant("b", 2), grant("b", 2)} {
				read, _ := r.Read(g)
				r.Write(g, read, g.Session)
			}
		}},
		{"a late update is refused", "", nil, func(r *Resource) {
			read, _ := r.Read(grant("a", 1))
			r.Read(grant("b", 2))
			if r.Write(grant("a", 1), read, "x") || r.Len() != 0 {
				panic("it is accepted")
			}
		}},
		{"fences fall", "L3", always, func(r *Resource) { r.Read(grant("b", 2)); r.Read(grant("a", 1)) }},
		{"two sessions use one fence", "L3", nil, func(r *Resource) { r.Read(grant("b", 2)); r.Read(grant("c", 2)) }},
		{"a fence was never granted", "L3", nil, func(r *Resource) { r.Read(grant("b", 3)) }},
		{"the holder is refused", "L3", func(_, _ uint64) bool { return false }, func(r *Resource) { r.Read(grant("b", 2)) }},
		{"an update is lost", "L3", nil, func(r *Resource) {
			read, _ := r.Read(grant("a", 1))
			r.Write(grant("a", 1), read, "x")
			r.Write(grant("b", 2), read, "y")
		}},
	} {
		var counts Counts
		if got := broken(func() { c.do(NewResource("lock", Fenced, judge, &counts, c.accept)) }); got != c.want {
			t.Errorf("%s: broken is %q, want %q", c.name, got, c.want)
		}
	}
}

func TestUnfencedResourceCountsLosses(t *testing.T) {
	var counts Counts
	r := NewResource("lock", Unfenced, everything{}, &counts, nil)
	read, _ := r.Read(grant("a", 1))
	r.Write(grant("b", 2), read, "x")
	r.Write(grant("b", 2), []string{"x"}, "y")
	r.Write(grant("a", 1), read, "z")
	if counts.Lost != 2 || r.Len() != 1 {
		t.Errorf("%d updates are lost and %d are there; want 2 and 1", counts.Lost, r.Len())
	}
}

func TestBeliefs(t *testing.T) {
	judge := everything{grant("old", 1): locks.ReasonExpired, grant("robbed", 2): locks.ReasonForced}
	shared := func(b Belief) Belief { b.Shared = true; return b }
	slots := func(b Belief) Belief { b.Slots = 2; return b }
	belief := func(session string, fence uint64, since, until time.Duration) Belief {
		return Belief{Grant: grant(session, fence), Client: session, Since: since, Until: until}
	}
	for _, c := range []struct {
		name string
		want string
		list []Belief
	}{
		{"one after the other", "", []Belief{belief("a", 3, 0, 5), belief("b", 4, 5, 9)}},
		{"two at once", "L5", []Belief{belief("a", 3, 0, 6), belief("b", 4, 5, 9)}},
		{"one learns of it too late", "", []Belief{belief("a", 3, 0, 6), belief("b", 4, 5, 5)}},
		{"readers", "", []Belief{shared(belief("a", 3, 0, 6)), shared(belief("b", 3, 1, 6))}},
		{"a writer beside a reader", "L5", []Belief{shared(belief("a", 3, 0, 6)), belief("b", 4, 1, 6)}},
		{"a reader beside a writer", "L5", []Belief{belief("a", 3, 0, 6), shared(belief("b", 4, 1, 6))}},
		{"as many as there are slots", "", []Belief{slots(belief("a", 3, 0, 6)), slots(belief("b", 4, 1, 6))}},
		{"more than there are slots", "L5", []Belief{slots(belief("a", 3, 0, 6)), slots(belief("b", 4, 1, 6)), slots(belief("c", 5, 2, 6))}},
		{"a lock was taken", "", []Belief{belief("robbed", 2, 0, 6), belief("b", 4, 1, 6)}},
		{"a grant that has expired", "L5", []Belief{belief("old", 1, 0, 6)}},
	} {
		var counts Counts
		bs := NewBeliefs(judge, &counts)
		got := broken(func() {
			for i := range c.list {
				bs.Begin(&c.list[i])
			}
		})
		if got != c.want {
			t.Errorf("%s: broken is %q, want %q", c.name, got, c.want)
		}
	}
}

func TestBeliefEndsBeforeItsSession(t *testing.T) {
	for now, want := range map[time.Duration]string{4: "L5", 5: ""} {
		var counts Counts
		bs := NewBeliefs(everything{}, &counts)
		bs.Begin(&Belief{Grant: grant("a", 1), Since: 0, Until: 5})
		if got := broken(func() { bs.Expired("b", 0); bs.Expired("a", now) }); got != want {
			t.Errorf("a belief until 5, and its session expires at %d: broken is %q, want %q", now, got, want)
		}
	}
}

// TestEffectsOutside counts what clients do when they do not believe any more
// that they may.
func TestEffectsOutside(t *testing.T) {
	var counts Counts
	bs := NewBeliefs(everything{}, &counts)
	a := &Belief{Grant: grant("a", 1), Since: 0, Until: 5}
	b := &Belief{Grant: grant("b", 2), Since: 7, Until: 9}
	bs.Begin(a)
	bs.Came(a, bs.Sent(a, 4), 4)
	bs.Came(a, bs.Sent(a, 4), 6)
	bs.Begin(b)
	bs.Came(a, bs.Sent(a, 6), 8)
	bs.End(a, 8)
	want := Counts{Sections: 2, Late: 1, Outside: 1, Meeting: 1, Expired: 1}
	if counts != want {
		t.Errorf("counted %+v, want %+v", counts, want)
	}
}
