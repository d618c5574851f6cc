package leader

import (
	"fmt"
	"testing"

	"github.com/prytany/prytany/synod"
)

// A regression is a case that a weaker rule gets wrong.
type regression struct {
	name string
	run  func(t testing.TB, seed uint64, off mutant)
}

func regressions() []regression {
	return []regression{
		{"deadlock graph", deadlockGraph},
		{"claim too low", claimTooLow},
		{"lease held hostage", leaseHostage},
		{"duel in lockstep", lockstepDuel},
		{"support ends", supportEnds},
		{"refused claimant waits", refusedWaits},
		{"fresh start", freshStart},
		{"second look", secondLook},
		{"bound before phase 1 begins", boundBeforePhase1},
		{"grace", grace},
		{"late candidate", lateCandidate},
		{"withdrawn", withdrawn},
	}
}

func TestRegressions(t *testing.T) {
	for _, r := range regressions() {
		t.Run(r.name, func(t *testing.T) {
			for seed := range uint64(20) {
				r.run(t, seed+1, mutant{})
			}
		})
	}
}

// deadlockGraph: two claimants with half of the support each kept each other
// out for ever while a repeated claim made support younger.
func deadlockGraph(t testing.TB, seed uint64, off mutant) {
	off.noJitter = seed%2 == 0
	w := crooked(5, seed, off)
	if seed%4 >= 2 {
		w.least, w.most = 20*ms, 24*ms
	}
	w.establish(t, 3)
	w.only([2]int{0, 1}, [2]int{0, 2}, [2]int{1, 2}, [2]int{2, 3}, [2]int{0, 4}, [2]int{2, 4})
	w.run(w.now + 5000*ms)
	w.judge(t, fmt.Sprintf("deadlock graph, seed %d", seed), 1)
}

// claimTooLow: the only node that reaches a quorum follows a lower ballot than
// its neighbours, who promised to a leader that it never heard.
func claimTooLow(t testing.TB, seed uint64, off mutant) {
	w := crooked(5, seed, off)
	w.only([2]int{0, 1}, [2]int{1, 2})
	w.nodes[0].promised = synod.Ballot{Round: 2, Member: 4}
	w.nodes[1].promised = synod.Ballot{Round: 1, Member: 1}
	w.nodes[2].promised = synod.Ballot{Round: 2, Member: 4}
	w.begin()
	w.nodes[3].dead, w.nodes[4].dead = true, true
	w.run(5000 * ms)
	w.judge(t, fmt.Sprintf("claim too low, seed %d", seed), 1)
	if w.changes != 1 {
		t.Errorf("claim too low, seed %d: %d changes of leader; want 1", seed, w.changes)
	}
}

// leaseHostage: a leader that has been replaced, and is content with that,
// still reaches an acceptor without which its successor cannot finish phase 1.
func leaseHostage(t testing.TB, seed uint64, off mutant) {
	const l, y, x, n, z = 0, 1, 2, 3, 4
	w := crooked(5, seed, off)
	w.establish(t, l)
	w.only([2]int{l, x}, [2]int{n, y}, [2]int{n, z}, [2]int{y, z})
	w.on = func(h *host, a Advice) {
		if h.id == n {
			w.only([2]int{n, y}, [2]int{n, x}, [2]int{l, x}, [2]int{l, y})
		}
	}
	for _, i := range []int{y, z} { // so that n is the one to claim
		w.nodes[i].health.Loop = false
	}
	w.run(w.now + 5000*ms)
	w.judge(t, fmt.Sprintf("lease held hostage, seed %d", seed), 1)
}

// lockstepDuel: nodes that claim at the same evenly spaced instants, without
// ranks to tell them apart, must not refuse each other for long.
func lockstepDuel(t testing.TB, seed uint64, off mutant) {
	off.noJitter = true
	w := crooked(5, seed, off)
	w.delay = 1
	w.establish(t, 4)
	w.crash(4, true)
	w.run(w.now + 5000*ms)
	name := fmt.Sprintf("duel in lockstep, seed %d", seed)
	w.judge(t, name, 1)
	if w.worst() > 1500*ms {
		t.Errorf("%s: %d ms without a commit", name, w.worst()/ms)
	}
}

// supportEnds: a claim that is repeated is supported from the first time on.
func supportEnds(t testing.TB, _ uint64, off mutant) {
	n := NewNode(Config{Self: 3, Incarnation: 1}, 0)
	n.off = ways(off)
	var out Output
	n.SetGroup(1, Facts{Config: 1, Voters: []Voter{{1, 1}, {2, 2}, {3, 3}}}, 0, &out)
	ask := func(from synod.NodeID, now Instant) bool {
		out.Reset()
		n.Receive(from, Claim{1, 1, synod.Ballot{Round: 1, Member: synod.Ordinal(from)}}, now, &out)
		return out.Send[len(out.Send)-1].Msg.(Grant).OK
	}
	steps := []struct {
		from synod.NodeID
		at   Instant
		want bool
	}{{1, 0, true}, {2, 10 * ms, false}, {1, 20 * ms, true}, {2, 26 * ms, true}, {1, 30 * ms, false}}
	for _, s := range steps {
		if got := ask(s.from, s.at); got != s.want {
			t.Errorf("support of %v at %d ms is %v; want %v", s.from, s.at/ms, got, s.want)
		}
	}
}

// refusedWaits: a claimant that is refused again and again tries less and less
// often, and never twice within a heartbeat.
func refusedWaits(t testing.TB, seed uint64, off mutant) {
	d := newDesk(t, Config{Self: 1, Incarnation: 1, Seed: seed}, off)
	d.facts(Facts{Config: 1, Voters: []Voter{{1, 1}, {2, 2}, {3, 3}}})
	var claims []Instant
	for d.now < 3000*ms {
		d.tick()
		for _, m := range d.answerAll(Report{Group: 1, Config: 1}) {
			claims = append(claims, d.now)
			d.n.Receive(2, Grant{m.Group, m.Config, m.Ballot, false, refuseLease}, d.now, &d.out)
		}
	}
	if len(claims) < 8 || len(claims) > 40 {
		t.Errorf("seed %d: %d messages of claims in 3 s; want 8 to 40", seed, len(claims))
	}
	for i := 2; i < len(claims); i += 2 { // one to each of two peers
		if gap := claims[i] - claims[i-2]; gap < 50*ms {
			t.Errorf("seed %d: claims %d ms apart", seed, gap/ms)
		}
	}
}

// freshStart: nodes that start together find one leader, once and soon.
func freshStart(t testing.TB, seed uint64, off mutant) {
	for _, nodes := range []int{1, 2, 3, 5, 7} {
		w := crooked(nodes, seed, off)
		w.begin()
		w.run(3000 * ms)
		if w.changes != 1 {
			t.Errorf("%d nodes, seed %d: %d elections at the start; want 1", nodes, seed, w.changes)
		}
		if w.changed > 250*ms {
			t.Errorf("%d nodes, seed %d: nobody led for %d ms", nodes, seed, w.changed/ms)
		}
	}
}

// secondLook: between a claim and its support the claimant's own acceptor may
// have bound itself to the old leader again.
func secondLook(t testing.TB, _ uint64, off mutant) {
	d := newDesk(t, Config{Self: 1, Incarnation: 1}, off)
	d.facts(Facts{Config: 1, Voters: three, Promised: ballot(1, 3)})
	var claims []Claim
	for len(claims) == 0 && d.now < 500*ms {
		claims = d.run(ms, Report{Group: 1, Config: 1, Followed: ballot(1, 3)})
	}
	if len(claims) == 0 {
		t.Fatalf("no claim")
	}
	leader := Report{Group: 1, Config: 1, Own: ballot(1, 3), Followed: ballot(1, 3), Content: true, Leading: true}
	d.request(3, leader)
	d.n.Receive(2, Grant{1, 1, claims[0].Ballot, true, 0}, d.now, &d.out)
	if len(d.out.Advice) != 0 {
		t.Errorf("advised %v while bound to the old leader", d.out.Advice)
	}
}

// boundBeforePhase1: the old leader is heard again after a claim is won, and
// before the owner of the machine carries that out. It must not count on an
// acceptor that is about to promise a higher ballot to itself.
func boundBeforePhase1(t testing.TB, _ uint64, off mutant) {
	d := newDesk(t, Config{Self: 1, Incarnation: 1}, off)
	d.facts(Facts{Config: 1, Voters: three, Promised: ballot(1, 3)})
	var claims []Claim
	for len(claims) == 0 && d.now < 500*ms {
		claims = d.run(ms, Report{Group: 1, Config: 1, Followed: ballot(1, 3)})
	}
	if len(claims) == 0 {
		t.Fatalf("no claim")
	}
	d.n.Receive(2, Grant{1, 1, claims[0].Ballot, true, 0}, d.now, &d.out)
	if len(d.out.Advice) != 1 {
		t.Fatalf("advised %v; want one campaign", d.out.Advice)
	}
	leader := Report{Group: 1, Config: 1, Own: ballot(1, 3), Followed: ballot(1, 3), Content: true, Leading: true}
	if got := d.request(3, leader)[0].Bound; !got.IsZero() {
		t.Errorf("bound to %v although told to campaign with %v", got, claims[0].Ballot)
	}
}

// grace: who has just promised is content until the new leader's own heartbeats
// can have arrived, and not for longer.
func grace(t testing.TB, _ uint64, off mutant) {
	d := newDesk(t, Config{Self: 1, Incarnation: 1}, off)
	f := Facts{Config: 1, Voters: three, Promised: ballot(1, 3)}
	d.facts(f)
	d.wantLeader(3, false)
	f.Promised = ballot(2, 2)
	d.facts(f)
	d.wantLeader(2, true)
	d.now += 74 * ms
	d.n.Tick(d.now, d.h, &d.out)
	d.wantLeader(2, true)
	d.now += 54 * ms
	d.n.Tick(d.now, d.h, &d.out)
	d.wantLeader(2, false)
}
