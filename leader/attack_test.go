package leader

import "testing"

// A bare question to a peer whose link is down renews what stands by this node if it is
// whole. It is not while something waits to be said: that the leadership, or the
// configuration, is another one.
func TestABareQuestionIsNotWholeBeforeAllIsSaid(t *testing.T) {
	d := newDesk(t, Config{Self: 1, Incarnation: 1, Seed: 7}, mutant{})
	lead := Facts{Config: 1, Voters: three[:2], Promised: ballot(1, 1), Own: ballot(1, 1), Leading: true}
	d.facts(lead)
	follows := Report{Group: 1, Config: 1, Followed: ballot(1, 1), Content: true, Bound: ballot(1, 1), Asks: true}
	d.run(500*ms, follows)
	if !d.n.Leased(1, d.now) {
		t.Fatal("no lease")
	}
	d.n.Disconnected(2, d.now, &d.out)
	for d.n.peer(2).voice.acked != d.n.peer(2).voice.top { // all is said and heard, by its own questions
		d.request(2, follows)
		m := d.says(2, []Report{follows})
		d.seq++
		m.Seq, m.Sent, m.Have = d.seq, d.now, d.n.peer(2).voice.top
		d.n.Receive(2, m, d.now, &d.out)
	}
	d.run(50*ms, follows)
	d.n.Disconnected(2, d.now, &d.out)
	d.take()
	lead.Config, lead.Own = 2, ballot(1, 1)
	d.facts(lead)
	d.tick()
	for _, e := range d.take() {
		m, ok := e.Msg.(Heartbeat)
		if ok && !m.Reply && m.Whole {
			t.Errorf("%+v says that nothing is unsaid; configuration 2 is", m)
		}
	}
}

// What an acceptor is bound to in one configuration says nothing of the next, even if
// the ballot has the same number.
func TestABindingOfAnotherConfigurationIsAnotherOne(t *testing.T) {
	d := newDesk(t, Config{Self: 1, Incarnation: 1, Seed: 7}, mutant{})
	d.facts(Facts{Config: 1, Voters: three, Promised: ballot(1, 1), Own: ballot(1, 1), Leading: true})
	p := d.n.peer(2)
	d.n.note(p, Report{Group: 1, Config: 1, Bound: ballot(1, 1)}, 5)
	d.n.note(p, Report{Group: 1, Config: 2, Bound: ballot(1, 1)}, 9)
	if h := p.ear.says.get(1); h.bound != 9 {
		t.Errorf("bound since version %d; want 9, since when it is bound in configuration 2", h.bound)
	}
}
