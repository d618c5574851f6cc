package doctor

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/api"
)

// healthy is a node of a cluster where all is well.
func healthy(name string, members ...api.Member) *node {
	return &node{
		url: "http://" + name, dated: true, synced: true, fsync: time.Millisecond, members: members,
		status: api.Status{
			ID: name, Name: name, Cluster: "c", Version: "v1", Disk: api.Disk{Healthy: true, FreeBytes: 10 << 30},
			Groups: []api.GroupStatus{{Group: "main", Role: api.RoleLeader, Leader: "n1", Config: 1, Voters: []string{"n1", "n2", "n3"}}},
		},
	}
}

func trio() []*node { return []*node{healthy("n1"), healthy("n2"), healthy("n3")} }

// agree compares nodes of which the first three vote in main.
func agree(nodes []*node) Check {
	return agreement(nodes, []api.Group{{Name: "main", Members: []api.GroupMember{{ID: "n1"}, {ID: "n2"}, {ID: "n3"}}}})
}

func TestChecks(t *testing.T) {
	voter := map[string]string{"main": api.RoleFollower}
	tests := []struct {
		name   string
		change func(nodes []*node) []*node
		check  func(nodes []*node) Check
		ok     bool
		detail string
	}{
		{"one cluster", nil, clusters, true, "all nodes belong to c"},
		{"two clusters", func(n []*node) []*node { n[2].status.Cluster = "d"; return n }, clusters, false, "n1 belongs to c, n3 to d"},
		{"not joined", func(n []*node) []*node { n[1].status.Cluster = ""; return n }, clusters, false, "n2 has not joined yet"},
		{"quorum", nil, first, true, "3 of 3 voters answer; it survives 1 more failure"},
		{"one gone", func(n []*node) []*node { return n[:2] }, first, false, "2 of 3 voters answer; it survives 0 more failures"},
		{"two gone", func(n []*node) []*node { return n[:1] }, first, false, "1 of 3 voters answer; it survives 0 more failures"},
		{"nobody leads", func(n []*node) []*node {
			for _, x := range n {
				x.status.Groups[0].Role, x.status.Groups[0].Leader = api.RoleFollower, ""
			}
			return n
		}, first, false, "3 of 3 voters answer; it survives 1 more failure; nobody leads"},
		{"one voter", func(n []*node) []*node { n[0].status.Groups[0].Voters = []string{"n1"}; return n[:1] }, first, false, "1 of 1 voters answer; it survives 0 more failures"},
		{"agreement", nil, agree, true, "3 nodes see each other"},
		{"gossip is cut", func(n []*node) []*node {
			n[0].members = []api.Member{{Name: "n2", Gossip: "dead", Link: "up", Roles: voter}}
			return n
		}, agree, false, "n1 hears n2, but gossip says it is dead"},
		{"the link is cut", func(n []*node) []*node {
			n[0].members = []api.Member{{ID: "n2", Name: "n2", Gossip: "alive", Link: "down", Roles: voter}}
			return n
		}, agree, false, "gossip says n2 is alive, but n1 has no link to it"},
		{"no group in common, no link", func(n []*node) []*node {
			n[0].members = []api.Member{{ID: "n4", Name: "n4", Gossip: "alive", Link: "down"}}
			return n
		}, agree, true, "3 nodes see each other"},
		{"a removed node", func(n []*node) []*node {
			n[0].members = []api.Member{{ID: "n2", Name: "n2", Gossip: "dead", Link: "up", Roles: voter, Removed: true}}
			return n
		}, agree, true, "3 nodes see each other"},
		{"a dead voter", func(n []*node) []*node {
			n[0].members = []api.Member{{Name: "n2", Gossip: "dead", Link: "down", Roles: voter}}
			return n
		}, agree, false, "n2 has a vote, and for n1 gossip says dead"},
		{"clocks", nil, clocks, true, "all are within two seconds of this machine's"},
		{"one clock", func(n []*node) []*node { n[1].drift = -time.Minute; return n }, clocks, false, "1m0s apart, 1m0s off from here"},
		{"our clock", func(n []*node) []*node {
			for _, x := range n {
				x.drift = time.Hour
			}
			return n
		}, clocks, false, "0s apart, 1h0m0s off from here"},
		{"no clock", func(n []*node) []*node {
			for _, x := range n {
				x.dated = false
			}
			return n
		}, clocks, true, "no node tells its time"},
		{"disks", nil, disks, true, "all take writes"},
		{"a broken disk", func(n []*node) []*node { n[1].status.Disk.Healthy = false; return n }, disks, false, "the disk of n2 fails"},
		{"a full disk", func(n []*node) []*node { n[1].status.Disk.FreeBytes = 5 << 20; return n }, disks, false, "n2 has 5 MiB left"},
		{"fsync", nil, syncs, true, "the slowest disk takes 1ms for a durable write, on average (n3)"},
		{"a slow disk", func(n []*node) []*node { n[0].fsync = time.Second; return n }, syncs, false, "the slowest disk takes 1s for a durable write, on average (n1)"},
		{"versions", nil, versions, true, "all run v1"},
		{"an upgrade", func(n []*node) []*node { n[0].status.Version = "v2"; return n }, versions, false, "v1: n2, n3; v2: n1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			nodes := trio()
			if tt.change != nil {
				nodes = tt.change(nodes)
			}
			c := tt.check(nodes)
			if c.OK != tt.ok || c.Detail != tt.detail || c.OK == (c.Hint != "") {
				t.Errorf("%+v; want %v, %q and a hint if that is bad", c, tt.ok, tt.detail)
			}
		})
	}
}

func first(nodes []*node) Check { return quorums(nodes)[0] }

func TestReachable(t *testing.T) {
	nodes := trio()
	nodes[1].err = errors.New("connection refused")
	checks := reachable(nodes)
	if !checks[0].OK || checks[1].OK || checks[1].Detail != "connection refused" || checks[1].Hint == "" {
		t.Errorf("%+v", checks)
	}
}

func TestExamineWithoutAnybody(t *testing.T) {
	checks := Examine(t.Context(), nobody{}.client(), []string{"http://a", "http://b"})
	if len(checks) != 2 || slices.ContainsFunc(checks, func(c Check) bool { return c.OK }) {
		t.Errorf("%+v; want two that fail", checks)
	}
}

func TestMeanFsync(t *testing.T) {
	text := "# HELP x\nprytany_fsync_duration_seconds_bucket{le=\"0.1\"} 4\nprytany_fsync_duration_seconds_sum 0.2\nprytany_fsync_duration_seconds_count 4\n"
	if d, ok := meanFsync(text); d != 50*time.Millisecond || !ok {
		t.Errorf("%s, %v; want 50ms", d, ok)
	}
	for _, text := range []string{"", strings.Repeat("x", 100), "prytany_fsync_duration_seconds_count 0\n", "prytany_fsync_duration_seconds_sum NaN\nprytany_fsync_duration_seconds_count 1\n"} {
		if d, ok := meanFsync(text); ok {
			t.Errorf("%q gives %s", text, d)
		}
	}
}

// nobody is a network without anybody in it.
type nobody struct{}

func (nobody) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("refused") }

func (n nobody) client() *http.Client { return &http.Client{Transport: n} }

// The worst that is wrong with groups is said, with names and what to do.
func TestGroups(t *testing.T) {
	group := func(name, leader string, replicas int, gossip ...string) api.Group {
		g := api.Group{Name: name, Leader: leader, Replicas: replicas}
		for i, s := range gossip {
			g.Members = append(g.Members, api.GroupMember{Name: "n" + string('1'+rune(i)), Gossip: s})
		}
		return g
	}
	fine, main := group("fine", "n1", 3, "alive", "alive", "alive"), group("main", "", 3, "dead")
	short, dead := group("short", "n1", 3, "alive", "alive"), group("dead", "n2", 3, "dead", "alive", "alive")
	headless, stuck := group("headless", "", 3, "alive", "alive", "alive"), group("stuck", "n1", 3, "alive", "dead", "dead")
	for _, tt := range []struct {
		groups []api.Group
		ok     bool
		detail string
		hint   string
	}{
		{[]api.Group{main}, true, "0 beside main, each with a leader and all its voters", ""},
		{[]api.Group{fine, main}, true, "1 beside main, each with a leader and all its voters", ""},
		{[]api.Group{fine, main, short}, false, "1 of 2 (short) have fewer voters than wanted", "add nodes"},
		{[]api.Group{fine, main, short, dead}, false, "2 of 3 (short, dead) have fewer voters alive than wanted", "start n1 again"},
		{[]api.Group{fine, headless, dead}, false, "1 of 3 (headless) have no leader", "prytany events -g headless"},
		{[]api.Group{stuck, fine, headless}, false, "1 of 3 (stuck) have no quorum", "start n2 and n3 again"},
		{[]api.Group{short, short, short, short, short, short}, false, "6 of 6 (short, short, short, short, short, …) have fewer voters than wanted", "add nodes"},
	} {
		if c := groups(tt.groups, nil); c.OK != tt.ok || c.Detail != tt.detail || !strings.Contains(c.Hint, tt.hint) {
			t.Errorf("%+v", c)
		}
	}
	if c := groups(nil, errors.New("no")); c.OK || c.Hint == "" {
		t.Errorf("%+v", c)
	}
}
