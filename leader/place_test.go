package leader

import (
	"slices"
	"testing"

	"github.com/prytany/prytany/synod"
)

var five = []Voter{{1, 1}, {2, 2}, {3, 3}, {4, 4}, {5, 5}}

// hears has the desk's peers answer, each with its own report.
func (d *desk) hears(reports map[synod.NodeID]Report) {
	d.tick()
	sent := d.take()
	d.now += ms
	for _, e := range sent {
		if m, ok := e.Msg.(Heartbeat); ok && !m.Reply {
			r := reports[e.To]
			r.Group, r.Config = 1, 1
			d.reply(e.To, m, r)
		}
	}
}

func TestOrderOfCandidates(t *testing.T) {
	near := int64(ms)
	for name, c := range map[string]struct {
		own     Facts
		reports map[synod.NodeID]Report
		change  func(d *desk)
		rank    int64
		heir    synod.NodeID
	}{
		"by ordinal": {Facts{}, map[synod.NodeID]Report{
			1: {Distance: near}, 2: {Distance: 2 * near}, 4: {Distance: near}, 5: {Distance: near}}, nil, 2, 1},
		"by distance": {Facts{}, map[synod.NodeID]Report{
			1: {Distance: 30 * near}, 2: {Distance: 7 * near}, 4: {Distance: 3 * near}, 5: {Distance: 5*near - 1}}, nil, 0, 4},
		"by what they hold": {Facts{Decided: 25_000}, map[synod.NodeID]Report{
			1: {Distance: near, Decided: 14_000}, 2: {Distance: 9 * near, Decided: 35_001}, 4: {Distance: near, Decided: 34_000}, 5: {Distance: near, Decided: 45_000}}, nil, 3, 5},
		"unknown is far": {Facts{}, map[synod.NodeID]Report{1: {}, 2: {}, 4: {Distance: 90 * near}, 5: {}}, nil, 0, 4},
		"who leaves or is ill does not count": {Facts{}, map[synod.NodeID]Report{
			1: {Distance: near}, 2: {Distance: near}, 4: {Distance: near}, 5: {Distance: 2 * near}}, func(d *desk) {
			d.n.SetGossip(1, GossipLeaving, d.now, &d.out)
			d.n.peer(2).healthy = false
			d.n.Disconnected(4, d.now, &d.out)
		}, 0, 5},
		"nobody": {Facts{Decided: 30_000}, map[synod.NodeID]Report{}, nil, 0, 0},
	} {
		d := newDesk(t, Config{Self: 3, Incarnation: 1}, mutant{})
		f := c.own
		f.Config, f.Voters = 1, five
		d.facts(f)
		d.hears(c.reports)
		d.hears(c.reports)
		if c.change != nil {
			c.change(d)
		}
		if got := d.n.rank(d.n.group(1)); got != c.rank {
			t.Errorf("%s: rank %d; want %d", name, got, c.rank)
		}
		if got := d.n.Heir(1); got != c.heir {
			t.Errorf("%s: heir %v; want %v", name, got, c.heir)
		}
	}
	if d, _ := leads(t); d.n.Heir(77) != 0 {
		t.Error("an heir of a group it does not know")
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		voters int
		self   synod.NodeID
		trips  []int64 // ms, to the others
		want   int64
	}{{1, 1, nil, 0}, {2, 1, []int64{7}, 7}, {3, 1, []int64{9, 4}, 4}, {5, 1, []int64{9, 4, 30, 6}, 6}, {5, 1, []int64{9, 0, 0, 0}, 0}, {3, 9, []int64{3, 8, 5}, 5}} {
		d := newDesk(t, Config{Self: c.self, Incarnation: 1}, mutant{})
		d.facts(Facts{Config: 1, Voters: five[:c.voters]})
		for i, p := range d.n.peers {
			if c.trips[i] > 0 {
				p.up = true
				p.trips.add(c.trips[i] * millisecond)
			}
		}
		if got := d.n.reach(d.n.group(1)); got != c.want*millisecond {
			t.Errorf("%d voters, trips %v: distance %d ms; want %d", c.voters, c.trips, got/millisecond, c.want)
		}
	}
}

func TestRoundTrips(t *testing.T) {
	var v trips
	r := random(1)
	var all []int64
	for range 1000 {
		x := r.between(1, 50)
		v.add(x)
		all = append(all, x)
		newest := slices.Sorted(slices.Values(all[max(0, len(all)-tripsKept):]))
		if !slices.Equal(v.sorted[:v.n], newest) {
			t.Fatalf("after %d: %v; want %v", len(all), v.sorted[:v.n], newest)
		}
		if v.median() != newest[(len(newest)-1)/2] || v.percent(99) != newest[(len(newest)-1)*99/100] {
			t.Fatalf("median %d, 99 %% %d of %v", v.median(), v.percent(99), newest)
		}
	}
}

// TestMoves wants the lead moved once to who has stood nearer all the time, and
// not for a little, nor to who is not well.
func TestMoves(t *testing.T) {
	for name, c := range map[string]struct {
		own, theirs int64 // ms
		report      func(n int) Report
		want        int // times in 25 s; MoveAfter is 10 s
	}{
		"nearer":            {20, 10, func(int) Report { return Report{} }, 2},
		"not by a fifth":    {50, 41, func(int) Report { return Report{} }, 0},
		"not by 5 ms":       {8, 4, func(int) Report { return Report{} }, 0},
		"behind":            {20, 10, func(int) Report { return Report{Decided: 1} }, 0},
		"nearer by turns":   {20, 10, func(n int) Report { return Report{Distance: int64(n/100%2) * 20 * millisecond} }, 0},
		"does not know yet": {20, 0, func(int) Report { return Report{} }, 0},
	} {
		d := newDesk(t, Config{Self: 1, Incarnation: 1, MoveAfter: 10_000 * millisecond}, mutant{})
		f := Facts{Config: 1, Voters: three, Promised: ballot(1, 1), Own: ballot(1, 1), Leading: true, Decided: 20_000}
		d.facts(f)
		moves := 0
		for n := 0; d.now < 85_000*ms; n++ {
			d.tick()
			sent := d.take()
			d.now += Instant(c.own) * ms
			for _, e := range sent {
				m, ok := e.Msg.(Heartbeat)
				if !ok || m.Reply {
					continue
				}
				r := Report{Followed: ballot(1, 1), Decided: 20_000}
				if e.To == 3 {
					x := c.report(n)
					r.Distance = x.Distance + c.theirs*millisecond
					r.Decided -= 19_000 * x.Decided
				}
				r.Group, r.Config = 1, 1
				d.reply(e.To, m, r)
			}
			for _, a := range d.out.Advice {
				if a.HandOver != 3 || d.now < 60_000*ms {
					t.Errorf("%s: %+v at %d ms", name, a, d.now/ms)
				}
				moves++
			}
			d.out.Reset()
		}
		if moves != c.want && (c.want == 0 || moves == 0 || moves > 3) {
			t.Errorf("%s: advised %d times; want %d", name, moves, c.want)
		}
	}
}
