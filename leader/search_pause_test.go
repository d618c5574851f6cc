package leader

import (
	"testing"

	"github.com/prytany/prytany/synod"
)

// TestAnswersFoundAfterAPause: a process that has not run for longer than the
// silence limit finds the answers among what has arrived meanwhile, and must not
// call those silent who gave them. If it is the leader, it would not be content
// for a moment, and its followers would replace it.
func TestAnswersFoundAfterAPause(t *testing.T) {
	pause := func(tickFirst bool) (down int, up bool) {
		n := NewNode(Config{Self: 1, Incarnation: 1}, 0)
		var out Output
		n.SetGroup(1, Facts{Config: 1, Voters: []Voter{{1, 1}, {2, 2}, {3, 3}}}, 0, &out)
		// answer gives an answer of node 2 to its last heartbeat at an instant.
		answer := func(now Instant) {
			for i := len(out.Send) - 1; i >= 0; i-- {
				if m, ok := out.Send[i].Msg.(Heartbeat); ok && out.Send[i].To == 2 && !m.Reply {
					n.Receive(2, Heartbeat{Reply: true, Seq: m.Seq, Sent: m.Sent, Incarnation: 1, Healthy: true}, now, &out)
					return
				}
			}
			t.Fatal("no heartbeat to answer")
		}
		n.Tick(0, Health{Disk: true, Loop: true}, &out)
		answer(10 * ms)
		n.Tick(200*ms, Health{Disk: true, Loop: true}, &out)
		// Now it stands still. Both a heartbeat and an answer have come by 210 ms.
		const late = 450 * ms
		out.Events = nil
		if tickFirst {
			n.Tick(late, Health{Disk: true, Loop: true}, &Output{})
			return 0, n.Links()[0].Up
		}
		n.Receive(2, Heartbeat{Seq: 1<<32 + 9, Incarnation: 1, Healthy: true}, late, &out)
		answer(late)
		n.Tick(late, Health{Disk: true, Loop: true}, &out)
		for _, e := range out.Events {
			if e.Kind == EvLinkDown && e.Node == synod.NodeID(2) {
				down++
			}
		}
		return down, n.Links()[0].Up
	}
	if down, up := pause(false); down != 0 || !up {
		t.Errorf("with an answer among what has arrived: %d times down, up %v; want 0 and true", down, up)
	}
	if _, up := pause(true); up {
		t.Error("without an answer the link is still up; want it down")
	}
}
