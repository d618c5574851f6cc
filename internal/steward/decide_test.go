package steward

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/directory"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

const self = synod.NodeID(1)

func members(ids ...synod.NodeID) (out []paxos.Member) {
	for i, id := range ids {
		out = append(out, paxos.Member{Node: id, Ordinal: synod.Ordinal(i + 1), Name: "n" + id.String()[15:]})
	}
	return out
}

// pict is a picture of group 2 in configuration 3 with voters 1, 2 and 3, led by node
// 1, all of them and 4 and 5 alive and in reach, with nothing to do.
func pict() picture {
	p := picture{
		now: time.Unix(100_000, 0), since: time.Unix(100_000, 0), self: self, id: 2, here: true, current: true,
		group:    &directory.Group{ID: 2, Name: "g", Replicas: 3, Config: 3, Members: members(1, 2, 3), First: paxos.Membership{ID: 1, Voters: members(1, 2, 3), Next: 4}},
		up:       map[synod.NodeID]bool{1: true, 2: true, 3: true},
		gone:     func(synod.NodeID) (r directory.Removed, ok bool) { return r, false },
		alive:    func(synod.NodeID) bool { return true },
		dead:     func(synod.NodeID) bool { return false },
		replaces: func() bool { return true }, replaceFrom: 3,
		spare: func(w wish) (paxos.Member, string, bool) {
			return paxos.Member{Node: max(w.by, 4), Name: "spare"}, "it suits", true
		},
		worst: func() (synod.NodeID, string) { return 3, "it is worst" },
		stuck: func(string) time.Duration { return 0 },
	}
	p.st = replica.GroupStatus{Status: paxos.Status{
		Group: 2, Leading: true, Recovered: true, Decided: 50,
		Membership: paxos.Membership{ID: 3, Start: 40, Voters: members(1, 2, 3), Next: 9},
		Learners:   map[synod.NodeID]paxos.Slot{},
	}}
	return p
}

// voters makes the group, here and in the directory, consist of ids.
func (p *picture) voters(ids ...synod.NodeID) {
	p.st.Membership.Voters, p.group.Members = members(ids...), members(ids...)
}

func (p *picture) plan(add, remove synod.NodeID) {
	p.group.Plan = directory.Plan{ID: 7, Remove: remove}
	if add != 0 {
		p.group.Plan.Add = paxos.Member{Node: add, Name: "n" + add.String()[15:]}
	}
}

func (p *picture) removed(id, by synod.NodeID) {
	p.gone = func(n synod.NodeID) (directory.Removed, bool) { return directory.Removed{Node: id, By: by}, n == id }
}

func TestDecide(t *testing.T) {
	absent := func(p *picture) { p.here, p.st = false, replica.GroupStatus{} }
	follow := func(p *picture) { p.st.Leading, p.st.Recovered = false, false }
	out := func(p *picture) { // a node that was a member and has seen that it is no more
		follow(p)
		p.voters(2, 3, 4)
		p.since, p.st.Relieved = p.now.Add(-2*time.Second), true
	}
	caughtUp := func(p *picture, id synod.NodeID) { p.st.Learners[id] = 45 }
	for _, tt := range []struct {
		name string
		with func(*picture)
		want kind
		why  string // is in act.why or plan.Why
	}{
		{"nothing to do", func(*picture) {}, nothing, ""},
		{"no leader's business on a follower", func(p *picture) { follow(p); p.plan(4, 3); p.group.Replicas = 5 }, nothing, ""},

		{"a new group that names this node", func(p *picture) { absent(p); p.group.Config = 1 }, creates, ""},
		{"which must not begin it", func(p *picture) { absent(p); p.group.Config, p.refused = 1, true }, learns, ""},
		{"a group that has changed since", func(p *picture) { absent(p); p.group.Config = 2 }, learns, ""},
		{"a member without its part", func(p *picture) { absent(p); p.group.First.Voters = members(2, 3, 4) }, learns, ""},
		{"says an old directory of an absent one", func(p *picture) { absent(p); p.group.First.Voters, p.current = members(2, 3, 4), false }, nothing, ""},
		{"a group of others", func(p *picture) {
			absent(p)
			p.voters(2, 3, 4)
			p.here, p.group.Config, p.group.First.Voters = false, 1, members(2, 3, 4)
		}, nothing, ""},
		{"main is not made", func(p *picture) { absent(p); p.id, p.group.ID, p.group.Config = paxos.Main, paxos.Main, 1 }, nothing, ""},
		{"to be added", func(p *picture) { absent(p); p.voters(2, 3, 4); p.group.Config = 5; p.plan(1, 4); p.here = false }, learns, ""},
		{"to be added, for long in vain", func(p *picture) {
			absent(p)
			p.voters(2, 3, 4)
			p.here, p.since = false, p.now.Add(-time.Hour)
			p.plan(1, 4)
		}, givesUp, "cannot begin"},
		{"others are to be added", func(p *picture) { absent(p); p.voters(2, 3, 4); p.here = false; p.plan(5, 4) }, nothing, ""},
		{"nothing has arrived yet", func(p *picture) {
			follow(p)
			p.st.Membership = paxos.Membership{}
			p.group.Members = members(2, 3)
			p.plan(1, 0)
		}, learns, ""},

		{"deleted", func(p *picture) { p.group = nil }, drops, "deleted"},
		{"deleted, says an old directory", func(p *picture) { p.group, p.current = nil, false }, nothing, ""},
		{"deleted and not here", func(p *picture) { absent(p); p.group = nil }, nothing, ""},
		{"main is not dropped", func(p *picture) { p.group, p.id = nil, paxos.Main }, nothing, ""},
		{"a member no more", out, leaves, "member"},
		{"since a moment ago", func(p *picture) { out(p); p.since = p.now }, leaves, ""},
		{"and others may need it", func(p *picture) { out(p); p.st.Relieved = false }, waits, ""},
		{"and they have had time", func(p *picture) { out(p); p.st.Relieved, p.since = false, p.now.Add(-holdFor) }, leaves, ""},
		{"and to be one again", func(p *picture) { out(p); p.st.Removed = true; p.plan(1, 4) }, learns, ""},
		{"says an old directory", func(p *picture) { out(p); p.current = false }, nothing, ""},
		{"which the directory has yet to hear", func(p *picture) { out(p); p.group.Config = 2 }, nothing, ""},
		{"to be a member again", func(p *picture) { out(p); p.plan(1, 4) }, nothing, ""},
		{"of main", func(p *picture) { out(p); p.id, p.group.ID = paxos.Main, paxos.Main }, nothing, ""},
		{"a voter by what is known here, and not any more", func(p *picture) { out(p); p.st.Membership.Voters = members(1, 2, 3); p.st.Membership.ID = 2 }, learns, ""},
		{"and has not heard of it for long", func(p *picture) {
			out(p)
			p.st.Membership.Voters, p.st.Membership.ID = members(1, 2, 3), 2
			p.since = p.now.Add(-2 * holdFor)
		}, leaves, ""},
		{"a voter that has missed a change", func(p *picture) { follow(p); p.st.Membership.ID = 2 }, learns, ""},
		{"a voter, and the directory says otherwise of the same configuration", func(p *picture) { out(p); p.st.Membership.Voters = members(1, 2, 3) }, nothing, ""},

		{"just elected", func(p *picture) { p.st.Recovered = false }, waits, ""},
		{"a change is proposed", func(p *picture) { p.st.Sealed = true }, waits, ""},
		{"the directory is behind", func(p *picture) { p.group.Config = 2 }, reports, ""},
		{"what is shown here is behind", func(p *picture) { p.group.Config, p.group.Replicas = 4, 2 }, waits, ""},

		{"the new member has caught up", func(p *picture) { p.plan(4, 3); caughtUp(p, 4) }, adds, ""},
		{"it does not learn", func(p *picture) { p.plan(4, 3) }, waits, "not begun to learn"},
		{"it is behind", func(p *picture) { p.plan(4, 3); p.st.Learners[4], p.st.Decided = 45, 1046 }, waits, "caught up"},
		{"it is dead", func(p *picture) { p.plan(4, 3); caughtUp(p, 4); p.alive = func(n synod.NodeID) bool { return n != 4 } }, waits, "not alive"},
		{"it has been dead for long", func(p *picture) {
			p.plan(4, 3)
			p.alive, p.stuck = func(n synod.NodeID) bool { return n != 4 }, func(why string) time.Duration {
				return map[string]time.Duration{"n4 is not alive": 11 * time.Minute}[why]
			}
		}, givesUp, "10m"},
		{"the change is old, and it is dead since a moment ago", func(p *picture) {
			p.plan(4, 3)
			p.alive, p.since = func(n synod.NodeID) bool { return n != 4 }, p.now.Add(-11*time.Minute)
		}, waits, "not alive"},
		{"it was removed", func(p *picture) { p.plan(4, 3); caughtUp(p, 4); p.removed(4, 0) }, givesUp, "removed"},
		{"the larger group would have no quorum in reach", func(p *picture) { p.plan(4, 3); caughtUp(p, 4); p.up = map[synod.NodeID]bool{1: true} }, waits, "too few"},
		{"the new member is in", func(p *picture) { p.voters(1, 2, 3, 4); p.plan(4, 3) }, removes, ""},
		{"those who stay are no quorum", func(p *picture) { p.voters(1, 2, 3, 4); p.plan(4, 3); p.up = map[synod.NodeID]bool{1: true, 3: true} }, waits, "quorum"},
		{"and have not been for long", func(p *picture) {
			p.voters(1, 2, 3, 4)
			p.plan(4, 3)
			p.up = map[synod.NodeID]bool{1: true, 3: true}
			p.stuck = func(why string) time.Duration { return map[string]time.Duration{tooFewStay: 11 * time.Minute}[why] }
		}, givesUp, "10m"},
		{"the one to go is dead", func(p *picture) { p.voters(1, 2, 3, 4); p.plan(4, 3); p.up = map[synod.NodeID]bool{1: true, 2: true} }, removes, ""},
		{"the leader is to go", func(p *picture) { p.voters(1, 2, 3, 4); p.plan(4, 1) }, handsOver, ""},
		{"the last one is to go", func(p *picture) { p.voters(1); p.plan(0, 1) }, givesUp, "last"},
		{"all is done", func(p *picture) { p.voters(1, 2, 4); p.plan(4, 3) }, givesUp, "nothing left"},

		{"more are wanted", func(p *picture) { p.group.Replicas = 4 }, begins, "4 replicas"},
		{"and there is nobody", func(p *picture) {
			p.group.Replicas = 4
			p.spare = func(wish) (m paxos.Member, why string, ok bool) { return m, "", false }
		}, nothing, ""},
		{"more are wanted, and much is under way", func(p *picture) { p.group.Replicas, p.busy = 4, true }, waits, ""},
		{"fewer are wanted", func(p *picture) { p.group.Replicas = 2 }, begins, "it is worst"},
		{"a dead voter of main, whose size nobody has asked for", func(p *picture) {
			p.group.ID, p.group.Replicas = paxos.Main, 0
			p.up[3], p.dead = false, func(n synod.NodeID) bool { return n == 3 }
		}, replaces, "dead"},
		{"main's growth is not the directory's", func(p *picture) { p.group.ID, p.group.Replicas = paxos.Main, 0 }, nothing, ""},
		{"a voter was removed", func(p *picture) { p.removed(2, 5) }, begins, "removed from the cluster"},
		{"and much is under way", func(p *picture) { p.removed(2, 5); p.busy = true }, waits, ""},
		{"the last voter was removed, and nobody is there", func(p *picture) {
			p.voters(1)
			p.removed(1, 0)
			p.spare = func(wish) (m paxos.Member, why string, ok bool) { return m, "", false }
		}, waits, "last voter"},
		{"a voter has been dead for long", func(p *picture) { p.dead = func(n synod.NodeID) bool { return n == 3 }; delete(p.up, 3) }, replaces, "dead"},
		{"in a small group", func(p *picture) {
			p.dead, p.replaceFrom = func(n synod.NodeID) bool { return n == 3 }, 5
			delete(p.up, 3)
		}, nothing, ""},
		{"says gossip, and its link is up", func(p *picture) { p.dead = func(n synod.NodeID) bool { return n == 3 } }, nothing, ""},
		{"and another is out of reach", func(p *picture) {
			p.dead = func(n synod.NodeID) bool { return n == 3 }
			p.up = map[synod.NodeID]bool{1: true}
		}, nothing, ""},
		{"and many were replaced lately", func(p *picture) {
			p.dead, p.replaces = func(n synod.NodeID) bool { return n == 3 }, func() bool { return false }
			delete(p.up, 3)
		}, nothing, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := pict()
			tt.with(&p)
			a := decide(p)
			if a.kind != tt.want || !strings.Contains(a.why+a.plan.Why, tt.why) {
				t.Errorf("%v: %q %q; want %v: %q", a.kind, a.why, a.plan.Why, tt.want, tt.why)
			}
		})
	}
}

// What a change consists of.
func TestWhatIsBegun(t *testing.T) {
	p := pict()
	p.removed(2, 5)
	if a := decide(p); a.plan.Remove != 2 || a.plan.Add.Node != 5 {
		t.Errorf("one that was removed, in favour of 5: %+v", a.plan)
	}
	p.group.Replicas = 2
	if a := decide(p); a.plan.Remove != 2 || a.plan.Add.Node != 0 {
		t.Errorf("one that was removed of too many: %+v", a.plan)
	}
	p = pict()
	p.group.Replicas = 4
	if a := decide(p); a.plan.Remove != 0 || a.plan.Add.Node != 4 {
		t.Errorf("more are wanted: %+v", a.plan)
	}
	p = pict()
	p.dead = func(n synod.NodeID) bool { return n == 3 }
	delete(p.up, 3)
	if a := decide(p); a.plan.Remove != 3 || a.plan.Add.Node != 4 {
		t.Errorf("a dead one: %+v", a.plan)
	}
	p = pict()
	p.plan(4, 3)
	p.st.Learners[4] = 45
	if a := decide(p); a.member.Node != 4 {
		t.Errorf("adds %+v", a.member)
	}
	p = pict()
	p.here, p.st = false, replica.GroupStatus{}
	p.voters(2, 3)
	p.here = false
	p.plan(1, 0)
	if a := decide(p); !slices.Equal(a.from, []synod.NodeID{2, 3}) {
		t.Errorf("learns from %v", a.from)
	}
}

// Every step may only be taken towards a group that can go on: whatever is in reach,
// the voters that result have a quorum in reach.
func TestNoStepLosesTheQuorum(t *testing.T) {
	for bits := range 1 << 5 {
		for _, plan := range [][2]synod.NodeID{{4, 3}, {4, 0}, {0, 3}, {0, 2}, {4, 1}} {
			for _, in := range [][]synod.NodeID{{1, 2, 3}, {1, 2, 3, 4}, {1, 3}, {1, 2, 3, 5}} {
				p := pict()
				p.voters(in...)
				p.plan(plan[0], plan[1])
				p.st.Learners[4] = 45
				p.up = map[synod.NodeID]bool{1: true}
				for i := range 5 {
					if bits>>i&1 == 1 {
						p.up[synod.NodeID(i+1)] = true
					}
				}
				a := decide(p)
				next := slices.Clone(in)
				switch a.kind {
				case adds:
					next = append(next, 4)
					p.up[4] = true // it has just asked
				case removes:
					next = slices.DeleteFunc(next, func(n synod.NodeID) bool { return n == a.node })
				default:
					continue
				}
				n := 0
				for _, id := range next {
					if p.up[id] {
						n++
					}
				}
				if n <= len(next)/2 {
					t.Fatalf("of %v with %v in reach, plan %v: %v makes %v", in, p.up, plan, a.kind, next)
				}
			}
		}
	}
}

// A removed node ends only when nobody needs what it knows.
func TestWhoIsNeeded(t *testing.T) {
	group := func(relieved bool, ids ...synod.NodeID) (g replica.GroupStatus) {
		g.Membership, g.Relieved = paxos.Membership{ID: 3, Voters: members(ids...)}, relieved
		return g
	}
	for _, tt := range []struct {
		name string
		here []replica.GroupStatus
		want bool
	}{
		{"nothing is here", nil, false},
		{"nothing has arrived", []replica.GroupStatus{{}}, false},
		{"others have taken over", []replica.GroupStatus{group(true, 2, 3)}, false},
		{"not in one group", []replica.GroupStatus{group(true, 2, 3), group(false, 2, 3)}, true},
		{"it has not heard that it is no voter", []replica.GroupStatus{group(true, 1, 2, 3)}, true},
	} {
		if got := needed(self, tt.here); got != tt.want {
			t.Errorf("%s: %v; want %v", tt.name, got, tt.want)
		}
	}
}
