package node

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/prytany/prytany/internal/api"
)

// A node that has lost its quorum is not ready, names nobody as leader, and
// hands nothing over, also while it takes itself for the leader.
func TestNotReadyWithoutAQuorum(t *testing.T) {
	dir := t.TempDir()
	a := runNode(t, Config{Name: "a", DataDir: dir + "/a", Bootstrap: true, HTTP: "127.0.0.1:0", Peer: "127.0.0.1:0", Gossip: "127.0.0.1:0"})
	b := runNode(t, Config{Name: "b", DataDir: dir + "/b", Join: []string{a.GossipAddr()}, HTTP: "127.0.0.1:0", Peer: "127.0.0.1:0", Gossip: "127.0.0.1:0"})
	await(t, "both vote", func() bool { return leads(t, a) && b.Voter() && a.Ready() && b.Ready() })
	b.Pause()
	var checks []api.Check
	await(t, "a has no leader", func() bool {
		checks = a.checks()
		return slices.ContainsFunc(checks, func(c api.Check) bool { return c.Name == "leader" && !c.OK })
	})
	for _, c := range checks {
		if c.Name == "disk" {
			continue // may be slow for reasons of its own
		}
		if c.OK == (c.Name == "leader") || !c.OK && !strings.Contains(c.Detail, "no quorum in reach") && c.Detail != "no leader known" {
			t.Errorf("%+v", c)
		}
	}
	if g := a.status().Groups[0]; g.Role != api.RoleFollower {
		t.Errorf("role %s", g.Role)
	}
	if _, err := a.transfer(t.Context(), api.MainGroup, "b", true); code(err) != api.CodeNoLeader {
		t.Errorf("handed over: %v", err)
	}
	b.Resume()
	await(t, "a is ready", a.Ready)
}

// Only a node that answers reads by its lease says that it does.
func TestLeasedIsSaidWhereItIsUsed(t *testing.T) {
	dir := t.TempDir()
	for _, uses := range []bool{false, true} {
		name := map[bool]string{false: "without", true: "with"}[uses]
		n := runNode(t, Config{Name: name, DataDir: dir + "/" + name, Bootstrap: true, HTTP: "127.0.0.1:0", Peer: "127.0.0.1:0", Gossip: "127.0.0.1:0", LeaseReads: uses})
		await(t, "it holds the lease", func() bool { g, ok := n.main(); return ok && g.Leased })
		if got := n.status().Groups[0].Leased; got && !uses {
			t.Errorf("%s: says that it answers reads by its lease", name)
		}
		if uses {
			await(t, "it says so", func() bool { return n.status().Groups[0].Leased })
		}
	}
}

// TestPausedAndStopped has a request wait at a node that is paused, and end there: nobody
// has looked at it, and it is not answered.
func TestPausedAndStopped(t *testing.T) {
	n := &Node{frozen: make(chan struct{})}
	h := n.gate(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was answered") }))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	defer func() {
		if p, ok := recover().(error); !ok || !errors.Is(p, http.ErrAbortHandler) {
			t.Errorf("the handler ended with %v; want %v", p, http.ErrAbortHandler)
		}
	}()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/livez", nil))
}
