package leader

import (
	"fmt"
	"slices"
	"testing"
)

// crowd returns a world of nodes that share many groups, each led by somebody, and
// settled.
func crowd(t testing.TB, nodes, groups int, seed uint64, off mutant) *world {
	t.Helper()
	w := newWorld(nodes, seed, off)
	w.idle, w.most = true, ms // a network whose round trips are much the same
	w.share(groups)
	w.begin()
	w.run(3000 * ms)
	w.each(func(group uint64) {
		if w.leader() == nil {
			t.Fatalf("nobody leads group %d", group)
		}
	})
	return w
}

// leads counts the groups that each node leads.
func (w *world) leads() []int {
	counts := make([]int, len(w.nodes))
	w.each(func(uint64) {
		if l := w.leader(); l != nil {
			counts[l.id]++
		}
	})
	return counts
}

// elected returns when the last election was, and in how many groups there were at
// least so many.
func (w *world) elected(least int) (last Instant, groups int) {
	for _, l := range w.ledgers {
		if last = max(last, l.changed); l.changes >= least {
			groups++
		}
	}
	return last, groups
}

func (w *world) looks() (all uint64) {
	for _, h := range w.nodes {
		if !h.dead {
			all += h.m.looks
		}
	}
	return all
}

// TestIdleGroupsAreSilent: however many groups there are, a settled cluster says one
// thing each beat: that it is there. And it looks at no group but in turn.
func TestIdleGroupsAreSilent(t *testing.T) {
	for _, groups := range []int{1, 256, 1000} {
		for _, noNet := range []bool{false, true} {
			w := crowd(t, 3, groups, 7, mutant{noNet: noNet})
			w.run(w.now + 2000*ms) // the medians of round trips settle
			w.forget()
			beats, looks, fixed := [3]uint64{}, w.looks(), Instant(5000*ms)
			for i, h := range w.nodes {
				beats[i] = h.m.seq
			}
			w.run(w.now + fixed)
			requests := uint64(0)
			for i, h := range w.nodes {
				requests += h.m.seq - beats[i]
				if got := h.m.seq - beats[i]; got < 190 || got > 212 {
					t.Errorf("%d groups: node %d sends %d requests in 100 beats to 2 peers", groups, i+1, got)
				}
			}
			if got := w.messages; got < int(2*requests)-6 || got > int(2*requests)+6 {
				t.Errorf("%d groups: %d messages with %d requests; want twice as many", groups, got, requests)
			}
			if w.reports != 0 {
				t.Errorf("%d groups: %d reports though nothing happens", groups, w.reports)
			}
			most := requests / 2 * uint64((groups+netShare-1)/netShare)
			if noNet {
				most = 0
			}
			if got := w.looks() - looks; got > most {
				t.Errorf("%d groups: %d evaluations in %d beats; want at most %d", groups, got, requests/2, most)
			}
			w.each(func(group uint64) {
				if l := w.leader(); l == nil || !l.m.Leased(group, w.clock(l)) || w.changes != 0 {
					t.Fatalf("%d groups: no lease of group %d, or %d changes", groups, group, w.changes)
				}
			})
		}
	}
}

// TestLeadersSpread wants the leaders of many groups spread evenly over the nodes,
// and spread evenly again when one is lost: soon, with few messages, and with one
// change for each group.
func TestLeadersSpread(t *testing.T) {
	for _, c := range []struct {
		nodes, groups int
		seen          bool
	}{{3, 1000, true}, {5, 1000, true}, {5, 1000, false}} {
		name := fmt.Sprintf("%d nodes, %d groups, seen %v", c.nodes, c.groups, c.seen)
		w := crowd(t, c.nodes, c.groups, 3, mutant{})
		elected, again := w.elected(2)
		if again > 0 {
			t.Errorf("%s: more than one election in %d groups at the start", name, again)
		}
		before := w.leads()
		even(t, name, before, c.nodes)
		t.Logf("%s: all are led after %d ms, with %d messages and %d reports; by node: %v", name, elected/ms, w.messages, w.reports, before)

		w.forget()
		died := w.now
		w.crash(0, c.seen)
		w.run(w.now + 3000*ms)
		after := w.leads()
		last, again := w.elected(2)
		if again > 0 {
			t.Errorf("%s: more than one change in %d groups", name, again)
		}
		if c.seen { // who notices a silence first has an advantage
			even(t, name+", one lost", after, c.nodes-1)
		}
		t.Logf("%s: all are led again %d ms after one is lost, with %d messages and %d reports; by node: %v", name, (last-died)/ms, w.messages, w.reports, after)
		limit := 1000 * ms
		if last-died > limit {
			t.Errorf("%s: led again only after %d ms; want at most %d", name, (last-died)/ms, limit/ms)
		}
		if most := 60*2*c.nodes*(c.nodes-1) + c.groups; w.messages > most {
			t.Errorf("%s: %d messages in 3 s; want at most %d", name, w.messages, most)
		}
	}
}

// even wants all of counts within a fifth of their mean.
func even(t testing.TB, name string, counts []int, among int) {
	t.Helper()
	all := 0
	for _, n := range counts[len(counts)-among:] {
		all += n
	}
	mean := all / among
	if slices.ContainsFunc(counts[len(counts)-among:], func(n int) bool { return n < mean*4/5 || n > mean*6/5 }) {
		t.Errorf("%s: groups led by each node: %v; want them even", name, counts)
	}
}

// TestOrder: each group has its own order of voters, and group 1 that of ordinals.
func TestOrder(t *testing.T) {
	for _, voters := range []int{1, 2, 3, 5, 7, 64} {
		first, second := make([]int, voters), make([]int, voters*voters)
		for g := range uint64(1000) {
			places := order(g+1, voters)
			seen, ranked := make([]bool, voters), make([]int, voters)
			for seat, p := range places {
				if p < 0 || p >= voters || seen[p] {
					t.Fatalf("group %d: places %v", g+1, places)
				}
				seen[p], ranked[p] = true, seat
				if g == 0 && p != seat {
					t.Fatalf("group 1: places %v; want those of the ordinals", places)
				}
			}
			first[ranked[0]]++
			if voters > 1 {
				second[ranked[0]*voters+ranked[1]]++
			}
		}
		if voters > 5 || voters == 1 {
			continue
		}
		even(t, fmt.Sprintf("%d voters, first", voters), first, voters)
		mean := 1000 / (voters * (voters - 1))
		for i, n := range second {
			if i/voters != i%voters && (n < mean/2 || n > mean*3/2) {
				t.Errorf("%d voters: node %d comes after node %d in %d groups; want about %d", voters, i%voters+1, i/voters+1, n, mean)
			}
		}
	}
}

// pester does to several groups at once what might end the word of acceptors: long
// leases, restarts behind cut links, hand-overs, stop-signs, and leaders that stand
// still. One node leads one group and follows in another, and all go by the same
// heartbeats.
func pester(t testing.TB, seed uint64, off mutant) (commits, sure int) {
	off.noGuard = true
	off.noNet = off.noNet || seed%3 == 1
	off.everything = off.everything || seed%3 == 2
	n := 3 + 2*int(seed%2)
	w := newWorld(n, seed, off)
	w.share(4)
	w.lease = Instant(w.random.between(int64(100*ms), int64(2000*ms)))
	w.skew(5000)
	w.begin()
	w.run(1500 * ms)
	for range 20 {
		a, b := int(w.random.between(0, int64(n))), int(w.random.between(0, int64(n)))
		w.look(uint64(w.random.between(1, 5)))
		l := w.leader()
		switch dice := w.random.between(0, 11); {
		case w.nodes[a].frozen:
			w.thaw(a)
		case l == nil || l.frozen:
			w.scramble(true)
		case dice < 2 && a != l.id:
			w.crash(a, false)
			w.restart(a)
			w.cut(a, l.id)
		case dice < 3:
			w.freeze(l.id)
		case dice < 5 && b != l.id:
			w.handOver(l.id, b)
		case dice < 6:
			w.reshape(b)
		case dice < 7:
			w.pass[l.id][a] = a == l.id
		case dice < 8:
			w.loss = w.random.between(0, 2) * 25
		case dice < 10:
			for i := range n {
				for k := range i {
					w.join(i, k)
				}
			}
		default:
			w.scramble(true)
		}
		w.look(1)
		w.run(w.now + Instant(w.random.between(int64(20*ms), int64(600*ms))))
	}
	w.loss = 0
	for i := range n {
		if w.nodes[i].frozen {
			w.thaw(i)
		}
		for k := range i {
			w.join(i, k)
		}
	}
	w.run(w.now + 6000*ms)
	w.each(func(group uint64) {
		if w.stale > 0 {
			t.Errorf("seed %d, group %d: %d commits while another node had a lease", seed, group, w.stale)
		}
		if w.now-w.last > 500*ms {
			t.Errorf("seed %d, group %d: no commit for %d ms though all is well", seed, group, (w.now-w.last)/ms)
		}
		commits, sure = commits+w.commits, sure+w.sure
	})
	return commits, sure
}

// TestPesteredGroups runs the rule in three ways: with and without the net, and as it
// was when every heartbeat said everything.
func TestPesteredGroups(t *testing.T) {
	cases := 90
	if *full {
		cases = 6000
	}
	var commits, sure [3]int
	for seed := range cases {
		c, s := pester(t, uint64(seed+1), mutant{})
		commits[(seed+1)%3] += c
		sure[(seed+1)%3] += s
	}
	for i, way := range []string{"the rule", "no net", "everything is said each time"} {
		t.Logf("%s: a lease at %d of %d commits", way, sure[i], commits[i])
		if sure[i]*2 < commits[i] {
			t.Errorf("%s: a lease at less than half of the commits", way)
		}
	}
}

// BenchmarkIdleBeat is a beat of three nodes that share idle groups.
func BenchmarkIdleBeat(b *testing.B) {
	for _, groups := range []int{1, 1000} {
		b.Run(fmt.Sprint(groups), func(b *testing.B) {
			w := crowd(b, 3, groups, 1, mutant{})
			var out Output

			m := w.nodes[0].m
			for b.Loop() {
				now := m.Next()
				m.Tick(now, Health{Disk: true, Loop: true}, &out)
				for _, e := range out.Send {
					if q, ok := e.Msg.(Heartbeat); ok && !q.Reply {
						p := m.peer(e.To)
						a := Heartbeat{Reply: true, Seq: q.Seq, Sent: q.Sent, Clock: now, Lease: 100 * millisecond, Incarnation: 1, Healthy: true}
						a.Have, a.Since, a.Version, a.Whole, a.Taken = q.Version, p.ear.have, p.ear.have, true, true
						m.Receive(e.To, a, now+ms, &out)
					}
				}
				out.Reset()
			}
			b.ReportMetric(float64(len(m.wakeful)), "awake")
		})
	}
}

// BenchmarkLoad is a node that learns of 1,000 groups.
func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		n := NewNode(Config{Self: 1, Incarnation: 1}, 0)
		var out Output
		for g := range uint64(1000) {
			n.SetGroup(mix(g+1), Facts{Config: 1, Voters: five}, 0, &out)
		}
		n.Tick(n.Next(), Health{Disk: true, Loop: true}, &out)
	}
}
