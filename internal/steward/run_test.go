package steward

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prytany/prytany/internal/directory"
	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

// A lateHost shows that this node leads only when told to, and counts the hand-overs
// that are asked of it.
type lateHost struct {
	*fakeHost
	leads atomic.Bool
	asked atomic.Int32
}

func (h *lateHost) Group(id paxos.GroupID) (s replica.GroupStatus, ok bool) {
	s, ok = h.fakeHost.Group(id)
	s.Leading, s.Recovered = h.leads.Load(), true
	return s, ok
}

func (h *lateHost) Status() ([]replica.GroupStatus, []leader.Link) {
	return nil, []leader.Link{{Peer: 2, Up: true}, {Peer: 3, Up: true}}
}

func (h *lateHost) HandOver(context.Context, paxos.GroupID, synod.NodeID) (synod.NodeID, error) {
	h.asked.Add(1)
	h.leads.Store(false)
	return 2, nil
}

// The event loop tells of a new leader before the status shows it. A steward that looks
// at once and sees nothing to do must look again.
func TestAnEventMayComeBeforeTheStatusShowsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := town(t)
		h := &lateHost{fakeHost: s.cfg.Host.(*fakeHost)}
		s.cfg.Host = h
		// Node 1 is to go: what it does once it leads is to hand the lead over.
		main := h.dir.View().Group(paxos.Main)
		if _, err := s.begin(t.Context(), main, directory.Plan{Remove: 1, Why: "test"}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		defer done.Wait()
		defer cancel()
		done.Go(func() { _ = s.Run(ctx) })
		time.Sleep((echoes + 2) * againSoon) // until all that the start brings has been looked at
		s.Note(paxos.Main)
		synctest.Wait() // it has looked, and seen no leader
		h.leads.Store(true)
		time.Sleep(lookEvery / 2)
		if h.asked.Load() == 0 {
			t.Fatal("it does not look again until all groups have their turn")
		}
	})
}

func TestBirthsComeTogetherAndLeaveTheLoopTime(t *testing.T) {
	var b births
	now := time.Unix(1000, 0)
	b.begin(now)
	for id := range paxos.GroupID(3) {
		if _, ok := b.take(id+2, now); !ok {
			t.Fatalf("group %d must wait although nothing is under way", id+2)
		}
	}
	now = now.Add(10 * time.Millisecond)
	b.begin(now)
	for id := range paxos.GroupID(2) {
		if when, ok := b.take(id+5, now); ok || when.Before(now.Add(againSoon)) {
			t.Fatalf("group %d is born beside others: %v %v", id+5, when, ok)
		}
	}
	now = now.Add(30 * time.Millisecond)
	for range 2 {
		if waiting, _ := b.end(now); waiting != nil {
			t.Fatalf("%v wait no longer, and one is under way", waiting)
		}
	}
	waiting, until := b.end(now)
	if !slices.Equal(waiting, []paxos.GroupID{5, 6}) || !until.Equal(now.Add(80*time.Millisecond)) {
		t.Fatalf("%v until %v", waiting, until.Sub(now))
	}
	b.begin(now)
	if when, ok := b.take(5, now); ok || !when.Equal(until) {
		t.Fatalf("born before the loop has had time: %v %v", when, ok)
	}
	b.begin(until)
	if _, ok := b.take(5, until); !ok {
		t.Fatal("not born when it is time")
	}
	if _, until = b.end(until.Add(time.Minute)); until.Sub(now) > time.Minute+time.Second {
		t.Fatalf("a write that took long makes births wait for %v", until.Sub(now))
	}
}

// A birthHost has no groups until they are created, one write at a time.
type birthHost struct {
	*fakeHost
	mu      sync.Mutex
	born    map[paxos.GroupID]bool
	batches atomic.Int32
	under   atomic.Int32
}

func (h *birthHost) Group(id paxos.GroupID) (s replica.GroupStatus, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if id != paxos.Main && !h.born[id] {
		return s, false
	}
	return h.fakeHost.Group(id)
}

func (h *birthHost) Create(_ context.Context, id paxos.GroupID, _ paxos.Membership) error {
	if h.under.Add(1) == 1 {
		h.batches.Add(1)
	}
	time.Sleep(20 * time.Millisecond)
	h.under.Add(-1)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.born[id] = true
	return nil
}

func TestManyGroupsAreBornInFewWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := town(t)
		h := &birthHost{fakeHost: s.cfg.Host.(*fakeHost), born: map[paxos.GroupID]bool{}}
		s.cfg.Host = h
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		defer done.Wait()
		defer cancel()
		done.Go(func() { _ = s.Run(ctx) })
		const n = 64
		for i := range n {
			cmd := &directory.Create{Name: fmt.Sprintf("g%d", i), Replicas: 1, Members: members(1)}
			if res, err := s.command(ctx, cmd); err != nil || res.Code != directory.OK {
				t.Fatal(res.Detail, err)
			}
			time.Sleep(time.Millisecond) // each comes by itself
		}
		time.Sleep(20 * time.Second)
		h.mu.Lock()
		defer h.mu.Unlock()
		if len(h.born) != n {
			t.Fatalf("%d of %d are born", len(h.born), n)
		}
		if got := h.batches.Load(); got > n/4 {
			t.Errorf("%d groups in %d writes", n, got)
		}
	})
}
