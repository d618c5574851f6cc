package leader

import (
	"slices"
	"testing"

	"github.com/prytany/prytany/synod"
)

// answerEach plays peers that answer with a report of each for a while, and returns
// the campaigns advised and when the first was.
func (d *desk) answerEach(length Instant, says map[synod.NodeID]Report) (campaigns []synod.Ballot, first Instant) {
	begin := d.now
	for d.now < begin+length {
		d.tick()
		sent := d.take()
		d.now += ms
		for _, e := range sent {
			if m, ok := e.Msg.(Heartbeat); ok && !m.Reply {
				d.reply(e.To, m, says[e.To])
			}
		}
		for _, a := range d.out.Advice {
			if a.Campaign.IsZero() {
				continue
			}
			if campaigns = append(campaigns, a.Campaign); len(campaigns) == 1 {
				first = d.now - begin
			}
		}
		d.out.Reset()
	}
	return campaigns, first
}

// TestLeaderWinsVotersBack: one that has promised to a ballot that nobody uses votes
// for nobody. Whether it is used only its owner can say.
func TestLeaderWinsVotersBack(t *testing.T) {
	follows := func(b synod.Ballot) Report { return Report{Group: 1, Config: 1, Followed: b} }
	campaigns := func(b synod.Ballot) Report { return Report{Group: 1, Config: 1, Own: b, Followed: b} }
	well := follows(ballot(1, 1))
	for _, c := range []struct {
		name   string
		second Report
		third  Report
		sealed bool
		want   []synod.Ballot
	}{
		{"all follow", well, well, false, nil},
		{"one follows its own that it has given up", well, follows(ballot(2, 3)), false, []synod.Ballot{ballot(3, 1)}},
		{"one follows one that its owner has given up", well, follows(ballot(2, 2)), false, []synod.Ballot{ballot(3, 1)}},
		{"one follows one of this node's that is lost", well, follows(ballot(2, 1)), false, []synod.Ballot{ballot(3, 1)}},
		{"one campaigns", well, campaigns(ballot(2, 3)), false, nil},
		{"one follows a candidate", campaigns(ballot(2, 2)), follows(ballot(2, 2)), false, nil},
		{"one follows nobody that is known", well, follows(ballot(2, 9)), false, nil},
		{"one follows a lower one", well, follows(ballot(0, 3)), false, nil},
		{"the configuration ends", well, follows(ballot(2, 3)), true, nil},
	} {
		d, f := leads(t)
		f.Sealed = c.sealed
		d.facts(f)
		d.answerEach(100*ms, map[synod.NodeID]Report{2: well, 3: well})
		got, after := d.answerEach(Instant(2*mendAfter*d.n.cfg.Silence), map[synod.NodeID]Report{2: c.second, 3: c.third})
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: campaigns with %v; want %v", c.name, got, c.want)
		}
		if least := Instant(mendAfter * d.n.cfg.Silence); len(got) > 0 && (after < least || after > least+200*ms) {
			t.Errorf("%s: after %v; want %v", c.name, after, least)
		}
	}
}

// TestLeaderMendsLessAndLess: a voter that stands aside again and again does not make a
// leader that is always about to begin. Sessions that nobody renews would never end.
func TestLeaderMendsLessAndLess(t *testing.T) {
	d, f := leads(t)
	well, gone := Report{Group: 1, Config: 1, Followed: ballot(1, 1)}, Report{Group: 1, Config: 1, Followed: ballot(2, 3)}
	silence := Instant(d.n.cfg.Silence)

	// It comes back by itself, time and again.
	for range 10 {
		if got, _ := d.answerEach(mendAfter*silence-100*ms, map[synod.NodeID]Report{2: well, 3: gone}); len(got) != 0 {
			t.Fatalf("campaigns with %v though the voter comes back", got)
		}
		d.answerEach(100*ms, map[synod.NodeID]Report{2: well, 3: well})
	}

	// It does not, and does it again under each new ballot.
	mends := func(round uint64) (took Instant) {
		begin, got := d.now, []synod.Ballot(nil)
		for len(got) == 0 && d.now < begin+2*(mendEvery<<mendDoubles)*silence {
			got, _ = d.answerEach(10*ms, map[synod.NodeID]Report{2: well, 3: gone})
		}
		if want := []synod.Ballot{ballot(round, 1)}; !slices.Equal(got, want) {
			t.Fatalf("campaigns with %v; want %v", got, want)
		}
		took = d.now - begin
		f.Promised, f.Own = got[0], got[0]
		d.facts(f)
		well.Followed, gone.Followed = got[0], ballot(round+1, 3)
		return took
	}
	round := uint64(3)
	for i := range mendDoubles + 3 {
		least, most := Instant(mendAfter)*silence, Instant(mendAfter+1)*silence
		if i > 0 {
			least = mendEvery << min(i-1, mendDoubles) * silence
			most = least + silence
		}
		if took := mends(round); took < least-silence || took > most {
			t.Errorf("the leader mends after %d ms, the %d. time; want %d to %d", took/ms, i+1, least/ms, most/ms)
		}
		round += 2
	}

	// What is long past makes it wait no longer.
	d.answerEach(2*(mendEvery<<mendDoubles)*silence, map[synod.NodeID]Report{2: well, 3: well})
	for i, want := range []Instant{mendAfter * silence, mendEvery * silence} {
		if took := mends(round); took < want-silence || took > want+silence {
			t.Errorf("the leader mends after %d ms, the %d. time after an hour of rest; want %d", took/ms, i+1, want/ms)
		}
		round += 2
	}
}
