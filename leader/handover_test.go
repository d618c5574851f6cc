package leader

import (
	"reflect"
	"slices"
	"testing"

	"github.com/prytany/prytany/synod"
)

// TestReleaseIsForTheLeaderOnly is what a node does that is asked to give up what
// it does not have.
func TestReleaseIsForTheLeaderOnly(t *testing.T) {
	d := follows(t)
	if d.n.Release(1, 3, d.now, &d.out) {
		t.Error("a follower released")
	}
	d, f := leads(t)
	d.take()
	for _, to := range []synod.NodeID{0, 1, 9} {
		if d.n.Release(1, to, d.now, &d.out) {
			t.Errorf("released to %v", to)
		}
	}
	if d.n.Release(7, 2, d.now, &d.out) {
		t.Error("released a group it does not know")
	}
	d.out.Reset()
	if !d.n.Release(1, 2, d.now, &d.out) {
		t.Fatal("not released")
	}
	m := Release{1, 1, ballot(1, 1), 2}
	if got, want := d.take(), []Envelope{{2, m}, {3, m}}; !reflect.DeepEqual(got, want) {
		t.Errorf("sent %v; want %v", got, want)
	}
	if !slices.ContainsFunc(d.out.Events, func(e Event) bool { return e.Kind == EvRelease && e.Node == 2 }) {
		t.Errorf("events %v", d.out.Events)
	}
	if d.n.Release(1, 2, d.now, &d.out) {
		t.Error("released twice")
	}
	if why, since := d.n.Why(1); why != reasonReleased || since != d.now {
		t.Errorf("Why() = %q, %d; want %q, %d", why, since, reasonReleased, d.now)
	}
	if !d.n.MayPromise(1, 2, d.now) || !d.n.MayPromise(1, 3, d.now) {
		t.Error("its own acceptor is bound to what it has given up")
	}
	d.wantLeader(0, false)
	d.run(300*ms, Report{Group: 1, Config: 1, Followed: ballot(1, 1), Content: true, Bound: ballot(1, 1)})
	if r := d.n.report(d.n.group(1)); r.Leading || r.Content {
		t.Errorf("reports %+v after it has handed over", r)
	}
	// A new ballot is a new lead.
	f.Promised, f.Own, f.Leading = ballot(2, 1), ballot(2, 1), true
	d.facts(f)
	d.run(100*ms, Report{Group: 1, Config: 1, Followed: ballot(2, 1)})
	d.wantLeader(1, true)
}

// TestReleasesThatAreIgnored sends an acceptor that is bound to node 2 what must
// not free it.
func TestReleasesThatAreIgnored(t *testing.T) {
	for name, c := range map[string]struct {
		from synod.NodeID
		m    Release
	}{
		"of a lower ballot":      {2, Release{1, 1, ballot(0, 2), 3}},
		"of a higher ballot":     {2, Release{1, 1, ballot(2, 2), 3}},
		"of no ballot":           {2, Release{1, 1, synod.Ballot{}, 3}},
		"of another config":      {2, Release{1, 2, ballot(1, 2), 3}},
		"of an unknown group":    {2, Release{7, 1, ballot(1, 2), 3}},
		"to who is no voter":     {2, Release{1, 1, ballot(1, 2), 9}},
		"from a third":           {3, Release{1, 1, ballot(1, 2), 1}},
		"from nobody of us":      {9, Release{1, 1, ballot(1, 2), 3}},
		"in the name of another": {9, Release{1, 1, ballot(1, 2), 9}},
	} {
		d := follows(t)
		d.n.Receive(c.from, c.m, d.now, &d.out)
		if d.n.MayPromise(1, 3, d.now) || len(d.out.Advice) > 0 {
			t.Errorf("%s: a release frees", name)
		}
		d.wantLeader(2, true)
	}
	// The host has promised to another in this very turn.
	d := follows(t)
	d.n.Promised(1, ballot(2, 3))
	d.n.Receive(2, Release{1, 1, ballot(1, 2), 3}, d.now, &d.out)
	if slices.ContainsFunc(d.out.Events, func(e Event) bool { return e.Kind == EvRelease }) {
		t.Error("takes the release of a ballot below its promise")
	}
}

// TestReleaseFreesForTheHeirAlone is the acceptor between two leaders.
func TestReleaseFreesForTheHeirAlone(t *testing.T) {
	for _, from := range []synod.NodeID{2, 3} {
		d := follows(t)
		until := d.n.binding(d.n.group(1)).until
		d.n.Receive(from, Release{1, 1, ballot(1, 2), 3}, d.now, &d.out)
		for node, want := range map[synod.NodeID]bool{1: false, 2: false, 3: true} {
			if got := d.n.MayPromise(1, node, d.now); got != want {
				t.Errorf("MayPromise(%v) = %v; want %v", node, got, want)
			}
		}
		if !d.n.MayPromise(1, 2, until) {
			t.Error("bound to the heir for longer than to the leader before")
		}
		d.now += 74 * ms
		d.n.Tick(d.now, d.h, &d.out)
		d.wantLeader(0, false)
		if r := d.n.report(d.n.group(1)); !r.Content {
			t.Error("not content while the heir begins")
		}
		// A heartbeat that was on its way does not bind again.
		d.request(2, Report{Group: 1, Config: 1, Own: ballot(1, 2), Followed: ballot(1, 2), Content: true, Leading: true})
		if !d.n.MayPromise(1, 3, d.now) {
			t.Error("bound again to a leader that has handed over")
		}
		d.now += 54 * ms
		d.n.Tick(d.now, d.h, &d.out)
		if r := d.n.report(d.n.group(1)); r.Content {
			t.Error("content for too long with a leader that has handed over")
		}
	}
}

// TestHeirBeginsAtOnce and tells the others first.
func TestHeirBeginsAtOnce(t *testing.T) {
	d := follows(t)
	d.take()
	d.out.Reset()
	m := Release{1, 1, ballot(1, 2), 1}
	d.n.Receive(2, m, d.now, &d.out)
	if want := []Advice{{Group: 1, Campaign: ballot(2, 1)}}; !reflect.DeepEqual(d.out.Advice, want) {
		t.Errorf("advice %v; want %v", d.out.Advice, want)
	}
	if want := []Envelope{{3, m}}; !reflect.DeepEqual(d.take(), want) {
		t.Errorf("did not pass on %v", want)
	}
	if !d.n.MayPromise(1, 1, d.now) {
		t.Error("must not promise to itself")
	}
	d.n.Receive(2, m, d.now, &d.out)
	if len(d.out.Advice) != 1 {
		t.Errorf("advice %v after the same release again", d.out.Advice)
	}
	d = follows(t)
	d.h.Draining = true
	d.n.Tick(d.now, d.h, &d.out)
	d.n.Receive(2, m, d.now, &d.out)
	if len(d.out.Advice) != 0 || d.n.MayPromise(1, 3, d.now) {
		t.Error("a node that must not lead takes over")
	}
}

func TestWhy(t *testing.T) {
	d := newDesk(t, Config{Self: 1, Incarnation: 1}, mutant{})
	if why, _ := d.n.Why(1); why != reasonNoSuchGroup {
		t.Errorf("Why() = %q of a group it does not know", why)
	}
	d = follows(t)
	why, since := d.n.Why(1)
	if why != reasonLeaderWell || since >= d.now {
		t.Errorf("Why() = %q since %d, at %d; want %q since before", why, since, d.now, reasonLeaderWell)
	}
	d.n.Disconnected(2, d.now, &d.out)
	if why, since = d.n.Why(1); why != reasonLeaderDown || since != d.now {
		t.Errorf("Why() = %q since %d; want %q since %d", why, since, reasonLeaderDown, d.now)
	}
}

// TestNobodyIsLeaderForEver: once neither we nor a neighbour is content, the last
// leader is named for a short time; longer only if it goes on and we reach a quorum.
func TestNobodyIsLeaderForEver(t *testing.T) {
	d := follows(t)
	d.n.Disconnected(2, d.now, &d.out)
	d.n.Disconnected(3, d.now, &d.out)
	d.wantLeader(2, false)
	d.played(1000*ms, map[synod.NodeID]Report{})
	d.wantLeader(0, false)
	d.played(100*ms, map[synod.NodeID]Report{3: {Followed: ballot(1, 2), Content: true}})
	d.wantLeader(2, false)
	d.played(1000*ms, map[synod.NodeID]Report{2: {Own: ballot(1, 2), Followed: ballot(1, 2)}})
	d.wantLeader(2, false) // it is not well, but who else is there

	w := newWorld(3, 1, mutant{})
	w.establish(t, 0)
	w.cut(0, 1)
	w.cut(0, 2)
	w.run(w.now + 1000*ms)
	if node, content := w.nodes[0].m.Leader(1); node != 0 || content {
		t.Errorf("a leader that is cut off names %v, %v", node, content)
	}
}

// played plays peers of which only those answer that have a report.
func (d *desk) played(length Instant, reports map[synod.NodeID]Report) {
	for end := d.now + length; d.now < end; {
		d.tick()
		sent := d.take()
		d.now += ms
		for _, e := range sent {
			r, ok := reports[e.To]
			if m, beat := e.Msg.(Heartbeat); ok && beat && !m.Reply {
				r.Group, r.Config = 1, 1
				d.reply(e.To, m, r)
			}
		}
	}
}

func TestUnfitAndFit(t *testing.T) {
	d := newDesk(t, Config{Self: 1, Incarnation: 1}, mutant{})
	for _, c := range []struct {
		h      Health
		kind   EventKind
		reason string
	}{
		{Health{Disk: true, Loop: true, Score: 1}, 0, ""},
		{Health{Disk: true, Loop: true, Score: 2}, EvUnfit, reasonScore},
		{Health{Disk: true, Loop: true, Score: 3}, 0, ""},
		{Health{Disk: true, Score: 3}, EvUnfit, reasonLoop},
		{Health{}, EvUnfit, reasonDisk},
		{Health{Draining: true}, EvUnfit, reasonDraining},
		{Health{Disk: true, Loop: true}, EvFit, reasonWell},
	} {
		d.out.Reset()
		d.n.Tick(d.now, c.h, &d.out)
		var want []Event
		if c.kind != 0 {
			want = []Event{{Kind: c.kind, Node: 1, Reason: c.reason}}
		}
		if !reflect.DeepEqual(d.out.Events, want) && len(d.out.Events)+len(want) > 0 {
			t.Errorf("%+v: events %v; want %v", c.h, d.out.Events, want)
		}
	}
}

// TestEveryRefusalHasAReason keeps the codes and their texts together.
func TestEveryRefusalHasAReason(t *testing.T) {
	for code := uint8(1); code <= refuseMute; code++ {
		if refusal(code) == reasonUnknown {
			t.Errorf("refusal %d has no reason", code)
		}
	}
	if refusal(refuseMute+1) != reasonUnknown {
		t.Error("a code that does not exist has a reason")
	}
}
