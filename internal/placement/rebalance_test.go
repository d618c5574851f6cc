package placement

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestRebalance(t *testing.T) {
	abc := nodes("a", "a", "b", "b", "c")
	flat := nodes("", "", "", "")
	three := []uint64{1, 2, 3}
	near := rtts{{1, 2}: 3.1, {1, 3}: 40, {1, 4}: 50, {2, 3}: 40, {2, 4}: 41, {3, 4}: 1}
	tests := []struct {
		name   string
		groups []Group
		nodes  []Node
		d      Distance
		want   []Step
	}{
		{"nothing to do", []Group{{ID: 7, Members: three}}, flat, lan, nil},
		{"nothing at all", nil, nil, lan, nil},
		{
			"a dead member", []Group{{ID: 7, Members: three, Leader: 1}}, with(flat, 2, dead), lan,
			[]Step{{Group: 7, From: 2, To: 4, Why: "n2 is dead for gossip; the only node left"}},
		},
		{"a dead member, and nobody to take its place", []Group{{ID: 7, Members: three}}, with(flat[:3], 2, dead), lan, nil},
		{"a dead member of a busy group", []Group{{ID: 7, Members: three, Busy: true}}, with(flat, 2, dead), lan, nil},
		{"a member that nobody knows", []Group{{ID: 7, Members: []uint64{1, 2, 9}}}, flat, lan, nil},
		{"most members are dead", []Group{{ID: 7, Members: three}}, with(with(flat, 1, dead), 2, dead), lan, nil},
		{"half of the members are dead", []Group{{ID: 7, Members: []uint64{1, 2}}}, with(flat, 1, dead), lan, nil},
		{
			"the worst first", []Group{{ID: 5, Members: []uint64{1, 2, 3}}, {ID: 7, Members: []uint64{1, 2, 3, 4, 5}}},
			with(with(nodes("", "", "", "", "", "", "", ""), 1, dead), 5, dead), lan,
			[]Step{{Group: 7, From: 1}, {Group: 7, From: 5}, {Group: 5, From: 1}},
		},
		{
			"a zone twice", []Group{{ID: 7, Members: three}}, abc, lan,
			[]Step{{Group: 7, To: 5, Why: "zone a has 2 members, zone c has 0"}},
		},
		{
			"a zone twice, and the node with most to do goes", []Group{{ID: 7, Members: three}}, with(abc, 1, loaded(1)), lan,
			[]Step{{Group: 7, From: 1, To: 5}},
		},
		{
			"a zone twice, and the far one goes", []Group{{ID: 7, Wish: Wish{Near: 2}, Members: three}}, with(abc, 2, loaded(5)), rtts{{1, 2}: 9}.distance,
			[]Step{{Group: 7, From: 1, To: 5}},
		},
		{"a zone twice, but nobody is left", []Group{{ID: 7, Members: three}}, with(abc, 5, dead), lan, nil},
		{
			"zones are evened out", []Group{{ID: 7, Members: []uint64{1, 2, 3, 4}}}, nodes("a", "a", "a", "b", "b"), lan,
			[]Step{{Group: 7, To: 5, Why: "zone a has 3 members, zone b has 1"}},
		},
		{
			"a zone that is not wished for", []Group{{ID: 7, Wish: Wish{Zones: []string{"a"}}, Members: []uint64{1, 3}}}, abc, lan,
			[]Step{{Group: 7, From: 3, To: 2, Why: "zone b is not one of the group's"}},
		},
		{"another zone is not wished for", []Group{{ID: 7, Wish: Wish{Zones: []string{"a", "b"}}, Members: three}}, abc, lan, nil},
		{
			"a far member", []Group{{ID: 7, Wish: Wish{Near: 1}, Members: []uint64{1, 3}}}, flat, near.distance,
			[]Step{{Group: 7, From: 3, To: 2, Why: "nearer to n1: 3.1 ms instead of 40.0 ms"}},
		},
		{
			"a member far from the others", []Group{{ID: 7, Members: []uint64{2, 3}}}, flat[:3], near.distance,
			[]Step{{Group: 7, From: 3, To: 1, Why: "nearer to the others: 3.1 ms on average instead of 40.0 ms"}},
		},
		{
			"two that should be near each other", []Group{{ID: 7, Members: []uint64{2, 4}}}, flat, near.distance,
			[]Step{{Group: 7, From: 2, To: 3, Why: "nearer to the others: 1.0 ms on average instead of 41.0 ms"}},
		},
		{"not nearer by a fifth", []Group{{ID: 7, Wish: Wish{Near: 1}, Members: []uint64{4}}}, flat[2:], rtts{{1, 3}: 41, {1, 4}: 50}.distance, nil},
		{"nearer by a fifth", []Group{{ID: 7, Wish: Wish{Near: 1}, Members: []uint64{4}}}, flat[2:], rtts{{1, 3}: 40, {1, 4}: 50}.distance, []Step{{Group: 7, From: 4, To: 3}}},
		{"not nearer by 5 ms", []Group{{ID: 7, Wish: Wish{Near: 1}, Members: []uint64{4}}}, flat[2:], rtts{{1, 3}: 1.1, {1, 4}: 6}.distance, nil},
		{"nearer by 5 ms", []Group{{ID: 7, Wish: Wish{Near: 1}, Members: []uint64{4}}}, flat[2:], rtts{{1, 3}: 1, {1, 4}: 6}.distance, []Step{{Group: 7, From: 4, To: 3}}},
		{"who knows how far", []Group{{ID: 7, Wish: Wish{Near: 1}, Members: []uint64{4}}}, flat[2:], rtts{{1, 3}: 1}.distance, nil},
		{
			"distance does not cost a zone", []Group{{ID: 7, Wish: Wish{Near: 1}, Members: []uint64{1, 3}}},
			nodes("a", "a", "b"), rtts{{1, 2}: 1, {1, 3}: 90}.distance, nil,
		},
		{
			"another zone is as good", []Group{{ID: 7, Wish: Wish{Near: 1}, Members: []uint64{1, 3}}},
			nodes("a", "a", "b", "c"), rtts{{1, 2}: 1, {1, 3}: 90, {1, 4}: 50}.distance,
			[]Step{{Group: 7, From: 3, To: 4}},
		},
		{
			"two more than another node", []Group{{ID: 7, Members: three, Leader: 1}}, with(with(flat, 1, loaded(9)), 4, loaded(7)), lan,
			[]Step{{Group: 7, From: 1, To: 4, Why: "n1 holds 9 members, n4 holds 7"}},
		},
		{
			"just two more than all others", []Group{{ID: 7, Members: three}}, with(with(with(with(flat, 1, loaded(9)), 2, loaded(7)), 3, loaded(7)), 4, loaded(7)), lan,
			[]Step{{Group: 7, From: 1, To: 4}},
		},
		{"one more", []Group{{ID: 7, Members: three}}, with(with(flat, 1, loaded(8)), 4, loaded(7)), lan, nil},
		{
			"another leader need not go", []Group{{ID: 6, Members: three, Leader: 1}, {ID: 7, Members: three, Leader: 2}}, with(with(flat, 1, loaded(9)), 4, loaded(7)), lan,
			[]Step{{Group: 7, From: 1, To: 4}},
		},
		{
			"load is not worth a long way", []Group{{ID: 7, Wish: Wish{Near: 1}, Members: []uint64{1}}}, with(flat[:2], 1, loaded(9)), rtts{{1, 2}: 5}.distance, nil,
		},
		{
			"load is worth a short one", []Group{{ID: 7, Wish: Wish{Near: 1}, Members: []uint64{1}}}, with(flat[:2], 1, loaded(9)), rtts{{1, 2}: 4.9}.distance,
			[]Step{{Group: 7, From: 1, To: 2}},
		},
		{
			"load is not worth an unknown one", []Group{{ID: 7, Wish: Wish{Near: 1}, Members: []uint64{1}}}, with(flat[:2], 1, loaded(9)), none, nil,
		},
		{"load is not worth a zone", []Group{{ID: 7, Members: []uint64{1, 3}}}, with(nodes("a", "a", "b"), 3, loaded(9)), lan, nil},
		{
			"two leads more", []Group{{ID: 7, Members: three, Leader: 1}}, with(with(flat, 1, func(n *Node) { n.Leads = 4 }), 3, func(n *Node) { n.Leads = 2 }), lan,
			[]Step{{Group: 7, Lead: true, From: 1, To: 2, Why: "n1 leads 4 groups, n2 leads 0"}},
		},
		{
			"just two leads more", []Group{{ID: 7, Members: three, Leader: 1}}, with(flat[:3], 1, func(n *Node) { n.Leads = 2 }), lan,
			[]Step{{Group: 7, Lead: true, From: 1}},
		},
		{
			"who loses a member loses its lead", []Group{{ID: 6, Members: []uint64{1}, Leader: 1}, {ID: 7, Members: []uint64{1, 2}, Leader: 1}},
			with(nodes("", "", ""), 1, func(n *Node) { n.Load, n.Leads = 2, 2 }), lan,
			[]Step{{Group: 6, From: 1}},
		},
		{"one lead more", []Group{{ID: 7, Members: three, Leader: 1}}, with(flat, 1, func(n *Node) { n.Leads = 1 }), lan, nil},
		{
			"only members lead, only living ones", []Group{{ID: 7, Members: three, Leader: 1}},
			with(with(with(flat[:3], 1, func(n *Node) { n.Leads = 4 }), 2, func(n *Node) { n.Leads = 3 }), 3, dead), lan, nil,
		},
		{"a leader that is no member", []Group{{ID: 7, Members: []uint64{2, 3}, Leader: 1}}, with(flat, 1, func(n *Node) { n.Leads = 4 }), lan, nil},
		{
			"the lead goes near", []Group{{ID: 7, Wish: Wish{Near: 1}, Members: three, Leader: 3}}, flat[:3], near.distance,
			[]Step{{Group: 7, Lead: true, From: 3, To: 1, Why: "nearer to n1: 0.0 ms instead of 40.0 ms"}},
		},
		{
			"and stays near", []Group{{ID: 7, Wish: Wish{Near: 1}, Members: three, Leader: 1}}, with(flat[:3], 1, func(n *Node) { n.Leads = 9 }), near.distance,
			[]Step{{Group: 7, Lead: true, From: 1, To: 2}},
		},
		{"not to where nobody knows how far", []Group{{ID: 7, Wish: Wish{Near: 9}, Members: three, Leader: 1}}, flat[:3], none, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := fmt.Sprint(tt.groups, tt.nodes)
			got := Rebalance(tt.groups, tt.nodes, tt.d, 100)
			if len(got) != len(tt.want) {
				t.Fatalf("%+v; want %+v", got, tt.want)
			}
			for i, s := range got {
				w := tt.want[i]
				if w.Why == "" {
					w.Why = s.Why
				}
				if w.From == 0 {
					w.From = s.From
				}
				if w.To == 0 {
					w.To = s.To
				}
				if s != w || s.Why == "" {
					t.Errorf("step %d: %+v; want %+v", i, s, w)
				}
			}
			if after := fmt.Sprint(tt.groups, tt.nodes); after != before {
				t.Errorf("the input is now %s", after)
			}
		})
	}
}

// TestLeadsSpread has 1,000 groups on three nodes, all led by the first.
func TestLeadsSpread(t *testing.T) {
	in := nodes("a", "b", "c")
	var groups []Group
	for i := range uint64(1000) {
		groups = append(groups, Group{ID: i + 1, Members: []uint64{1, 2, 3}, Leader: 1})
	}
	for calls := 0; ; calls++ {
		in = count(groups, in)
		steps := Rebalance(groups, in, lan, 100)
		if len(steps) == 0 {
			if calls != 7 {
				t.Errorf("%d calls of 100 steps; want 7", calls)
			}
			break
		}
		if slices.ContainsFunc(steps, func(s Step) bool { return !s.Lead || s.From != 1 }) || len(steps) > 100 {
			t.Fatalf("%+v", steps)
		}
		groups = take(groups, steps)
	}
	for _, n := range in {
		if n.Leads < 333 || n.Leads > 334 {
			t.Errorf("%s leads %d of 1000", n.Name, n.Leads)
		}
	}
}

// TestNodesThatComeGetTheirPart has 64 groups on five nodes in three zones, to which
// a sixth comes.
func TestNodesThatComeGetTheirPart(t *testing.T) {
	in := nodes("a", "a", "b", "b", "c", "c")
	var groups []Group
	for i := range uint64(64) {
		got, _ := Choose(count(groups, in[:5]), lan, Wish{Replicas: 3, Seed: i})
		groups = append(groups, Group{ID: i + 1, Members: got, Leader: got[0]})
	}
	groups = take(groups, Rebalance(groups, count(groups, in), lan, 1000))
	in = count(groups, in)
	for _, n := range in {
		if n.Load != 32 || n.Leads < 8 || n.Leads > 13 {
			t.Errorf("%s holds %d members and leads %d of 64", n.Name, n.Load, n.Leads)
		}
	}
	for _, g := range groups {
		if zonesOf(g, in) != 3 {
			t.Errorf("group %d is in %d zones", g.ID, zonesOf(g, in))
		}
	}
}

func TestLimit(t *testing.T) {
	in := with(nodes("", "", "", ""), 1, dead)
	groups := []Group{{ID: 1, Members: []uint64{1, 2, 3}}, {ID: 2, Members: []uint64{1, 2, 3}}}
	for limit := -1; limit < 4; limit++ {
		if got := Rebalance(groups, in, lan, limit); len(got) != min(2, max(0, limit)) {
			t.Errorf("limit %d: %+v", limit, got)
		}
	}
}

// anyGroups draws groups of the nodes, and of nodes that are not known.
func anyGroups(t *rapid.T) (out []Group) {
	for i := range rapid.IntRange(0, 12).Draw(t, "groups") {
		g := Group{ID: uint64(i*2 + 1), Wish: anyWish(t), Members: anyIDs(t, 5, "members"), Busy: rapid.IntRange(0, 5).Draw(t, "busy") == 0}
		if len(g.Members) > 0 && rapid.IntRange(0, 5).Draw(t, "led") > 0 {
			g.Leader = rapid.SampledFrom(g.Members).Draw(t, "leader")
		}
		out = append(out, g)
	}
	return out
}

// TestRebalanceKeepsItsPromises also takes the steps and asks again.
func TestRebalanceKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		in, d, groups := anyNodes(r), anyDistance(r), anyGroups(r)
		in = count(groups, in)
		steps := Rebalance(groups, in, d, 10_000)
		if len(steps) == 10_000 {
			r.Fatal("it does not come to an end")
		}
		again := Rebalance(rapid.Permutation(groups).Draw(r, "groups in order"), rapid.Permutation(in).Draw(r, "nodes in order"), d, 10_000)
		if !reflect.DeepEqual(again, steps) {
			r.Fatalf("%+v, and in another order %+v", steps, again)
		}
		limit := rapid.IntRange(0, 5).Draw(r, "limit")
		if some := Rebalance(groups, in, d, limit); !slices.Equal(some, steps[:min(limit, len(steps))]) {
			r.Fatalf("%+v, and of %d %+v", steps, limit, some)
		}
		lead := false
		for i, s := range steps {
			checkStep(r, groups, in, s)
			if lead && !s.Lead {
				r.Fatalf("step %d is of a member, after one of a lead: %+v", i, steps)
			}
			lead = s.Lead
			groups = take(groups, steps[i:i+1])
		}
		if more := Rebalance(groups, count(groups, in), d, 10_000); len(more) > 0 {
			r.Fatalf("after %+v there is more: %+v", steps, more)
		}
	})
}

// checkStep looks whether s may follow.
func checkStep(t *rapid.T, groups []Group, in []Node, s Step) {
	byID := map[uint64]Node{}
	for _, n := range in {
		byID[n.ID] = n
	}
	g := groups[slices.IndexFunc(groups, func(g Group) bool { return g.ID == s.Group })]
	to, from := byID[s.To], byID[s.From]
	switch {
	case g.Busy, s.Why == "", strings.Contains(s.Why, "%!"), !to.Alive, s.From == s.To, from.ID == 0:
		t.Fatalf("%+v for %+v on %+v", s, g, in)
	case s.Lead && (g.Leader != s.From || !slices.Contains(g.Members, s.From) || !slices.Contains(g.Members, s.To)):
		t.Fatalf("%+v: no lead to give for %+v", s, g)
	case !s.Lead && (!slices.Contains(g.Members, s.From) || slices.Contains(g.Members, s.To) || !g.Wish.permits(to.Zone)):
		t.Fatalf("%+v: no move for %+v", s, g)
	}
	after := take([]Group{g}, []Step{s})[0]
	if zonesOf(after, in) < zonesOf(g, in) || len(after.Members) != len(g.Members) {
		t.Fatalf("%+v: %+v is in %d zones, then in %d", s, g, zonesOf(g, in), zonesOf(after, in))
	}
	if !strings.Contains(s.Why, "dead") && !from.Alive {
		t.Fatalf("%+v: the node is dead", s)
	}
}

// TestBalanceIsReached has random groups on equal nodes: nothing is in the way of
// even loads.
func TestBalanceIsReached(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		in := nodes(make([]string, rapid.IntRange(3, 8).Draw(r, "nodes"))...)
		var groups []Group
		for i := range rapid.IntRange(1, 60).Draw(r, "groups") {
			m := rapid.Permutation([]uint64{1, 2, 3}).Draw(r, "members")
			groups = append(groups, Group{ID: uint64(i + 1), Members: m, Leader: m[0]})
		}
		groups = take(groups, Rebalance(groups, count(groups, in), lan, 10_000))
		loads := map[int]bool{}
		for _, n := range count(groups, in) {
			loads[n.Load] = true
		}
		low, high := slices.Min(slices.Collect(maps.Keys(loads))), slices.Max(slices.Collect(maps.Keys(loads)))
		if high-low > 1 {
			r.Fatalf("loads from %d to %d", low, high)
		}
	})
}

func BenchmarkChoose(b *testing.B) {
	for _, n := range []int{5, 50, 200} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			in := nodes(make([]string, n)...)
			for i := range b.N {
				Choose(in, lan, Wish{Replicas: 3, Seed: uint64(i)})
			}
		})
	}
}

func BenchmarkRebalance(b *testing.B) {
	in := nodes("a", "a", "b", "b", "c", "c")
	var groups []Group
	for i := range uint64(10_000) {
		groups = append(groups, Group{ID: i + 1, Members: []uint64{1, 3, 5}, Leader: 1})
	}
	in = count(groups, in)
	for b.Loop() {
		Rebalance(groups, in, lan, 100)
	}
}
