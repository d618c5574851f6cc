package leader

import (
	"fmt"
	"testing"
)

// quiets are the ways in which what stands, or sleeps, could be wrong.
func quiets() []regression {
	return []regression{
		{"an answer that confirms nothing", unconfirmed},
		{"a request that renews nothing", unrenewed},
		{"what stood is not over at once", stoodByLeader},
		{"a silent leader wakes", silentLeader},
		{"a lease lapses while its group sleeps", lapsingLease},
	}
}

func TestQuiets(t *testing.T) {
	for _, r := range quiets() {
		t.Run(r.name, func(t *testing.T) {
			for seed := range uint64(20) {
				r.run(t, seed+1, mutant{})
			}
		})
	}
}

// unconfirmed: a leader counts an acceptor only by an answer to a request that was
// taken, and that had said by then that it is bound.
func unconfirmed(t testing.TB, _ uint64, off mutant) {
	d := newDesk(t, Config{Self: 1, Incarnation: 1}, off)
	f := Facts{Config: 1, Voters: three, Promised: ballot(1, 1), Own: ballot(1, 1), Leading: true}
	d.facts(f)
	d.run(200*ms, Report{Group: 1, Config: 1, Followed: ballot(1, 1)})
	bound := Report{Group: 1, Config: 1, Followed: ballot(1, 1), Bound: ballot(1, 1)}
	for _, id := range []int{1, 2} {
		d.request(nid(id), bound) // said later than what was taken last
	}
	if d.n.Leased(1, d.now) {
		t.Errorf("a lease by answers from before the acceptors were bound")
	}
	d.tick()
	sent := d.take()
	d.now += ms
	for _, e := range sent {
		if m, ok := e.Msg.(Heartbeat); ok && !m.Reply {
			a := d.says(e.To, nil)
			a.Reply, a.Seq, a.Sent, a.Lease, a.Have = true, m.Seq, m.Sent, 100*millisecond, m.Version
			d.n.Receive(e.To, a, d.now, &d.out)
		}
	}
	if d.n.Leased(1, d.now) {
		t.Errorf("a lease by answers to requests that were not taken")
	}
	d.run(60*ms, bound)
	if !d.n.Leased(1, d.now) {
		t.Errorf("no lease though all is said")
	}
}

// unrenewed: a request that was overtaken, or before which something is missing,
// renews nothing, and its answer says so.
func unrenewed(t testing.TB, _ uint64, off mutant) {
	d := follows(t)
	d.n.off = ways(off)
	d.take()
	d.request(2)
	end := d.now + Instant(d.n.cfg.Lease)
	for name, change := range map[string]func(m *Heartbeat){
		"overtaken": func(m *Heartbeat) { m.Seq = d.seq },
		"a gap":     func(m *Heartbeat) { m.Since += 5; m.Version += 5 },
		"not all":   func(m *Heartbeat) { m.Whole = false },
	} {
		m := Heartbeat{Seq: d.seq + 1, Sent: d.now, Incarnation: 1, Healthy: true, Since: d.told[2], Version: d.told[2], Whole: true}
		change(&m)
		d.now += 10 * ms
		d.n.Receive(2, m, d.now, &d.out)
		if a := d.take()[0].Msg.(Heartbeat); a.Taken {
			t.Errorf("%s: taken", name)
		}
		d.seq++
	}
	if d.n.MayPromise(1, 3, end-1) || !d.n.MayPromise(1, 3, end) {
		t.Errorf("bound for another time than from the last request that was taken")
	}
}

// stoodByLeader: a leader that says it leads no longer leaves the acceptor bound for
// as long as the last request has bound it.
func stoodByLeader(t testing.TB, _ uint64, off mutant) {
	d := follows(t)
	d.n.off = ways(off)
	d.take()
	d.request(2)
	end := d.now + Instant(d.n.cfg.Lease)
	d.now += 40 * ms
	if got := d.request(2, Report{Group: 1, Config: 1, Own: ballot(1, 2), Followed: ballot(1, 2)}); !got[0].Bound.IsZero() {
		t.Errorf("says it is bound to %v, which does not lead", got[0].Bound)
	}
	if d.n.MayPromise(1, 3, end-1) || !d.n.MayPromise(1, 3, end) {
		t.Errorf("bound for another time than from the last request in which it led")
	}
}

// silentLeader: nothing but its silence tells the groups of a leader.
func silentLeader(t testing.TB, seed uint64, off mutant) {
	off.noNet = true
	w := crooked(3, seed, off)
	w.establish(t, 0)
	w.run(w.now + 1000*ms)
	w.freeze(0)
	w.run(w.now + 4000*ms)
	w.judge(t, fmt.Sprintf("silent leader, seed %d", seed), 1)
	if w.changes != 1 {
		t.Errorf("silent leader, seed %d: %d changes; want 1", seed, w.changes)
	}
}

// lapsingLease: answers are lost for less long than a link needs to be down.
func lapsingLease(t testing.TB, seed uint64, off mutant) {
	off.noNet = true
	w := newWorld(3, seed, off)
	w.most = ms
	w.establish(t, 0)
	w.run(w.now + 2000*ms)
	w.forget()
	w.lose = func(e event) bool {
		m, ok := e.msg.(Heartbeat)
		return ok && m.Reply && e.to == 0
	}
	w.run(w.now + 250*ms)
	if w.nodes[0].m.Leased(1, w.clock(w.nodes[0])) || w.events[EvUnleased] != 1 {
		t.Errorf("lapsing lease, seed %d: told %d times that it is gone; want once", seed, w.events[EvUnleased])
	}
	w.lose = nil
	w.run(w.now + 2000*ms)
	if w.events[EvLeased] != 1 || w.changes != 0 {
		t.Errorf("lapsing lease, seed %d: told %d times that it is back; want once", seed, w.events[EvLeased])
	}
}
