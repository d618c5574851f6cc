package node

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/prytany/prytany/fd"
	"github.com/prytany/prytany/internal/steward"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
)

func TestReady(t *testing.T) {
	tests := []struct {
		name           string
		start, decided paxos.Slot // of the group
		from           paxos.Slot // asked for by the learner
		want           bool
	}{
		{"has nothing", 0, 5, 1, false},
		{"has the first snapshot", 0, 5, 2, true},
		{"has not heard of the last configuration", 40, 50, 40, false},
		{"has", 40, 50, 41, true},
		{"close enough", 40, 1050, 50, true},
		{"too far behind", 40, 1051, 50, false},
	}
	for _, tt := range tests {
		var g replica.GroupStatus
		g.Membership.Start, g.Decided = tt.start, tt.decided
		if got := steward.Ready(g, tt.from); got != tt.want {
			t.Errorf("%s: %v; want %v", tt.name, got, tt.want)
		}
	}
}

func TestHomeless(t *testing.T) {
	group := func(c paxos.ConfigID) (g replica.GroupStatus) {
		g.Membership.ID = c
		return g
	}
	tests := []struct {
		name string
		main replica.GroupStatus
		ok   bool
		want bool
	}{
		{"no group", replica.GroupStatus{}, false, true},
		{"nothing has arrived", group(0), true, true},
		{"a member", group(1), true, false},
	}
	for _, tt := range tests {
		if got := homeless(tt.main, tt.ok); got != tt.want {
			t.Errorf("%s: %v; want %v", tt.name, got, tt.want)
		}
	}
}

// TestChangesAreTold wants every kind of change to be told in its own way, and a
// node's coming and going to be events.
func TestChangesAreTold(t *testing.T) {
	seen := map[string]bool{}
	for k := fd.Joined; k <= fd.Conflicted; k++ {
		told := tellings[k]
		if told.kind == "" || seen[told.kind] || !strings.Contains(told.text, "%s") {
			t.Errorf("%v is told as %q: %q", k, told.kind, told.text)
		}
		seen[told.kind] = true
	}

	log, faults := &keeper{Handler: slog.DiscardHandler, least: slog.LevelInfo}, &Faults{}
	a := runNode(t, Config{Name: "n1", Bootstrap: true, Voters: 1, Faults: faults, Log: slog.New(log)})
	b := runNode(t, Config{Name: "n2", Join: []string{a.GossipAddr()}, Voters: 1, Faults: faults})
	await(t, "n2 comes", func() bool { return log.count("gossip shows n2 for the first time") == 1 && b.Ready() })
	lost := 0 // before, and come back: the machine may have stood still
	await(t, "n2 is there", func() bool {
		lost = log.count("gossip takes n2 for dead")
		return log.count("gossip shows n2 again") == lost
	})
	faults.Cut("n1", "n2")
	await(t, "n2 is lost", func() bool { return log.count("gossip takes n2 for dead") > lost })
	faults.Heal()
	await(t, "n2 is back", func() bool { return log.count("gossip shows n2 again") > lost })
}
