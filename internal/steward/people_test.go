package steward

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/directory"
	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

// A fakeHost runs the commands of the directory at once. It leads nothing but shows
// each group with its first member as leader.
type fakeHost struct {
	Host
	dir *directory.Machine

	mu   sync.Mutex
	slot paxos.Slot
}

func (h *fakeHost) Propose(_ context.Context, _ paxos.GroupID, cmd []byte) (replica.Result, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.slot++
	return replica.Result{Payload: h.dir.Apply(h.slot, cmd, 0), Slot: h.slot}, nil
}
func (h *fakeHost) Barrier(context.Context, paxos.GroupID) (paxos.Slot, error) { return 1, nil }
func (h *fakeHost) Status() ([]replica.GroupStatus, []leader.Link)             { return nil, nil }
func (h *fakeHost) Group(id paxos.GroupID) (s replica.GroupStatus, ok bool) {
	g := h.dir.View().Group(id)
	if g == nil || len(g.Members) == 0 {
		return s, false
	}
	s.Leader, s.Membership = g.Members[0].Node, paxos.Membership{ID: g.Config, Voters: g.Members}
	return s, true
}

// town is a Steward on node 1 of five, of which 1, 2 and 3 vote in main.
func town(t *testing.T) (*Steward, []Peer) {
	t.Helper()
	h := &fakeHost{dir: directory.New(nil)}
	var peers []Peer
	for i := 1; i <= 5; i++ {
		peers = append(peers, Peer{ID: synod.NodeID(i), Name: fmt.Sprintf("n%d", i), Gossip: "alive", Alive: true, PeerAddr: "a"})
	}
	s := New(Config{
		Self: 1, Name: "n1", Host: h, Directory: h.dir, Peers: func() []Peer { return peers },
		RTT:   func(a, b uint64) (time.Duration, bool) { return 0, false },
		URL:   func(synod.NodeID) string { return "" },
		Here:  func(paxos.GroupID) (s api.GroupStatus, ok bool) { return s, false },
		Event: func(api.NodeEvent) {},
	})
	if _, err := s.command(t.Context(), &directory.Report{ID: paxos.Main, Config: 3, Members: members(1, 2, 3)}); err != nil {
		t.Fatal(err)
	}
	return s, peers
}

func wants(t *testing.T, what string, err error, code api.Code) {
	t.Helper()
	p, _ := errors.AsType[*api.Problem](err)
	if p == nil && code != "" || p != nil && p.Code != code {
		t.Errorf("%s: %v; want %s", what, err, code)
	}
}

func TestGroupsForPeople(t *testing.T) {
	s, peers := town(t)
	ctx := t.Context()
	for i := range 7 {
		g, err := s.Create(ctx, fmt.Sprint(i), api.CreateGroup{Name: fmt.Sprintf("g%d", i)})
		if err != nil || len(g.Members) != 3 || g.Leader == "" {
			t.Fatalf("%+v %v", g, err)
		}
	}
	_, err := s.Create(ctx, "other", api.CreateGroup{Name: "g1"})
	wants(t, "the same name", err, api.CodeGroupExists)
	_, err = s.Create(ctx, "1", api.CreateGroup{Name: "g1"})
	wants(t, "the same request", err, "")
	_, err = s.Create(ctx, "", api.CreateGroup{Name: "wide", Replicas: 6})
	wants(t, "six of five", err, api.CodeTooFewNodes)
	_, err = s.Create(ctx, "", api.CreateGroup{Name: "far", Near: "n9"})
	wants(t, "near to nobody", err, api.CodeNodeUnknown)

	var names []string
	for after, more := "", true; more; {
		var page []api.Group
		page, more = s.List("g", after, 3)
		for _, g := range page {
			names = append(names, g.Name)
			after = g.Name
		}
	}
	if got := strings.Join(names, " "); got != "g0 g1 g2 g3 g4 g5 g6" {
		t.Errorf("pages: %s", got)
	}

	g, _ := s.Get("g2")
	from, out := g.Members[0].Name, ""
	for _, p := range peers {
		if !strings.Contains(fmt.Sprint(g.Members), p.Name) {
			out = p.Name
		}
	}
	_, err = s.Move(ctx, "g2", api.MoveMember{From: out})
	wants(t, "who is no member", err, api.CodeVoterUnknown)
	_, err = s.Move(ctx, "g2", api.MoveMember{From: from, To: g.Members[1].Name})
	wants(t, "to a member", err, api.CodeInvalid)
	moved, err := s.Move(ctx, "g2", api.MoveMember{From: from, To: out})
	wants(t, "a move", err, "")
	if moved.Move == nil || moved.Move.Add != out || moved.Move.Remove != from {
		t.Errorf("%+v", moved.Move)
	}
	_, err = s.Move(ctx, "g2", api.MoveMember{From: from, To: out})
	wants(t, "the same again", err, "")
	_, err = s.Move(ctx, "g2", api.MoveMember{From: g.Members[1].Name})
	wants(t, "another meanwhile", err, api.CodeGroupBusy)

	_, err = s.Resize(ctx, "g3", 6)
	wants(t, "six of five", err, api.CodeTooFewNodes)
	_, err = s.Resize(ctx, "g3", 5)
	wants(t, "five", err, "")
	wants(t, "main", s.Delete(ctx, "d0", "main"), api.CodeMainGroup)
	wants(t, "g4", s.Delete(ctx, "d1", "g4"), "")
	wants(t, "g4 by the same request", s.Delete(ctx, "d1", "g4"), "")
	wants(t, "g4 by another", s.Delete(ctx, "d2", "g4"), api.CodeGroupUnknown)
}

// A change whose new member is dead gives way to another target.
func TestAMoveThatStandsStillGivesWay(t *testing.T) {
	s, peers := town(t)
	if _, err := s.Create(t.Context(), "", api.CreateGroup{Name: "g", Replicas: 3}); err != nil {
		t.Fatal(err)
	}
	g, _ := s.Get("g")
	var out []int
	for i, p := range peers {
		if !strings.Contains(fmt.Sprint(g.Members), p.Name) {
			out = append(out, i)
		}
	}
	move := func(to int) error {
		_, err := s.Move(t.Context(), "g", api.MoveMember{From: g.Members[0].Name, To: peers[to].Name})
		return err
	}
	wants(t, "to the first", move(out[0]), "")
	wants(t, "to the second meanwhile", move(out[1]), api.CodeGroupBusy)
	peers[out[0]].Alive = false
	wants(t, "to the dead one", move(out[0]), api.CodeTooFewNodes)
	wants(t, "to the second", move(out[1]), "")
}

// Main wants as many voters as it has until somebody has asked for a size; then a member
// that is added must not be taken out again because it is one too many.
func TestAMemberIsAddedToAMainThatHasASize(t *testing.T) {
	for size, want := range map[int]int{3: 4, 5: 5} {
		s, _ := town(t)
		if _, err := s.Resize(t.Context(), api.MainGroup, size); err != nil {
			t.Fatal(err)
		}
		_, err := s.AddMember(t.Context(), "n5")
		wants(t, "n5", err, "")
		if v := s.cfg.Directory.View().Group(paxos.Main); v.Plan.Add.Node != 5 || v.Replicas != want {
			t.Errorf("of size %d: %+v", size, v)
		}
	}
}

func TestMembersForPeople(t *testing.T) {
	s, peers := town(t)
	ctx := t.Context()
	_, err := s.AddMember(ctx, "n9")
	wants(t, "nobody", err, api.CodeNodeUnknown)
	c, err := s.AddMember(ctx, "n4")
	wants(t, "n4", err, "")
	if v := s.cfg.Directory.View().Group(paxos.Main); v.Plan.Add.Node != 4 || v.Replicas != 0 || c.Node != peers[3].ID.String() {
		t.Errorf("%+v %+v", v, c)
	}
	peers[1].Alive = false
	_, err = s.RemoveMember(ctx, "n3", false)
	wants(t, "one of two that live", err, api.CodeQuorumAtRisk)
	if len(s.cfg.Directory.View().Removed()) != 0 {
		t.Error("it was removed all the same")
	}
	// n2 is dead; its name comes back on an empty disk.
	peers = append(peers, Peer{ID: 12, Name: "n2", Gossip: "alive", Alive: true})
	s.cfg.Peers = func() []Peer { return peers }
	s.cfg.Self, s.cfg.Name = 12, "n2"
	if v, taken := s.Seat(); !taken || v != 2 {
		t.Errorf("the new n2: %v %v", v, taken)
	}
	c, err = s.ReplaceMember(ctx, "n2", "", false)
	if wants(t, "n2", err, ""); c.Node != synod.NodeID(2).String() || c.By != "n2" || len(c.Groups) != 1 {
		t.Errorf("%+v", c)
	}
	if r := s.cfg.Directory.View().Removed(); len(r) != 1 || r[0].Node != 2 || r[0].By != 12 {
		t.Errorf("%+v", r)
	}
	if _, taken := s.Seat(); taken {
		t.Error("the seat is still another's")
	}
	// The answer was lost, and the new n2 has the places already: it must keep them.
	if _, err := s.command(ctx, &directory.Report{ID: paxos.Main, Config: 4, Members: members(1, 3, 12)}); err != nil {
		t.Fatal(err)
	}
	again, err := s.ReplaceMember(ctx, "n2", "", false)
	if wants(t, "n2 once more", err, ""); again.Node != c.Node || again.By != c.By || len(s.cfg.Directory.View().Removed()) != 1 {
		t.Errorf("%+v; want %+v, and nobody else removed: %+v", again, c, s.cfg.Directory.View().Removed())
	}
	_, err = s.AddMember(ctx, synod.NodeID(2).String())
	wants(t, "who was removed", err, api.CodeNodeRemoved)
}
