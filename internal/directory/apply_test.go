package directory

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// TestRefusals has every command and every code. It is asked in a busy world, in which
// a refusal may change nothing.
func TestRefusals(t *testing.T) {
	long := strings.Repeat("x", MaxText+1)
	many := make([]synod.NodeID, 10)
	zones := make([]string, MaxZones+1)
	for i := range many {
		many[i] = synod.NodeID(10 + i)
	}
	for i := range zones {
		zones[i] = fmt.Sprint(i)
	}
	create := func(f func(c *Create)) *Create {
		c := &Create{Name: "new", Replicas: 3, Members: members(1, 2, 3)}
		f(c)
		return c
	}
	begin := func(p Plan) *Begin { return &Begin{ID: 5, Config: 1, Plan: p} }
	tests := []struct {
		name   string
		c      Command
		code   Code
		detail string
		group  paxos.GroupID // of the result
	}{
		{"no name", create(func(c *Create) { c.Name = "" }), Invalid, "1 to 64 bytes; this one has 0", 0},
		{"a long name", create(func(c *Create) { c.Name = strings.Repeat("x", 65) }), Invalid, "1 to 64 bytes; this one has 65", 0},
		{"a capital", create(func(c *Create) { c.Name = "nEw" }), Invalid, `made of a-z, 0-9, '.', '_' and '-'; "nEw" has 'E'`, 0},
		{"a slash", create(func(c *Create) { c.Name = "a/b" }), Invalid, `"a/b" has '/'`, 0},
		{"a letter of another alphabet", create(func(c *Create) { c.Name = "né" }), Invalid, `has 'é'`, 0},
		{"a dot first", create(func(c *Create) { c.Name = ".." }), Invalid, `".." begins with '.'`, 0},
		{"main again", create(func(c *Create) { c.Name = "main" }), Exists, "there is a group main", paxos.Main},
		{"a name that is taken", create(func(c *Create) { c.Name = "three" }), Exists, "there is a group three", 3},
		{"a name that is taken, and no members", create(func(c *Create) { c.Name, c.Members = "three", nil }), Exists, "there is a group three", 3},
		{"no replicas", create(func(c *Create) { c.Replicas = 0 }), Invalid, "1 to 9 replicas, not 0", 0},
		{"ten replicas", create(func(c *Create) { c.Replicas = 10 }), Invalid, "1 to 9 replicas, not 10", 0},
		{"no members", create(func(c *Create) { c.Members = nil }), Invalid, "1 to 3 members are possible; these are 0", 0},
		{"more members than replicas", create(func(c *Create) { c.Members = members(1, 2, 3, 4) }), Invalid, "1 to 3 members are possible; these are 4", 0},
		{"a member twice", create(func(c *Create) { c.Members = members(1, 2, 1) }), Invalid, "node 0000000000000001 is a member twice", 0},
		{"a member without node", create(func(c *Create) { c.Members = members(0) }), Invalid, "a member has no node", 0},
		{"a member with a long name", create(func(c *Create) { c.Members[1].Name = long }), Invalid, "name of a node: 513 bytes", 0},
		{"a member with a long address", create(func(c *Create) { c.Members[1].PeerAddr = long }), Invalid, "address of a node: 513 bytes", 0},
		{"a member that was removed", create(func(c *Create) { c.Members = members(1, 8) }), NodeRemoved, "node 0000000000000008 (n8) was removed", 0},
		{"too many zones", create(func(c *Create) { c.Zones = zones }), Invalid, "at most 16 zones; these are 17", 0},
		{"a zone twice", create(func(c *Create) { c.Zones = []string{"a", "b", "a"} }), Invalid, "zone a is there twice", 0},
		{"a zone without name", create(func(c *Create) { c.Zones = []string{""} }), Invalid, "a zone has no name", 0},
		{"a long zone", create(func(c *Create) { c.Zones = []string{long} }), Invalid, "zone: 513 bytes", 0},
		{"a long neighbour", create(func(c *Create) { c.Near = long }), Invalid, "near: 513 bytes", 0},
		{"a long request", create(func(c *Create) { c.Request = long }), Invalid, "request: 513 bytes", 0},
		{"another group's request", create(func(c *Create) { c.Request = "r3" }), Invalid, "the request made group three before", 3},
		{"a deleted group's request", create(func(c *Create) { c.Request = "make gone" }), Unknown, "2, was deleted since", 0},

		{"delete nothing", &Delete{ID: 99}, Unknown, "no group with id 99", 0},
		{"delete again", &Delete{ID: 2}, Unknown, "no group with id 2", 0},
		{"delete main", &Delete{ID: paxos.Main}, IsMain, "cannot be deleted", paxos.Main},
		{"delete at a long request", &Delete{ID: 3, Request: long}, Invalid, "request: 513 bytes", 0},

		{"resize nothing", &Resize{ID: 99, Replicas: 3}, Unknown, "99", 0},
		{"resize to none", &Resize{ID: 3}, Invalid, "not 0", 3},
		{"resize to ten", &Resize{ID: 3, Replicas: 10}, Invalid, "not 10", 3},
		{"resize to the same", &Resize{ID: 3, Replicas: 5}, Unneeded, "that size already", 3},

		{"begin in nothing", &Begin{ID: 99, Config: 1, Plan: Plan{Remove: 1}}, Unknown, "99", 0},
		{"begin twice", &Begin{ID: 3, Config: 2, Plan: Plan{Remove: 2}}, Busy, "change 1 of group three is under way: n1 is dead", 3},
		{"begin late", &Begin{ID: 5, Config: 0, Plan: Plan{Add: member(1)}}, Stale, "configuration 1; the change is meant for 0", 5},
		{"begin early", &Begin{ID: 5, Config: 2, Plan: Plan{Add: member(1)}}, Stale, "meant for 2", 5},
		{"begin nothing", begin(Plan{Why: "why"}), Invalid, "adds a member, or removes one", 5},
		{"begin with a number", begin(Plan{ID: 9, Add: member(1)}), Invalid, "gets its number", 5},
		{"add a member", begin(Plan{Add: member(5)}), Invalid, "(n5) is a member already", 5},
		{"add a name without node", begin(Plan{Add: paxos.Member{Name: "n1"}}), Invalid, "a member has no node", 5},
		{"add a removed node", begin(Plan{Add: member(7), Remove: 5}), NodeRemoved, "(n7) was removed", 5},
		{"remove another", begin(Plan{Remove: 1}), Invalid, "node 0000000000000001 is no member", 5},
		{"remove another and add", begin(Plan{Add: member(1), Remove: 1}), Invalid, "is no member", 5},
		{"replace a member by itself", begin(Plan{Add: member(5), Remove: 5}), Invalid, "is a member already", 5},
		{"remove the last", begin(Plan{Remove: 5}), Invalid, "the last member cannot go", 5},
		{"a long why", begin(Plan{Add: member(1), Why: long}), Invalid, "why: 513 bytes", 5},
		{"add a long name", begin(Plan{Add: paxos.Member{Node: 1, Name: long}}), Invalid, "name of a node", 5},

		{"cancel in nothing", &Cancel{ID: 99, Plan: 1}, Unknown, "99", 0},
		{"cancel another", &Cancel{ID: 3, Plan: 2}, Stale, "change 2 of group three is not under way", 3},
		{"cancel none", &Cancel{ID: 5}, Stale, "change 0", 5},

		{"report nothing", &Report{ID: 99, Config: 9, Members: voters(1)}, Unknown, "99", 0},
		{"report a deleted group", &Report{ID: 2, Config: 9, Members: voters(1)}, Unknown, "2", 0},
		{"report late", &Report{ID: 3, Config: 1, Members: voters(1)}, Stale, "has reported configuration 2; this is 1", 3},
		{"report again", &Report{ID: 3, Config: 2, Members: voters(1)}, Unneeded, "configuration 2 already", 3},
		{"report nobody", &Report{ID: 3, Config: 3}, Invalid, "these are 0", 3},
		{"report too many", &Report{ID: 3, Config: 3, Members: voters(append(many, 1)...)}, Invalid, "these are 11", 3},

		{"remove nobody", &Remove{Name: "n1"}, Invalid, "no node", 0},
		{"remove again", &Remove{Node: 8, Name: "n8"}, Unneeded, "node 0000000000000008 (n8) was removed already", 0},
		{"take its own places", &Remove{Node: 1, By: 1}, Invalid, "cannot take its own places", 0},
		{"removed takes places", &Remove{Node: 1, By: 8}, NodeRemoved, "(n8) was removed", 0},
		{"remove a long name", &Remove{Node: 1, Name: long}, Invalid, "name of a node", 0},
	}
	codes := map[Code]bool{}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := busy(t)
			before, data := w.m.View(), snapshot(t, w.m)
			r := w.do(tt.c)
			codes[r.Code] = true
			if r.Code != tt.code || !strings.Contains(r.Detail, tt.detail) || strings.Contains(r.Detail, "\n") {
				t.Errorf("%v, %q; want %v, %q", r.Code, r.Detail, tt.code, tt.detail)
			}
			if r.Version != before.Version {
				t.Errorf("version %d; want %d", r.Version, before.Version)
			}
			if tt.group == 0 && r.Group != nil || tt.group != 0 && !reflect.DeepEqual(r.Group, before.Group(tt.group)) {
				t.Errorf("group %+v; want that of id %d", r.Group, tt.group)
			}
			if w.m.View() != before || string(snapshot(t, w.m)) != string(data) {
				t.Error("what was refused has changed something")
			}
		})
	}
	for c := OK + 1; c < numCodes; c++ {
		if !codes[c] && c != Full && c != Unreadable {
			t.Errorf("nothing is refused as %v", c)
		}
	}
}

func TestCreateGivesTheFirstConfiguration(t *testing.T) {
	w := newWorld(t)
	c := &Create{Request: "r", Name: "g", Replicas: 3, Zones: []string{"b", "a"}, Near: "n2", Members: members(3, 1, 2)}
	c.Members[0].Ordinal = 9
	got := w.must(c).Group
	first := paxos.Membership{ID: 1, Voters: voters(1, 2, 3), Next: 4}
	want := &Group{ID: 2, Name: "g", Replicas: 3, Zones: []string{"b", "a"}, Near: "n2", First: first, Config: 1, Members: first.Voters, Request: "r"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v; want %+v", got, want)
	}
	if err := got.First.Check(); err != nil {
		t.Error(err)
	}
	v := w.m.View()
	if v.Named("g") != v.Group(2) || !reflect.DeepEqual(v.Group(2), want) || len(v.Groups()) != 2 || v.Groups()[0].Name != "g" {
		t.Errorf("the view has %+v", v.Groups())
	}
	if _, ok := got.Member(2); !ok {
		t.Error("node 2 is no member")
	}
	if _, ok := got.Member(4); ok {
		t.Error("node 4 is a member")
	}
}

func TestRequestsMakeAndDeleteOnce(t *testing.T) {
	w := newWorld(t)
	made := w.create("g", 1)
	w.must(&Resize{ID: 2, Replicas: 2})
	if r := w.do(&Create{Request: "make g", Name: "g", Replicas: 9, Members: members(4, 5)}); r.Code != OK || r.Group.ID != made.ID || r.Group.Replicas != 2 {
		t.Errorf("made again: %+v", r)
	}
	if r := w.do(&Create{Name: "g", Replicas: 1, Members: members(1)}); r.Code != Exists {
		t.Errorf("made again without a request: %v", r.Code)
	}
	gone := w.must(&Delete{Request: "del", ID: 2})
	if v := w.m.View(); !v.Deleted(2) || v.Group(2) != nil || v.Named("g") != nil || v.Deleted(3) || v.Deleted(paxos.Main) || v.Deleted(0) {
		t.Errorf("after the delete: %+v", v)
	}
	again := w.must(&Create{Request: "anew", Name: "g", Replicas: 1, Members: members(1)}).Group
	if again.ID != 3 {
		t.Errorf("the next group has id %d; want 3", again.ID)
	}
	w.m = restored(t, w.m)
	for _, id := range []paxos.GroupID{2, 3, 0} {
		if r := w.do(&Delete{Request: "del", ID: id}); !reflect.DeepEqual(r, gone) || w.m.View().Group(3) == nil {
			t.Errorf("deleted again, now id %d: %+v; want %+v", id, r, gone)
		}
	}
	for i := range MaxDeleted - 1 {
		w.must(&Delete{Request: fmt.Sprint(i), ID: w.create(fmt.Sprint("x", i), 1).ID})
	}
	if r := w.do(&Delete{Request: "del"}); !reflect.DeepEqual(r, gone) {
		t.Errorf("after %d more: %+v; want %+v", MaxDeleted-1, r, gone)
	}
	w.must(&Delete{ID: w.create("last", 1).ID})
	if r := w.do(&Delete{Request: "del"}); r.Code != Unknown {
		t.Errorf("after %d more: %+v; want it forgotten", MaxDeleted, r)
	}
	w.must(&Create{Request: "make g", Name: "g2", Replicas: 1, Members: members(1)}) // forgotten too
	w.must(&Delete{ID: 3})
	restored(t, w.m)
}

func TestMainIsThereAndReports(t *testing.T) {
	w := newWorld(t)
	v := w.m.View()
	if !reflect.DeepEqual(v.Group(paxos.Main), &Group{ID: paxos.Main, Name: "main"}) || v.Named("main") != v.Group(paxos.Main) || v.Version != 0 {
		t.Fatalf("at the start: %+v", v)
	}
	if r := w.do(&Report{ID: paxos.Main, Config: 0, Members: voters(1)}); r.Code != Unneeded {
		t.Errorf("no configuration: %v", r.Code)
	}
	if r := w.do(&Begin{ID: paxos.Main, Config: 0, Plan: Plan{Add: member(3)}}); r.Code != Stale {
		t.Errorf("a plan before the first report: %v", r.Code)
	}
	w.must(&Report{ID: paxos.Main, Config: 7, Members: voters(1, 2)})
	w.must(&Resize{ID: paxos.Main, Replicas: 3})
	r := w.must(&Begin{ID: paxos.Main, Config: 7, Plan: Plan{Add: member(3)}})
	if g := w.m.View().Group(paxos.Main); g.Config != 7 || len(g.Members) != 2 || g.Replicas != 3 || !reflect.DeepEqual(g, r.Group) {
		t.Errorf("%+v", g)
	}
}

// TestPlansEndWhenCarriedOut has the reports that end a plan, and those that do not.
func TestPlansEndWhenCarriedOut(t *testing.T) {
	add, remove := Plan{Add: member(4)}, Plan{Remove: 1}
	both := Plan{Add: member(4), Remove: 1}
	tests := []struct {
		name  string
		plan  Plan
		nodes []synod.NodeID
		ends  bool
	}{
		{"added", add, []synod.NodeID{1, 2, 3, 4}, true},
		{"another added", add, []synod.NodeID{1, 2, 3, 5}, false},
		{"removed", remove, []synod.NodeID{2, 3}, true},
		{"another removed", remove, []synod.NodeID{1, 2}, false},
		{"half of both", both, []synod.NodeID{1, 2, 3, 4}, false},
		{"the other half", both, []synod.NodeID{2, 3}, false},
		{"both", both, []synod.NodeID{2, 3, 4}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.create("g", 1, 2, 3)
			g := w.must(&Begin{ID: 2, Config: 1, Plan: tt.plan}).Group
			if g.Plan.ID != 1 || len(w.m.View().Plans()) != 1 {
				t.Fatalf("plan %+v", g.Plan)
			}
			g = w.must(&Report{ID: 2, Config: 2, Members: voters(tt.nodes...)}).Group
			if ended := g.Plan == (Plan{}); ended != tt.ends || len(g.Members) != len(tt.nodes) || g.Config != 2 {
				t.Errorf("plan %+v, members %v in %d", g.Plan, g.Members, g.Config)
			}
		})
	}
}

func TestPlansHaveNumbersForAllTime(t *testing.T) {
	w := newWorld(t)
	w.create("a", 1, 2, 3)
	w.create("b", 1, 2, 3)
	with := member(4)
	with.Ordinal = 7
	if g := w.must(&Begin{ID: 2, Config: 1, Plan: Plan{Add: with}}).Group; g.Plan.ID != 1 || g.Plan.Add != member(4) {
		t.Errorf("%+v", g.Plan)
	}
	w.must(&Cancel{ID: 2, Plan: 1})
	w.m = restored(t, w.m)
	for i, id := range []paxos.GroupID{2, 3} {
		if g := w.must(&Begin{ID: id, Config: 1, Plan: Plan{Remove: 1}}).Group; g.Plan.ID != uint64(i+2) {
			t.Errorf("%+v", g.Plan)
		}
	}
	if r := w.do(&Cancel{ID: 2, Plan: 1}); r.Code != Stale {
		t.Errorf("an old plan's end: %v", r.Code)
	}
}

// TestSizeOfAPlan has a group of MaxReplicas: a member can be replaced, not added.
func TestSizeOfAPlan(t *testing.T) {
	w := newWorld(t)
	w.create("g", 1, 2, 3, 4, 5, 6, 7, 8, 9)
	if r := w.do(&Begin{ID: 2, Config: 1, Plan: Plan{Add: member(10)}}); r.Code != Invalid || !strings.Contains(r.Detail, "as many as there may be") {
		t.Errorf("%+v", r)
	}
	w.must(&Begin{ID: 2, Config: 1, Plan: Plan{Add: member(10), Remove: 1}})
	w.must(&Report{ID: 2, Config: 2, Members: voters(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)})
	if g := w.must(&Report{ID: 2, Config: 3, Members: voters(2, 3, 4, 5, 6, 7, 8, 9, 10)}).Group; g.Plan.ID != 0 {
		t.Errorf("%+v", g)
	}
}

func TestRemovedNodesAreRememberedForEver(t *testing.T) {
	w := newWorld(t)
	w.create("g", 1, 2, 3)
	w.create("h", 1, 2, 3)
	w.must(&Begin{ID: 2, Config: 1, Plan: Plan{Add: member(4), Remove: 1}})
	w.must(&Begin{ID: 3, Config: 1, Plan: Plan{Add: member(5), Remove: 1}})
	w.must(&Remove{Node: 4, Name: "n4", By: 5})
	v := w.m.View()
	if v.Group(2).Plan != (Plan{}) || v.Named("g") != v.Group(2) || v.Group(3).Plan.ID == 0 {
		t.Errorf("plans %+v and %+v; want the one that adds the node gone", v.Group(2).Plan, v.Group(3).Plan)
	}
	if r, ok := v.RemovedNode(4); !ok || r != (Removed{Node: 4, Name: "n4", By: 5}) {
		t.Errorf("%+v, %v", r, ok)
	}
	if _, ok := v.RemovedNode(5); ok {
		t.Error("node 5 is removed")
	}
	for i := range MaxRemoved {
		w.must(&Remove{Node: synod.NodeID(10_000 - i), Name: fmt.Sprint(i)})
	}
	w.m = restored(t, w.m)
	after := w.m.View()
	if r, ok := after.RemovedNode(4); !ok || r != (Removed{Node: 4}) {
		t.Errorf("%+v, %v; want the id alone", r, ok)
	}
	if list := after.Removed(); len(list) != MaxRemoved || list[0].Name != "0" || list[MaxRemoved-1].Node != 10_000-MaxRemoved+1 {
		t.Errorf("%d are listed, %+v is the first", len(list), list[0])
	}
	if r := w.do(&Create{Name: "new", Replicas: 1, Members: members(4)}); r.Code != NodeRemoved || !strings.Contains(r.Detail, "node 0000000000000004 was removed") {
		t.Errorf("%+v", r)
	}
	if len(v.Removed()) != 1 || len(v.gone) != 1 {
		t.Error("a view has changed")
	}
}

func TestFull(t *testing.T) {
	w := newWorld(t)
	v := w.m.own()
	for len(v.byID) < MaxGroups {
		v.put(&Group{ID: v.next, Name: fmt.Sprint(v.next), Replicas: 1, Config: 1, Members: voters(1), First: paxos.Membership{ID: 1, Voters: voters(1), Next: 2}})
		v.next++
	}
	for len(v.gone) < MaxGone {
		v.gone = append(v.gone, synod.NodeID(10+len(v.gone)))
	}
	for i := range MaxRemoved {
		v.removed = append(v.removed, Removed{Node: v.gone[i]})
	}
	w.m = restored(t, w.m)
	if r := w.do(&Create{Name: "new", Replicas: 1, Members: members(1)}); r.Code != Full || !strings.Contains(r.Detail, "10000 groups") {
		t.Errorf("%+v", r)
	}
	if r := w.do(&Remove{Node: 1}); r.Code != Full || !strings.Contains(r.Detail, "100000 nodes") {
		t.Errorf("%+v", r)
	}
	w.must(&Delete{ID: 2})
	w.create("new", 1)
}

func TestCodesHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for c := range Code(numCodes) {
		if s := c.String(); s == "" || seen[s] {
			t.Errorf("code %d is %q", c, s)
		}
		seen[c.String()] = true
	}
	if s := Code(numCodes).String(); s != "code 11" {
		t.Errorf("an unknown code is %q", s)
	}
}

// A change and the size that goes with it are decided together: between the two a leader
// would take out again what was added.
func TestAChangeMayWantMoreThanBefore(t *testing.T) {
	w := newWorld(t)
	w.must(&Create{Name: "g", Replicas: 3, Members: members(1, 2, 3)})
	if g := w.must(&Begin{ID: 2, Config: 1, Plan: Plan{Add: member(4)}, Replicas: 4}).Group; g.Replicas != 4 || g.Plan.Add.Node != 4 {
		t.Errorf("%+v", g)
	}
	w.must(&Create{Name: "h", Replicas: 5, Members: members(1, 2, 3, 4, 5)})
	if g := w.must(&Begin{ID: 3, Config: 1, Plan: Plan{Remove: 5}, Replicas: 4}).Group; g.Replicas != 5 {
		t.Errorf("a change makes a group want %d", g.Replicas)
	}
	w.must(&Create{Name: "i", Replicas: 1, Members: members(1)})
	if r := w.do(&Begin{ID: 4, Config: 1, Plan: Plan{Add: member(2)}, Replicas: MaxReplicas + 1}); r.Code != Invalid {
		t.Errorf("%+v", r)
	}
}
