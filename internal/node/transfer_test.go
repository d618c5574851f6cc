package node

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

func code(err error) api.Code {
	p, _ := errors.AsType[*api.Problem](err)
	if p == nil {
		return ""
	}
	return p.Code
}

// leads reports whether n leads main. If not, n asks for the lead: it may have moved while
// the machine stood still.
func leads(t *testing.T, n *Node) bool {
	t.Helper()
	if !n.Leads() {
		_, _ = n.transfer(t.Context(), api.MainGroup, n.Name(), true)
	}
	return n.Leads()
}

// A node that is alone can hand over to nobody, but to itself, which leads.
func TestTransferAlone(t *testing.T) {
	n := runNode(t, Config{Name: "a", DataDir: t.TempDir(), Bootstrap: true, HTTP: "127.0.0.1:0", Peer: "127.0.0.1:0", Gossip: "127.0.0.1:0"})
	await(t, "it leads", n.Leads)
	for _, to := range []string{"a", n.ID().String()} {
		if out, err := n.transfer(t.Context(), api.MainGroup, to, true); err != nil || out != (api.HandedOver{From: "a", To: "a"}) {
			t.Errorf("to %s: %+v, %v", to, out, err)
		}
	}
	if _, err := n.transfer(t.Context(), api.MainGroup, "", true); code(err) != api.CodeNoHeir {
		t.Errorf("to anybody: %v", err)
	}
	_, err := n.transfer(t.Context(), api.MainGroup, "b", true)
	if p, _ := errors.AsType[*api.Problem](err); p == nil || p.Code != api.CodeVoterUnknown || p.Field != "to" || p.Limit != "a" {
		t.Errorf("to a stranger: %+v", err)
	}
	if r := n.rtt(); r.Node != "a" || r.RoundTrips == nil {
		t.Errorf("%+v", r)
	}
	events, oldest, _ := n.journal.Read(0, 100)
	var kinds []string
	for _, e := range events {
		kinds = append(kinds, e.Kind)
	}
	if !strings.Contains(strings.Join(kinds, " "), "leading") || oldest>>32 != n.incar {
		t.Errorf("events %v, ids from %x in incarnation %d", kinds, oldest, n.incar)
	}
}

// A node that does not lead asks the leader, once: an answer that says no is
// passed on, and one that leads nowhere is not followed.
func TestTransferIsForwardedOnce(t *testing.T) {
	dir := t.TempDir()
	a := runNode(t, Config{Name: "a", DataDir: dir + "/a", Bootstrap: true, HTTP: "127.0.0.1:0", Peer: "127.0.0.1:0", Gossip: "127.0.0.1:0"})
	b := runNode(t, Config{Name: "b", DataDir: dir + "/b", Join: []string{a.GossipAddr()}, HTTP: "127.0.0.1:0", Peer: "127.0.0.1:0", Gossip: "127.0.0.1:0"})
	await(t, "both vote", func() bool { return leads(t, a) && b.Voter() && b.leaderURL(api.MainGroup) == a.HTTPURL() })
	// What b is told counts if a led all the time, under one ballot and as b knew.
	var passed, kept, astray error
	await(t, "a leads while b is asked", func() bool {
		if !leads(t, a) {
			return false
		}
		before := a.Standing()
		_, passed = b.transfer(t.Context(), api.MainGroup, "c", true)
		_, kept = b.transfer(t.Context(), api.MainGroup, "b", false)
		_, astray = b.askLeader(t.Context(), api.MainGroup, b.ID(), "a", false)
		return before.Leads && a.Standing() == before && code(passed) != api.CodeNoLeader
	})
	if code(passed) != api.CodeVoterUnknown {
		t.Errorf("passed on: %v", passed)
	}
	if code(kept) != api.CodeNoLeader {
		t.Errorf("not to be forwarded: %v", kept)
	}
	if code(astray) != api.CodeNoLeader {
		t.Errorf("asked one that does not lead: %v", astray)
	}
	await(t, "b leads", func() bool {
		out, err := b.transfer(t.Context(), api.MainGroup, "b", true)
		return err == nil && out.To == "b"
	})
	if !b.Leads() {
		await(t, "b says so", b.Leads)
	}
}

func TestNotHandedOver(t *testing.T) {
	n := runNode(t, Config{Name: "a", DataDir: t.TempDir(), Bootstrap: true, HTTP: "127.0.0.1:0", Peer: "127.0.0.1:0", Gossip: "127.0.0.1:0"})
	await(t, "it leads", n.Leads)
	now := n.Standing().Ballot
	before := now
	before.Round--
	for _, tc := range []struct {
		err  error
		b    synod.Ballot
		want api.Code
	}{
		{replica.ErrNoHeir, now, api.CodeNoHeir},
		{replica.ErrNotVoter, now, api.CodeVoterUnknown},
		{replica.ErrHandingOver, now, api.CodeHandingOver},
		{replica.ErrNotHandedOver, now, api.CodeNoHeir}, // it leads on
		{replica.ErrNotHandedOver, before, api.CodeOutcomeUnknown},
		{&paxos.NotLeaderError{}, now, api.CodeNoLeader},
		{errors.New("a bug"), now, ""},
	} {
		for _, heir := range []string{"", "b"} {
			id := n.ID() + 1
			if heir == "" {
				id = 0
			}
			if got := n.notHandedOver(t.Context(), tc.err, paxos.Main, id, tc.b); code(got) != tc.want {
				t.Errorf("%v: %v", tc.err, got)
			}
		}
	}
}

// How a hand-over ended is told, and why a node is not fit.
func TestObserve(t *testing.T) {
	n := runNode(t, Config{Name: "a", DataDir: t.TempDir(), Bootstrap: true, HTTP: "127.0.0.1:0", Peer: "127.0.0.1:0", Gossip: "127.0.0.1:0"})
	n.observe(paxos.Main, replica.HandOverEvent{To: n.ID() + 1})
	n.observe(paxos.Main, replica.HandOverEvent{To: n.ID() + 1, Err: replica.ErrNotHandedOver})
	n.observe(paxos.Main, replica.HandOverEvent{To: n.ID() + 1, Err: replica.ErrNotHandedOver, Released: true})
	n.observe(paxos.Main, replica.HandOverEvent{To: n.ID() + 1, Err: &paxos.NotLeaderError{}})
	var texts []string
	events, _, _ := n.journal.Read(0, 1000)
	for _, e := range events {
		if strings.HasSuffix(e.Kind, "handed-over") {
			texts = append(texts, e.Kind+" "+strings.ReplaceAll(e.Text, (n.ID()+1).String(), "b"))
		}
	}
	const want = "handed-over a has handed the lead of main over to b\n" +
		"not-handed-over a has not handed the lead of main over to b: b did not catch up in time, or its link was lost; nothing was given up\n" +
		"not-handed-over a has not handed the lead of main over to b: b did not begin in time, the lead is given up\n" +
		"not-handed-over a has not handed the lead of main over to b: a lost the lead meanwhile"
	if got := strings.Join(texts, "\n"); got != want {
		t.Errorf("%s", got)
	}
}

func TestDistance(t *testing.T) {
	m := paxos.Membership{Voters: []paxos.Member{{Node: 1}, {Node: 2}, {Node: 3}, {Node: 4}, {Node: 5}}}
	const ms = int64(time.Millisecond)
	links := []leader.Link{
		{Peer: 2, Up: true, Median: 3 * ms, RTT: 9 * ms}, {Peer: 3, Up: true, RTT: 2 * ms}, {Peer: 4, Up: true}, {Peer: 5, Median: ms}, {Peer: 9, Up: true, Median: ms},
	}
	for _, tc := range []struct {
		m    paxos.Membership
		want int64
	}{
		{m, 3 * ms}, // itself, 3 and 2
		{paxos.Membership{Voters: m.Voters[:1]}, 0},
		{paxos.Membership{Voters: m.Voters[:3]}, 2 * ms},
		{paxos.Membership{Voters: m.Voters[1:3]}, 3 * ms}, // has no vote itself
		{paxos.Membership{Voters: m.Voters[2:]}, 0},       // too few in reach
		{paxos.Membership{}, 0},
	} {
		if got := distance(tc.m, 1, links); got != tc.want {
			t.Errorf("%d voters: %d, want %d", len(tc.m.Voters), got, tc.want)
		}
	}
}

// Nobody leads for a node that reaches no quorum and has lost its leader.
func TestRoles(t *testing.T) {
	m := paxos.Membership{Voters: []paxos.Member{{Node: 1, Ordinal: 1}, {Node: 2, Ordinal: 2}, {Node: 3, Ordinal: 3}}}
	up := []leader.Link{{Peer: 2, Up: true}, {Peer: 3}}
	down := []leader.Link{{Peer: 2}, {Peer: 3}}
	for _, tc := range []struct {
		content bool
		links   []leader.Link
		want    string
	}{{true, up, api.RoleLeader}, {true, down, api.RoleLeader}, {false, up, api.RoleLeader}, {false, down, api.RoleFollower}} {
		g := replica.GroupStatus{Status: paxos.Status{Membership: m}, Leader: 3, Content: tc.content}
		if got := role(g, 3, led(g, 1, tc.links)); got != tc.want {
			t.Errorf("%+v: %s", tc, got)
		}
		if got := role(g, 9, led(g, 1, tc.links)); got != api.RoleLearner {
			t.Errorf("%s", got)
		}
	}
}
