package sim

import (
	"testing"
	"time"

	"github.com/prytany/prytany/internal/sim/network"
	"github.com/prytany/prytany/leader"
)

// farLeader is a cluster of three whose leader stands 20 ms from the other two,
// which stand together: every command waits for a round trip of 40 ms, and would
// wait for less than 2 ms if one of the others led.
func farLeader(after time.Duration, seed uint64) (events map[leader.EventKind]int, c cost, err error) {
	y := story{
		name: "leader far away", nodes: 3, length: 85 * time.Second,
		changes: [2]int{0, 1}, worst: 300 * ms,
		options: func(o *Options) { o.MoveAfter = after },
		happens: func(s *scene) {
			events = make(map[leader.EventKind]int)
			show := s.trace.live
			s.trace.live = func(l line) {
				show(l)
				if e, ok := l.arg.(leader.Event); ok {
					events[e.Kind]++
				}
			}
			for _, other := range []int{1, 2} {
				for _, l := range []*network.Link{s.net.Link(s.parts[0], s.parts[other]), s.net.Link(s.parts[other], s.parts[0])} {
					l.Delay.Min, l.Delay.Max = 20*ms, 21*ms
				}
			}
		},
	}
	c, err = y.tell(storyOptions(3, seed))
	return events, c, err
}

// TestLeaderMovesNearer: a leader that stands far from a quorum hands the lead over
// to a voter that stands nearer, once, after it has been so for long, and nobody has
// to claim for that.
func TestLeaderMovesNearer(t *testing.T) {
	seeds := uint64(6)
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		events, c, err := farLeader(10*time.Second, seed+1)
		if err != nil {
			t.Fatalf("seed %d: %v", seed+1, err)
		}
		if len(c.changes) != 1 {
			t.Errorf("seed %d: %d changes of leader; want 1", seed+1, len(c.changes))
		}
		if events[leader.EvNearer] != 1 || events[leader.EvClaim] != 0 {
			t.Errorf("seed %d: a nearer voter was noticed %d times, and there were %d claims; want 1 and none",
				seed+1, events[leader.EvNearer], events[leader.EvClaim])
		}
		t.Logf("seed %d: %v without an acknowledged write, the round trips of the far leader included", seed+1, c.gap)
	}
	events, c, err := farLeader(0, 1) // ten minutes
	if err != nil || len(c.changes) != 0 || events[leader.EvNearer] != 0 {
		t.Errorf("in a minute and a half, %d changes and %d notices: %v; want none: that is too soon", len(c.changes), events[leader.EvNearer], err)
	}
}
