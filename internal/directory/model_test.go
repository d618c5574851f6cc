package directory

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
	"pgregory.net/rapid"
)

// A model is what a directory promises, told without its state: it watches commands
// and answers.
type model struct {
	ids    map[paxos.GroupID]string // ever given, and to what name
	plans  map[uint64]bool          // numbers ever given
	active map[paxos.GroupID]uint64 // the plan that has begun and not ended
	config map[paxos.GroupID]paxos.ConfigID
	alive  map[string]paxos.GroupID
	made   map[string]paxos.GroupID // by request
	gone   map[synod.NodeID]bool
}

func newModel() *model {
	return &model{
		ids: map[paxos.GroupID]string{paxos.Main: "main"}, plans: map[uint64]bool{}, active: map[paxos.GroupID]uint64{},
		config: map[paxos.GroupID]paxos.ConfigID{}, alive: map[string]paxos.GroupID{"main": paxos.Main},
		made: map[string]paxos.GroupID{}, gone: map[synod.NodeID]bool{},
	}
}

// check compares what was answered, and what is there now, with what was promised.
func (m *model) check(t *rapid.T, c Command, r Result, v *View) {
	if r.Code == OK {
		switch c := c.(type) {
		case *Create:
			m.created(t, c, r.Group)
		case *Delete:
			for name, id := range m.alive {
				if v.Group(id) == nil && id == c.ID {
					delete(m.alive, name)
					delete(m.active, id)
				}
			}
		case *Begin:
			p := r.Group.Plan.ID
			if m.active[c.ID] != 0 || m.plans[p] || c.Config == 0 || c.Config != m.config[c.ID] || m.gone[c.Plan.Add.Node] {
				t.Fatalf("%+v wins; plan %d is under way, configuration is %d", c, m.active[c.ID], m.config[c.ID])
			}
			m.plans[p], m.active[c.ID] = true, p
		case *Cancel:
			if m.active[c.ID] != c.Plan {
				t.Fatalf("%+v; plan %d is under way", c, m.active[c.ID])
			}
			delete(m.active, c.ID)
		case *Report:
			if c.Config <= m.config[c.ID] {
				t.Fatalf("%+v follows configuration %d", c, m.config[c.ID])
			}
			m.config[c.ID] = c.Config
			if r.Group.Plan.ID == 0 {
				delete(m.active, c.ID)
			}
		case *Remove:
			m.gone[c.Node] = true
			for _, g := range v.Groups() {
				if g.Plan.ID == 0 {
					delete(m.active, g.ID)
				}
			}
		}
	}
	m.compare(t, v)
}

func (m *model) created(t *rapid.T, c *Create, g *Group) {
	if id, ok := m.made[c.Request]; ok && c.Request != "" {
		if g.ID != id {
			t.Fatalf("request %q made %d and now %d", c.Request, id, g.ID)
		}
		return
	}
	if _, ok := m.ids[g.ID]; ok || m.alive[c.Name] != 0 {
		t.Fatalf("%+v gets id %d, which %q had", c, g.ID, m.ids[g.ID])
	}
	for _, n := range c.Members {
		if m.gone[n.Node] {
			t.Fatalf("%+v names a removed node", c)
		}
	}
	m.ids[g.ID], m.alive[c.Name], m.made[c.Request] = c.Name, g.ID, g.ID
	m.config[g.ID] = 1
}

// compare looks at all of v.
func (m *model) compare(t *rapid.T, v *View) {
	if len(v.Groups()) != len(m.alive) {
		t.Fatalf("%d groups; want %d", len(v.Groups()), len(m.alive))
	}
	last := ""
	for _, g := range v.Groups() {
		if g.Name <= last || m.alive[g.Name] != g.ID || v.Group(g.ID) != g || v.Named(g.Name) != g || v.Deleted(g.ID) {
			t.Fatalf("group %d %q after %q; want id %d", g.ID, g.Name, last, m.alive[g.Name])
		}
		if g.Plan.ID != m.active[g.ID] || g.Config != m.config[g.ID] {
			t.Fatalf("group %d has plan %d in configuration %d; want %d in %d", g.ID, g.Plan.ID, g.Config, m.active[g.ID], m.config[g.ID])
		}
		last = g.Name
	}
	for id, name := range m.ids {
		if v.Deleted(id) == (m.alive[name] == id) {
			t.Fatalf("group %d %q is deleted: %v", id, name, v.Deleted(id))
		}
	}
	for n := range synod.NodeID(8) {
		if _, ok := v.RemovedNode(n); ok != m.gone[n] {
			t.Fatalf("node %d is removed: %v", n, ok)
		}
	}
	if len(v.Plans()) != len(m.active) {
		t.Fatalf("%d plans; want %d", len(v.Plans()), len(m.active))
	}
}

// anyMembers draws some of few nodes, now and then a wrong one.
func anyMembers(t *rapid.T) []paxos.Member {
	return voters(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) synod.NodeID {
		return synod.NodeID(max(0, rapid.IntRange(-1, 7).Draw(t, "node")))
	}), 0, 4).Draw(t, "nodes")...)
}

// anyCommand draws a command that may well do something.
func anyCommand(t *rapid.T, v *View) Command {
	id := paxos.GroupID(rapid.IntRange(0, int(v.next)).Draw(t, "id"))
	var config paxos.ConfigID
	var plan uint64
	if g := v.Group(id); g != nil {
		config, plan = g.Config, g.Plan.ID
	}
	some := func(name string) uint64 { return uint64(rapid.IntRange(0, 2).Draw(t, name)) }
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 0, 1:
		return &Create{
			Request: rapid.SampledFrom([]string{"", "r1", "r2", "r3", "r4"}).Draw(t, "request"), Name: fmt.Sprint("g", some("name")),
			Replicas: int(some("replicas")) + 2, Members: anyMembers(t),
		}
	case 2:
		return &Delete{Request: rapid.SampledFrom([]string{"", "", "d1", "d2"}).Draw(t, "request"), ID: id}
	case 3:
		return &Resize{ID: id, Replicas: int(some("replicas"))}
	case 4, 5, 6:
		p := Plan{Remove: synod.NodeID(rapid.IntRange(0, 7).Draw(t, "remove"))}
		if n := rapid.IntRange(0, 7).Draw(t, "add"); n > 0 {
			p.Add = member(synod.NodeID(n))
		}
		return &Begin{ID: id, Config: config + paxos.ConfigID(some("late")/2), Plan: p}
	case 7:
		return &Cancel{ID: id, Plan: plan + some("other")/2}
	case 8:
		return &Report{ID: id, Config: config + paxos.ConfigID(some("later")), Members: anyMembers(t)}
	}
	return &Remove{Node: synod.NodeID(rapid.IntRange(0, 7).Draw(t, "node")), By: synod.NodeID(some("by"))}
}

// TestDirectoryKeepsItsPromises applies random commands on two machines, of which one
// is replaced by its snapshot now and then.
func TestDirectoryKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w, twin, m := newWorld(t), newWorld(t), newModel()
		for range rapid.IntRange(1, 60).Draw(r, "commands") {
			before := w.m.View()
			c := anyCommand(r, before)
			got := w.do(c)
			if again := twin.do(c); !bytes.Equal(again.encode(), got.encode()) {
				r.Fatalf("%+v: %+v on one node, %+v on the other", c, got, again)
			}
			v := w.m.View()
			if (v != before) != (v.Version == before.Version+1) || (v == before) != (v.Version == before.Version) {
				r.Fatalf("version %d after %d", v.Version, before.Version)
			}
			if got.Code != OK && v != before {
				r.Fatalf("%+v: %v, and something has changed", c, got.Code)
			}
			m.check(r, c, got, v)
			if rapid.IntRange(0, 4).Draw(r, "restart") == 0 {
				twin.m = restored(t, twin.m)
			}
		}
		if w.m.Hash() != twin.m.Hash() || !bytes.Equal(snapshot(t, w.m), snapshot(t, twin.m)) {
			r.Fatal("the states differ")
		}
	})
}

// TestOfTwoChangesOneWins has pairs of plans for the same configuration.
func TestOfTwoChangesOneWins(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := newWorld(t)
		w.create("g", 1, 2, 3)
		plan := rapid.SampledFrom([]Plan{{Add: member(4)}, {Remove: 1}, {Add: member(5), Remove: 2}})
		wins := 0
		for range 2 {
			if w.do(&Begin{ID: 2, Config: 1, Plan: plan.Draw(r, "plan")}).Code == OK {
				wins++
			}
			switch rapid.IntRange(0, 3).Draw(r, "then") {
			case 0:
				w.m = restored(t, w.m)
			case 1:
				w.do(&Report{ID: 2, Config: 2, Members: anyMembers(r)})
			case 2:
				w.do(&Resize{ID: 2, Replicas: 5})
			}
		}
		if wins > 1 {
			r.Fatal("both win")
		}
	})
}

func BenchmarkCreate(b *testing.B) {
	m := New(locks.NewMachine())
	for i := range b.N {
		if i%(MaxGroups-1) == 0 {
			m = New(locks.NewMachine())
		}
		m.View() // somebody watches
		m.Apply(paxos.Slot(i+1), Encode(&Create{Name: fmt.Sprint("g", i), Replicas: 3, Members: members(1, 2, 3)}), 0)
	}
}
