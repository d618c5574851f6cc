package journal

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// A link that flaps without end does not push out the rest; its beginning and
// its last word are there, a listener hears all of it, and another peer's link is
// another matter.
func TestFlapsAreThinned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := New(Config{Node: "n1", Incarnation: 1, Names: names, Keep: 100})
		link := func(peer synod.NodeID, up bool) {
			kind := leader.EvLinkDown
			if up {
				kind = leader.EvLinkUp
			}
			j.Observe(0, leader.Event{Kind: kind, Node: peer, Reason: "r"})
		}
		j.Note("other", "", "", "what led to it")
		_, _, heard := j.Read(0, 1)
		first := heard
		for i := range 501 {
			link(2, i%2 == 1)
			events, oldest, next := j.Read(heard, 10)
			if len(events) != 1 || events[0].ID != heard || next != heard+1 || oldest != first-1 {
				t.Fatalf("change %d: %d events, oldest %d, next %d", i, len(events), oldest, next)
			}
			heard = next
			time.Sleep(time.Second)
		}
		link(3, true)
		got := texts(j)
		if len(got) != 1+flapFirst+flapLast+1 {
			t.Fatalf("%d: %q", len(got), got)
		}
		if want := "link-down | n1 has no link to n2 any more: r (501 changes in 8m20s; not all are kept)"; got[len(got)-2] != want {
			t.Errorf("last word %q, want %q", got[len(got)-2], want)
		}
		// Who asks for one that was dropped gets those after it.
		if events, _, _ := j.Read(first+100, 1000); len(events) != flapLast+1 {
			t.Errorf("%d events after a dropped one", len(events))
		}

		time.Sleep(calm)
		link(2, true)
		if got := texts(j); strings.Contains(got[len(got)-1], "changes") || len(got) != 1+flapFirst+flapLast+2 {
			t.Errorf("after a calm: %q", got)
		}
	})
}

// A flap that never ends leaves traces of all its time, and a burst whose events
// have been pushed out drops nothing else.
func TestLongFlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := New(Config{Node: "n1", Names: names, Keep: 20})
		for i := range 4000 { // for 40 min
			kind := leader.EvLeased
			if i%2 == 1 {
				kind = leader.EvUnleased
			}
			j.Observe(paxos.Main, leader.Event{Kind: kind, Group: 1, Node: 1, Reason: "r"})
			if i%100 == 99 {
				for range 30 {
					j.Note("other", "", "", "something else")
				}
				if events, oldest, next := j.Read(0, 100); len(events) != 20 || oldest != events[0].ID || next != events[19].ID+1 {
					t.Fatalf("%d events, %d to %d", len(events), oldest, next)
				}
			}
			time.Sleep(600 * time.Millisecond)
		}
		for p := range synod.NodeID(3 * maxRepeats) {
			j.Observe(0, leader.Event{Kind: leader.EvLinkUp, Node: p + 1, Reason: "r"})
		}
		if len(j.flaps) > maxRepeats {
			t.Errorf("%d flaps are known", len(j.flaps))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		j := New(Config{Node: "n1", Names: names})
		for i := range 3600 { // for an hour
			kind := leader.EvLinkUp
			if i%2 == 1 {
				kind = leader.EvLinkDown
			}
			j.Observe(0, leader.Event{Kind: kind, Node: 2, Reason: "r"})
			time.Sleep(time.Second)
		}
		if n := len(texts(j)); n != 6*(flapFirst+flapLast) {
			t.Errorf("%d events of an hour", n)
		}
	})
}
