package replica

import (
	"testing"
	"time"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// A node that was stopped while it joined knows that there is a group before
// it knows anybody who has a part in it; and whom it knows may be gone.
func TestLearnFromOthers(t *testing.T) {
	for _, from := range [][]synod.NodeID{nil, {3}} {
		w := newWorld(t, 3, 1, nil)
		w.do(0, KindPropose, "a")
		w.stop(2)
		w.nodes[1].host.Learn(paxos.Main, from)
		w.nodes[1].next = w.now
		w.run(5 * time.Second)
		if m := w.nodes[1].machine; m == nil || m.applied != 0 {
			t.Fatalf("learns from nobody: %+v", m)
		}
		w.nodes[1].host.Learn(paxos.Main, []synod.NodeID{1})
		w.nodes[1].next = w.now
		if got := w.agree(); len(got) != 1 {
			t.Errorf("from %v: has applied %q; want one command", from, got)
		}
	}
}

// The process stands still after Poll was given its time, and a request
// arrives: handled as of that time, its lease would end too early.
func TestTimeIsReadAfterWhatHasArrived(t *testing.T) {
	h := alone(t, &memory{}, 1)
	h.clock = func() time.Duration { return time.Minute }
	if _, err := h.Poll(time.Second); err != nil {
		t.Fatal(err)
	}
	if h.now != time.Minute {
		t.Errorf("handled as of %v; want %v", h.now, time.Minute)
	}
}
