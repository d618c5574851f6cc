package network

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/sim/dice"
)

func TestSlowLinksQueueAndOverflow(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	n := New(2, Link{Delay: dice.Delay{Min: time.Millisecond}})
	l := n.Link(0, 1)
	l.Rate = 1000
	var last time.Duration
	for i := range 4 {
		at, ok := l.Arrival(0, 1000, false, r)
		if want := time.Duration(i+1)*time.Second + time.Millisecond; !ok || at != want {
			t.Errorf("packet %d of a second's bytes comes at %v, %v; want %v", i+1, at, ok, want)
		}
		last = at
	}
	l.Arrival(0, 1000, false, r)
	if at, ok := l.Arrival(0, 1000, false, r); ok {
		t.Errorf("a packet behind five seconds of others comes at %v", at)
	}
	if at, ok := l.Arrival(last+time.Minute, 1000, false, r); !ok || at != last+time.Minute+time.Second+time.Millisecond {
		t.Errorf("after a rest a packet comes at %v, %v", at, ok)
	}
	if n.Counts.Queued == 0 || n.Counts.Overflowed != 1 {
		t.Errorf("counted are %+v", n.Counts)
	}
}

func TestPlanesAreCutApart(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	n := New(3, Link{})
	heal := n.CutPlane(0, 1, Paxos)
	if !n.Link(1, 0).Loses(Paxos, r) || n.Link(1, 0).Loses(Beats, r) || n.Link(0, 2).Loses(Paxos, r) {
		t.Error("other packets are lost than those of the plane that is cut")
	}
	if heal(); n.Link(0, 1).Loses(Paxos, r) {
		t.Error("the plane stays cut")
	}
}

func TestWhatIsOnItsWayIsLostWithTheConnection(t *testing.T) {
	n := New(3, Link{})
	epoch := n.Link(0, 1).Epoch
	n.Break(1, 0)
	if !n.Link(0, 1).Ends(Paxos, epoch) || n.Link(0, 1).Ends(Paxos, n.Link(0, 1).Epoch) || n.Link(0, 2).Ends(Paxos, epoch) {
		t.Error("lost is not what was on its way on that path")
	}
}

func TestHeavyTailsReachSeconds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	n := New(2, Link{Heavy: 1})
	var long, all int
	for range 10000 {
		at, _ := n.Link(0, 1).Arrival(0, 0, false, r)
		if all++; at > 500*time.Millisecond {
			long++
		}
		if at > mostLate {
			t.Fatalf("a packet comes after %v", at)
		}
	}
	if long < all/200 || long > all/50 { // one in a hundred
		t.Errorf("%d of %d packets take longer than half a second", long, all)
	}
}
