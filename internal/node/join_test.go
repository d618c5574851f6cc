package node

import (
	"testing"

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
		if got := ready(g, tt.from); got != tt.want {
			t.Errorf("%s: %v; want %v", tt.name, got, tt.want)
		}
	}
}

func TestHomeless(t *testing.T) {
	group := func(id paxos.GroupID, c paxos.ConfigID) (g replica.GroupStatus) {
		g.Group, g.Membership.ID = id, c
		return g
	}
	tests := []struct {
		name   string
		groups []replica.GroupStatus
		want   bool
	}{
		{"no group", nil, true},
		{"another group", []replica.GroupStatus{group(2, 1)}, true},
		{"nothing has arrived", []replica.GroupStatus{group(paxos.Main, 0)}, true},
		{"a member", []replica.GroupStatus{group(paxos.Main, 1)}, false},
	}
	for _, tt := range tests {
		if got := homeless(tt.groups); got != tt.want {
			t.Errorf("%s: %v; want %v", tt.name, got, tt.want)
		}
	}
}
