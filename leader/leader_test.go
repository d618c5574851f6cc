package leader

import (
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/prytany/prytany/synod"
)

func TestOnlyVoterLeadsAtOnce(t *testing.T) {
	d := newDesk(t, Config{Self: 9, Incarnation: 1}, mutant{})
	f := Facts{Config: 1, Voters: []Voter{{9, 4}}, Promised: ballot(7, 4)}
	d.facts(f)
	if want := []Advice{{Group: 1, Campaign: ballot(8, 4)}}; !reflect.DeepEqual(d.out.Advice, want) {
		t.Fatalf("advice %v; want %v", d.out.Advice, want)
	}
	f.Promised, f.Own = ballot(8, 4), ballot(8, 4)
	d.facts(f)
	d.wantLeader(9, true)
}

func TestRoundOneOfALaterConfigurationIsNotClaimed(t *testing.T) {
	d := newDesk(t, Config{Self: 1, Incarnation: 1}, mutant{})
	d.facts(Facts{Config: 2, Voters: []Voter{{1, 1}}})
	if want := []Advice{{Group: 1, Campaign: ballot(2, 1)}}; !reflect.DeepEqual(d.out.Advice, want) {
		t.Errorf("advice %v; want %v", d.out.Advice, want)
	}
}

// TestAnotherConfigurationIsAnotherWorld: whoever reports another one is alive,
// but neither its ballot nor its contentment means anything here.
func TestAnotherConfigurationIsAnotherWorld(t *testing.T) {
	d := newDesk(t, Config{Self: 1, Incarnation: 1}, mutant{})
	d.facts(Facts{Config: 1, Voters: three})
	claims := d.run(300*ms, Report{Group: 1, Config: 2, Own: ballot(9, 2), Followed: ballot(9, 2), Content: true, Leading: true})
	if len(claims) == 0 || claims[0].Ballot != ballot(1, 1) {
		t.Errorf("claims %v; want the first to be 1.1", claims)
	}
	d.take()
	d.n.Receive(2, Claim{1, 2, ballot(9, 2)}, d.now, &d.out)
	if got, want := d.take()[0].Msg, (Grant{1, 2, ballot(9, 2), false, refuseConfig}); got != want {
		t.Errorf("answer %v; want %v", got, want)
	}
	d.facts(Facts{Config: 2, Voters: three})
	d.run(100*ms, Report{Group: 1, Config: 2, Own: ballot(9, 2), Followed: ballot(9, 2), Content: true})
	d.wantLeader(2, true)
}

func TestLearnerFollowsAndNeverClaims(t *testing.T) {
	d := newDesk(t, Config{Self: 9, Incarnation: 1}, mutant{})
	d.facts(Facts{Config: 1, Voters: three})
	if claims := d.run(1000*ms, Report{Group: 1, Config: 1}); len(claims) != 0 {
		t.Errorf("a learner claims: %v", claims)
	}
	d.run(100*ms, Report{Group: 1, Config: 1, Own: ballot(1, 2), Followed: ballot(1, 2), Content: true, Leading: true})
	d.wantLeader(2, true)
	d.take()
	d.n.Receive(3, Claim{1, 1, ballot(5, 3)}, d.now, &d.out)
	if got := d.take()[0].Msg.(Grant); got.OK {
		t.Error("a learner supports a claim")
	}
}

// leads returns a desk whose node 1 leads three voters and hears all.
func leads(t *testing.T) (*desk, Facts) {
	d := newDesk(t, Config{Self: 1, Incarnation: 1}, mutant{})
	f := Facts{Config: 1, Voters: three, Promised: ballot(1, 1), Own: ballot(1, 1), Leading: true}
	d.facts(f)
	d.run(200*ms, Report{Group: 1, Config: 1, Followed: ballot(1, 1)})
	d.wantLeader(1, true)
	return d, f
}

func TestUnfitLeaderIsNotContent(t *testing.T) {
	for _, h := range []Health{{Disk: false, Loop: true}, {Disk: true, Loop: false}, {Disk: true, Loop: true, Draining: true}} {
		d, _ := leads(t)
		d.h = h
		d.n.Tick(d.now, h, &d.out)
		d.wantLeader(1, false)
		if !d.n.MayPromise(1, 2, d.now) {
			t.Errorf("%+v: a leader that is unfit keeps its own acceptor", h)
		}
		if claims := d.run(1000*ms, Report{Group: 1, Config: 1, Followed: ballot(1, 1)}); len(claims) != 0 {
			t.Errorf("%+v: an unfit node claims", h)
		}
	}
}

func TestLeaderBindsItsOwnAcceptor(t *testing.T) {
	d, _ := leads(t)
	if d.n.MayPromise(1, 2, d.now) || !d.n.MayPromise(1, 1, d.now) {
		t.Error("a leader that leads must help nobody but itself")
	}
}

// follows returns a desk whose node 1 follows node 2 and hears all.
func follows(t testing.TB) *desk {
	d := newDesk(t, Config{Self: 1, Incarnation: 1}, mutant{})
	d.facts(Facts{Config: 1, Voters: three, Promised: ballot(1, 2)})
	for range 6 {
		d.tick()
		sent := d.take()
		d.now += ms
		for _, e := range sent {
			r := Report{Group: 1, Config: 1, Followed: ballot(1, 2), Content: true, Distance: int64(ms)}
			if e.To == 2 {
				r.Own, r.Leading = ballot(1, 2), true
			}
			if m := e.Msg.(Heartbeat); !m.Reply {
				d.reply(e.To, m, r)
			}
		}
		d.request(2, Report{Group: 1, Config: 1, Own: ballot(1, 2), Followed: ballot(1, 2), Content: true, Leading: true, Distance: int64(ms)})
	}
	d.tick()
	d.wantLeader(2, true)
	return d
}

func TestLease(t *testing.T) {
	d := follows(t)
	d.take()
	for node, want := range map[synod.NodeID]bool{1: false, 2: true, 3: false} {
		if got := d.n.MayPromise(1, node, d.now); got != want {
			t.Errorf("MayPromise(%v) = %v; want %v", node, got, want)
		}
	}
	if !d.n.MayPromise(1, 3, d.now+150*ms) {
		t.Error("bound for longer than the lease")
	}
	if !d.n.MayPromise(77, 3, d.now) {
		t.Error("bound in a group it does not know")
	}
	// A new process at the leader's node has no claim on the lease of the old.
	d.n.Receive(2, Heartbeat{Seq: 1, Incarnation: 2, Healthy: true, Version: 1, Whole: true, Groups: []Report{{Group: 1, Config: 1}}}, d.now, &d.out)
	if !d.n.MayPromise(1, 3, d.now) {
		t.Error("bound to a process that is gone")
	}
	d.wantLeader(2, false) // node 3 still says it is content with it
}

func TestDisconnectedIsBelievedAtOnce(t *testing.T) {
	d := follows(t)
	last := d.take() // heartbeats not answered yet
	d.n.Disconnected(2, d.now, &d.out)
	if _, content := d.n.Leader(1); content {
		t.Error("content with a leader whose process is gone")
	}
	if d.n.MayPromise(1, 3, d.now) {
		t.Error("a lost connection has ended the lease")
	}
	if next := d.n.Next(); next > d.now+50*ms {
		t.Errorf("looks again only after %d ms", (next-d.now)/ms)
	}
	up := func() bool { return d.n.Links()[0].Up }
	for _, e := range last { // an answer that was on its way proves nothing
		if m := e.Msg.(Heartbeat); e.To == 2 && !m.Reply {
			d.reply(2, m)
		}
	}
	if up() {
		t.Error("up by an answer to a heartbeat sent before the connection was lost")
	}
	d.run(100*ms, Report{Group: 1, Config: 1})
	if !up() {
		t.Error("down although the peer answers again")
	}
}

func TestAnswersThatProveNothing(t *testing.T) {
	d := newDesk(t, Config{Self: 1, Incarnation: 3}, mutant{})
	d.facts(Facts{Config: 1, Voters: three})
	d.tick()
	m := d.take()[0].Msg.(Heartbeat)
	for name, change := range map[string]func(m *Heartbeat){
		"to an earlier process":        func(m *Heartbeat) { m.Seq = 2<<32 + 1 },
		"to a heartbeat never sent":    func(m *Heartbeat) { m.Seq += 50 },
		"later than the silence limit": func(m *Heartbeat) { m.Sent -= 401 * ms },
		"before it was asked":          func(m *Heartbeat) { m.Sent += 50 * ms },
	} {
		a := m
		change(&a)
		d.now += ms
		d.reply(2, a)
		if d.n.Links()[0].Up {
			t.Errorf("an answer %s brought the link up", name)
		}
	}
	d.reply(2, m)
	want := []Link{{Peer: 2, Up: true, RTT: int64(4 * ms), Median: int64(4 * ms), P99: int64(4 * ms), Healthy: true, Incarnation: 1}, {Peer: 3}}
	if got := d.n.Links(); !slices.Equal(got, want) {
		t.Errorf("Links() = %v; want %v", got, want)
	}
}

// TestCutOffNodeKnowsARelay is Cloudflare's topology seen by the node without
// a link to the leader.
func TestCutOffNodeKnowsARelay(t *testing.T) {
	w := newWorld(3, 1, mutant{})
	w.establish(t, 2)
	w.cut(0, 2)
	w.run(w.now + 2000*ms)
	m := w.nodes[0].m
	if node, content := m.Leader(1); node != 3 || content {
		t.Errorf("Leader() = %v, %v; want 3, false", node, content)
	}
	if got := m.Relay(1); got != 2 {
		t.Errorf("Relay() = %v; want 2", got)
	}
}

func TestGossipIsAHint(t *testing.T) {
	d := follows(t)
	for _, g := range []Gossip{GossipDead, GossipLeaving, GossipUnknown, GossipAlive} {
		d.n.SetGossip(2, g, d.now, &d.out)
		d.wantLeader(2, true)
	}
	// A node that leaves is not waited for when ranks are counted.
	g := d.n.group(1)
	g.me = 3
	if d.n.SetGossip(2, GossipLeaving, d.now, &d.out); d.n.delay(g) != 0 {
		t.Errorf("rank waits %d ms for a node that leaves", d.n.delay(g)/ms)
	}
	if d.n.SetGossip(2, GossipAlive, d.now, &d.out); d.n.delay(g) != 10*ms {
		t.Errorf("rank waits %d ms; want 10", d.n.delay(g)/ms)
	}
}

func TestGossipIsHeardBeforeTheConfiguration(t *testing.T) {
	n := NewNode(Config{Self: 1, Incarnation: 1}, 0)
	var out Output
	n.SetGossip(2, GossipAlive, 0, &out)
	n.SetGossip(3, GossipAlive, 0, &out)
	n.SetGossip(3, GossipLeaving, 0, &out)
	n.SetGossip(4, GossipDead, 0, &out)
	n.SetGossip(4, GossipUnknown, 0, &out)
	voters := []Voter{{Node: 1, Ordinal: 1}, {Node: 2, Ordinal: 2}, {Node: 3, Ordinal: 3}, {Node: 4, Ordinal: 4}}
	n.SetGroup(1, Facts{Config: 1, Voters: voters}, 0, &out)
	want := []Link{{Peer: 2, Gossip: GossipAlive}, {Peer: 3, Gossip: GossipLeaving}, {Peer: 4, Gossip: GossipUnknown}}
	if got := n.Links(); !slices.Equal(got, want) {
		t.Errorf("Links() = %+v; want %+v", got, want)
	}
}

func TestManyGroupsGoInSeveralHeartbeats(t *testing.T) {
	d := newDesk(t, Config{Self: 1, Incarnation: 1}, mutant{})
	const groups = 2*MaxReports + 10
	for g := range uint64(groups) {
		d.n.SetGroup(g+1, Facts{Config: 1, Voters: three}, 0, &d.out)
	}
	other := newDesk(t, Config{Self: 2, Incarnation: 1}, mutant{})
	other.n.SetGroup(300, Facts{Config: 1, Voters: three}, 0, &other.out)
	d.tick() // bare questions: no link is up yet
	d.answerAll(Report{})
	d.tick()
	seen := map[uint64]int{}
	for _, e := range d.take() {
		m, ok := e.Msg.(Heartbeat)
		if !ok {
			continue
		}
		if len(m.Groups) > MaxReports {
			t.Fatalf("%d reports in one heartbeat", len(m.Groups))
		}
		if e.To != 2 {
			continue
		}
		for _, r := range m.Groups {
			seen[r.Group]++
		}
		other.n.Receive(1, m, 0, &other.out)
	}
	if len(seen) != groups {
		t.Errorf("%d groups told; want %d", len(seen), groups)
	}
	for _, e := range other.take() {
		for _, r := range e.Msg.(Heartbeat).Groups {
			if r.Group != 300 {
				t.Errorf("told of group %d", r.Group)
			}
		}
	}
	for g := range uint64(groups) {
		d.n.DropGroup(g + 1)
	}
	if len(d.n.Links()) != 0 {
		t.Error("peers without a common group are still peers")
	}
}

func TestSameSeedSameWorld(t *testing.T) {
	run := func() []Instant {
		var y tally
		churned(t, 11, 5, mutant{}, &y)
		return y.gaps
	}
	if a, b := run(), run(); !slices.Equal(a, b) {
		t.Errorf("two runs of one seed differ: %v, %v", a, b)
	}
}

// TestNonsenseIsSurvived sends random messages: nothing may panic, and what
// is followed never decreases or falls below the promise.
func TestNonsenseIsSurvived(t *testing.T) {
	r := random(5)
	d := newDesk(t, Config{Self: 1, Incarnation: 1}, mutant{})
	f := Facts{Config: 1, Voters: three}
	d.facts(f)
	any := func() synod.Ballot { return synod.Unpack(r.next() >> r.between(0, 64)) }
	small := func() uint64 { return r.next() % 4 }
	version := uint64(0)
	for range 20000 {
		d.out.Reset()
		was := d.n.group(1).lead
		from := synod.NodeID(small())
		switch small() {
		case 0:
			d.n.Receive(from, Claim{small(), uint32(small()), any()}, d.now, &d.out)
		case 1:
			d.n.Receive(from, Grant{small(), uint32(small()), any(), small() == 0, uint8(r.next())}, d.now, &d.out)
		case 2:
			m := Heartbeat{Reply: small() < 2, Seq: d.n.seq - small() + 1, Sent: d.now - Instant(small()), Incarnation: 1}
			version += small()
			m.Since, m.Version, m.Whole, m.Taken = version-min(version, small()*small()), version+small()/2, small() != 0, small() != 0
			m.Have = d.n.version - 2 + small()
			for range small() {
				m.Groups = append(m.Groups, Report{
					Group: small(), Config: uint32(small()), Own: any(), Followed: any(), Content: small() == 0, Leading: small() == 0, Asks: small() == 0,
					Bound: any(), Decided: small(), Distance: int64(small()),
				})
			}
			d.n.Receive(from, m, d.now, &d.out)
		default:
			d.now += Instant(r.between(0, int64(30*ms)))
			d.n.Tick(d.now, d.h, &d.out)
			if small() == 0 {
				f.Promised = synod.MaxBallot(f.Promised, ballot(f.Promised.Round+small(), synod.Ordinal(small())))
				d.facts(f)
			}
		}
		if lead := d.n.group(1).lead; lead.Less(was) || lead.Less(f.Promised) {
			t.Fatalf("follows %v after %v, with a promise to %v", lead, was, f.Promised)
		}
	}
}

// TestPure keeps clocks, chance and the world out of this package. Of internal/mutant
// nothing is left in a build without its tag.
func TestPure(t *testing.T) {
	allowed := []string{"cmp", "fmt", "slices", "github.com/prytany/prytany/synod", "github.com/prytany/prytany/internal/mutant"}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range files {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), e.Name(), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			if p := strings.Trim(i.Path.Value, `"`); !slices.Contains(allowed, p) {
				t.Errorf("%s imports %s", e.Name(), p)
			}
		}
	}
}
