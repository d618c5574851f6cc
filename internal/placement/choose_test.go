package placement

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestChoose(t *testing.T) {
	abc := nodes("a", "a", "b", "b", "c")
	wan := rtts{{1, 2}: 1, {3, 4}: 1, {1, 3}: 10, {1, 4}: 10, {2, 3}: 10, {2, 4}: 10, {1, 5}: 80, {2, 5}: 80, {3, 5}: 90, {4, 5}: 90}
	flat := nodes("", "", "", "")
	tests := []struct {
		name  string
		nodes []Node
		d     Distance
		w     Wish
		want  []uint64
		why   []string
	}{
		{
			"zones before distance and load", with(with(with(abc, 5, loaded(100)), 2, loaded(1)), 4, loaded(1)), wan.distance,
			Wish{Replicas: 3, Near: 1}, []uint64{1, 3, 5},
			[]string{"is the node to be near to; holds fewest members (0)", "zone b has no member yet; nearest to n1: 10.0 ms; holds fewest members (0)", "zone c has no member yet"},
		},
		{
			"a second member where there are fewest", with(abc, 5, dead), lan,
			Wish{Replicas: 3, Keep: []uint64{1, 2, 3}}, []uint64{1, 2, 3}, nil,
		},
		{
			"the lost zone costs as few as can be", abc, lan,
			Wish{Replicas: 4, Keep: []uint64{1, 2, 3}}, []uint64{1, 2, 3, 5},
			[]string{"stays a member", "stays a member", "stays a member", "zone c has no member yet"},
		},
		{
			"zones are even", with(abc, 5, dead), lan,
			Wish{Replicas: 4, Keep: []uint64{1, 2, 3}}, []uint64{1, 2, 3, 4},
			[]string{"stays a member", "stays a member", "stays a member", "the only node left"},
		},
		{
			"zones are even, with one left in each", nodes("a", "a", "a", "b", "b"), lan,
			Wish{Replicas: 4, Keep: []uint64{1, 2, 4}}, []uint64{1, 2, 4, 5},
			[]string{"stays a member", "stays a member", "stays a member", "zone b has fewest members (1)"},
		},
		{
			"near the others", with(flat, 2, loaded(3)), rtts{{1, 2}: 3.1, {1, 3}: 40, {1, 4}: 41}.distance,
			Wish{Replicas: 2, Keep: []uint64{1}}, []uint64{1, 2},
			[]string{"stays a member", "nearest to the others: 3.1 ms on average"},
		},
		{
			"near the others, on average", flat, rtts{{1, 3}: 10, {2, 3}: 50, {1, 4}: 40, {2, 4}: 40}.distance,
			Wish{Replicas: 3, Keep: []uint64{1, 2}}, []uint64{1, 2, 3},
			[]string{"stays a member", "stays a member", "nearest to the others: 30.0 ms on average"},
		},
		{
			"a distance that only the other one knows", flat[:3], rtts{{2, 1}: 3.1}.distance,
			Wish{Replicas: 2, Near: 1, Avoid: []uint64{1}}, []uint64{2, 3}, []string{"nearest to n1: 3.1 ms", "the only node left"},
		},
		{
			"near a node", flat, rtts{{1, 2}: 3.1, {2, 3}: 40, {2, 4}: 90, {1, 4}: 1}.distance,
			Wish{Replicas: 2, Near: 2, Avoid: []uint64{2}}, []uint64{1, 3},
			[]string{"nearest to n2: 3.1 ms", "nearest to n2: 40.0 ms"},
		},
		{
			"near a node that is not listed", flat[:2], rtts{{1, 9}: 30, {2, 9}: 20}.distance,
			Wish{Replicas: 1, Near: 9}, []uint64{2}, []string{"nearest to 0000000000000009: 20.0 ms"},
		},
		{
			"noise does not beat load", with(flat[:3], 2, loaded(1)), rtts{{1, 2}: 0.1, {1, 3}: 1.9}.distance,
			Wish{Replicas: 2, Keep: []uint64{1}}, []uint64{1, 3},
			[]string{"stays a member", "holds fewest members (0)"},
		},
		{
			"a fifth is noise", with(flat[:3], 2, loaded(1)), rtts{{1, 2}: 100, {1, 3}: 120}.distance,
			Wish{Replicas: 2, Keep: []uint64{1}}, []uint64{1, 3}, nil,
		},
		{
			"more than a fifth is not", with(flat[:3], 2, loaded(1)), rtts{{1, 2}: 100, {1, 3}: 120.1}.distance,
			Wish{Replicas: 2, Keep: []uint64{1}}, []uint64{1, 2}, nil,
		},
		{
			"what is not known is far", with(flat[:3], 3, loaded(9)), rtts{{1, 3}: 300}.distance,
			Wish{Replicas: 2, Keep: []uint64{1}}, []uint64{1, 3},
			[]string{"stays a member", "nearest to the others: 300.0 ms on average"},
		},
		{
			"but not out of the question", with(flat[:3], 3, loaded(9)), rtts{{1, 3}: 490}.distance,
			Wish{Replicas: 2, Keep: []uint64{1}}, []uint64{1, 2}, []string{"stays a member", "holds fewest members (0)"},
		},
		{
			"nearer than what is far", flat[:3], rtts{{1, 3}: 800}.distance,
			Wish{Replicas: 2, Keep: []uint64{1}}, []uint64{1, 2}, []string{"stays a member", "nearest as far as is known"},
		},
		{
			"only wished zones", abc, lan, Wish{Replicas: 3, Zones: []string{"c", "x"}}, []uint64{5}, []string{"holds fewest members (0)"},
		},
		{
			"nobody to avoid, nobody dead", with(flat, 3, dead), lan,
			Wish{Replicas: 3, Keep: []uint64{4, 4}, Avoid: []uint64{1}}, []uint64{4, 2}, []string{"stays a member", "the only node left"},
		},
		{"members that are not known stay", flat[:1], lan, Wish{Replicas: 2, Keep: []uint64{9}}, []uint64{9, 1}, nil},
		{"more stay than are wanted", flat, lan, Wish{Replicas: 1, Keep: []uint64{3, 1}}, []uint64{3, 1}, nil},
		{"nobody", nil, lan, Wish{Replicas: 3}, nil, nil},
		{"none are wanted", flat, lan, Wish{}, nil, nil},
		{
			"close together, though a lonely node is idle", with(with(with(flat, 1, loaded(5)), 2, loaded(5)), 3, loaded(6)),
			rtts{{1, 2}: 1, {1, 3}: 1, {2, 3}: 1, {1, 4}: 90, {2, 4}: 90, {3, 4}: 90}.distance,
			Wish{Replicas: 3}, []uint64{1, 2, 3}, nil,
		},
		{
			"the nodes that hold least", with(with(nodes("", "", "", "", ""), 2, loaded(5)), 4, loaded(7)), lan,
			Wish{Replicas: 3}, []uint64{1, 3, 5}, nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, why := Choose(tt.nodes, tt.d, tt.w)
			if len(got) != len(why) || slices.Contains(why, "") {
				t.Errorf("%v because of %q", got, why)
			}
			if len(tt.w.Keep) == 0 && tt.w.Near == 0 {
				slices.Sort(got) // which is first, dice decide
			}
			if !slices.Equal(got, tt.want) || tt.why != nil && !slices.Equal(why, tt.why) {
				t.Errorf("%v because of %q; want %v because of %q", got, why, tt.want, tt.why)
			}
		})
	}
}

// TestNamelessZones has reasons for nodes without a zone or a name.
func TestNamelessZones(t *testing.T) {
	in := with(nodes("a", "a", ""), 3, func(n *Node) { n.Name = "" })
	if _, why := Choose(in, none, Wish{Replicas: 2, Keep: []uint64{1}}); why[1] != "the zone without a name has no member yet" {
		t.Errorf("%q", why)
	}
	steps := Rebalance([]Group{{ID: 1, Members: []uint64{1, 2}}}, in, none, 9)
	if len(steps) != 1 || steps[0].To != 3 || steps[0].Why != "zone a has 2 members, the zone without a name has 0" {
		t.Errorf("%+v", steps)
	}
}

// TestManyGroupsSpread has 64 groups of three on five nodes.
func TestManyGroupsSpread(t *testing.T) {
	for _, tt := range []struct {
		name  string
		zones []string
		want  []int // members on each node: at least
	}{
		{"in one zone", []string{"", "", "", "", ""}, []int{38, 38, 38, 38, 38}},
		{"in three zones", []string{"a", "a", "b", "b", "c"}, []int{32, 32, 32, 32, 64}},
		{"in zones of their own", []string{"a", "b", "c", "d", "e"}, []int{38, 38, 38, 38, 38}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := nodes(tt.zones...)
			zones := map[string]bool{}
			for _, z := range tt.zones {
				zones[z] = true
			}
			for g := range 64 {
				got, _ := Choose(in, lan, Wish{Replicas: 3, Seed: uint64(g)})
				seen := map[string]bool{}
				for _, id := range got {
					in[id-1].Load++
					seen[in[id-1].Zone] = true
				}
				if len(got) != 3 || len(seen) != min(3, len(zones)) {
					t.Fatalf("group %d is on %v, in %d zones", g, got, len(seen))
				}
			}
			for i, n := range in {
				if n.Load < tt.want[i] || n.Load > tt.want[i]+1 {
					t.Errorf("%s holds %d members; want %d or one more", n.Name, n.Load, tt.want[i])
				}
			}
		})
	}
}

// TestGroupsMadeAtOnceSpread has placements that do not know of each other.
func TestGroupsMadeAtOnceSpread(t *testing.T) {
	in := nodes("", "", "", "", "")
	held := map[uint64]int{}
	for g := range 1000 {
		got, _ := Choose(in, lan, Wish{Replicas: 3, Seed: uint64(g)})
		for _, id := range got {
			held[id]++
		}
	}
	for _, n := range in {
		if held[n.ID] < 500 || held[n.ID] > 700 {
			t.Errorf("%s holds %d of 3000; want about 600", n.Name, held[n.ID])
		}
	}
}

// anyNodes draws up to nine nodes with gaps in their ids.
func anyNodes(t *rapid.T) (out []Node) {
	id := uint64(0)
	for range rapid.IntRange(0, 9).Draw(t, "nodes") {
		id += uint64(rapid.IntRange(1, 2).Draw(t, "gap"))
		out = append(out, Node{
			ID: id, Name: fmt.Sprint("n", id), Zone: rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "zone"),
			Alive: rapid.IntRange(0, 4).Draw(t, "alive") > 0, Load: rapid.IntRange(0, 5).Draw(t, "load"),
		})
	}
	return out
}

// anyDistance draws distances, some of which are not known.
func anyDistance(t *rapid.T) Distance {
	seed := rapid.Uint64().Draw(t, "distances")
	known := rapid.Uint64Range(0, 10).Draw(t, "known")
	scale := rapid.SampledFrom([]uint64{1, 10, 100}).Draw(t, "scale")
	return func(a, b uint64) (time.Duration, bool) {
		x := mix(seed ^ min(a, b)<<32 ^ max(a, b))
		return time.Duration(x % (scale * uint64(time.Millisecond))), known > 3 || x>>40%10 < known
	}
}

func anyIDs(t *rapid.T, most int, label string) []uint64 {
	return rapid.SliceOfNDistinct(rapid.Uint64Range(1, 18), 0, most, rapid.ID[uint64]).Draw(t, label)
}

func anyWish(t *rapid.T) Wish {
	return Wish{
		Replicas: rapid.IntRange(0, 7).Draw(t, "replicas"),
		Zones:    rapid.SampledFrom([][]string{nil, nil, {"a"}, {"a", "b"}, {"b", "c", ""}}).Draw(t, "zones"),
		Near:     rapid.SampledFrom([]uint64{0, 0, 1, 2, 3, 99}).Draw(t, "near"),
	}
}

func TestChooseKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		in, d, w := anyNodes(r), anyDistance(r), anyWish(r)
		w.Keep, w.Avoid, w.Seed = anyIDs(r, 4, "keep"), anyIDs(r, 4, "avoid"), rapid.Uint64Range(0, 3).Draw(r, "seed")
		got, why := Choose(in, d, w)
		if len(got) != len(why) || slices.Contains(why, "") || !slices.Equal(got[:len(w.Keep)], w.Keep) {
			r.Fatalf("%v because of %q", got, why)
		}
		again, whyAgain := Choose(rapid.Permutation(in).Draw(r, "order"), d, w)
		if !slices.Equal(again, got) || !slices.Equal(why, whyAgain) {
			r.Fatalf("%v because of %q, and in another order %v because of %q", got, why, again, whyAgain)
		}
		held := map[string]int{}
		free := map[string]int{}
		for _, n := range in {
			switch i := slices.Index(got, n.ID); {
			case i >= 0:
				held[n.Zone]++
				if i >= len(w.Keep) && (!n.Alive || !w.permits(n.Zone) || slices.Contains(w.Avoid, n.ID)) {
					r.Fatalf("%v: %d may not be chosen", got, n.ID)
				}
			case n.Alive && w.permits(n.Zone) && !slices.Contains(w.Avoid, n.ID):
				free[n.Zone]++
			}
		}
		sorted := slices.Sorted(slices.Values(got))
		if len(slices.Compact(sorted)) != len(got) {
			r.Fatalf("%v: a node twice", got)
		}
		if len(got) > max(w.Replicas, len(w.Keep)) || len(got) < w.Replicas && len(free) > 0 {
			r.Fatalf("%v of %d; free are %v", got, w.Replicas, free)
		}
		for _, id := range got[len(w.Keep):] {
			for z := range free {
				if zone := in[slices.IndexFunc(in, func(n Node) bool { return n.ID == id })].Zone; held[zone] > held[z]+1 {
					r.Fatalf("%v: %d is in zone %q, which has %d, though %q has %d", got, id, zone, held[zone], z, held[z])
				}
			}
		}
	})
}
