package sim

import (
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
)

// A dormitory is a world of three nodes, with so many groups beside main that nobody
// asks for anything, led by each of the nodes in turn.
type dormitory struct {
	*World
	t *testing.T
}

func newDormitory(t *testing.T, groups int, seed uint64) *dormitory {
	o := storyOptions(3, seed)
	o.Clients, o.Refused = 0, 0
	d := &dormitory{newWorld(o), t}
	d.nemesis.Begin()
	for _, n := range d.nodes {
		n.start()
	}
	d.run(2 * time.Second)
	r := rand.New(rand.NewPCG(seed, 0x646f726d))
	for i := range groups {
		d.addSide(i, r)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, n := range d.nodes {
		for _, s := range d.sides {
			_ = n.host.Create(ctx, s.id, s.begun)
		}
		n.pollBy(d.now)
	}
	d.run(5 * time.Second)
	for i, s := range d.sides {
		if l := d.leader(s); l == nil {
			t.Fatalf("group %d has no leader after 5 s", s.id)
		} else if to := d.nodes[i%3]; l != to {
			_, _ = l.host.HandOver(ctx, s.id, to.id)
			l.pollBy(d.now)
		}
		d.run(20 * time.Millisecond)
	}
	d.run(10 * time.Second)
	return d
}

// run lets time pass.
func (d *dormitory) run(long time.Duration) { d.until(d.now + long) }

// leader returns who leads s, nil if nobody does, or two do.
func (d *dormitory) leader(s *side) (who *node) {
	for _, n := range d.nodes {
		if n.host != nil && n.ledgers[s.id] != nil && n.ledgers[s.id].Leading {
			if who != nil {
				return nil
			}
			who = n
		}
	}
	return who
}

// write has n put a number into s, and returns what tells whether it is in.
func (d *dormitory) write(n *node, s *side) (done *bool) {
	done = new(bool)
	s.next++
	n.host.Submit(s.id, replica.KindPropose, binary.BigEndian.AppendUint64(nil, s.next), func(r replica.Result) {
		if r.Err != nil {
			d.t.Errorf("a write to group %d by %s ends with %v", s.id, n.name, r.Err)
			return
		}
		s.oracle.Answered(r.Slot, r.Payload)
		*done = true
	})
	n.pollBy(d.now)
	return done
}

// writes has every group serve a write, by all nodes in turn, within a bound.
func (d *dormitory) writes(within time.Duration) {
	d.t.Helper()
	var done []*bool
	for i, s := range d.sides {
		done = append(done, d.write(d.nodes[(i/3)%3], s))
	}
	d.run(within)
	late := 0
	for _, ok := range done {
		if !*ok {
			late++
		}
	}
	if late > 0 {
		d.t.Errorf("%d of %d groups have not served a write within %v", late, len(done), within)
	}
}

// dormitories is how many groups there are in these tests.
const dormitories = 200

// Groups in which nothing happens send nothing.
func TestIdleGroupsSendNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("a long search in one goroutine")
	}
	const long = 3 * time.Minute
	rate := func(groups int) float64 {
		d := newDormitory(t, groups, 1)
		before := d.stats.Packets
		d.run(long)
		return float64(d.stats.Packets-before) / long.Seconds()
	}
	alone, many := rate(0), rate(dormitories)
	t.Logf("%.1f packets a second without, %.1f with %d groups", alone, many, dormitories)
	if math.Abs(many/alone-1) > 0.02 {
		t.Errorf("%.1f packets a second with %d groups, %.1f without; want the same within 2 %%", many, dormitories, alone)
	}
}

// The crash of a node wakes the groups that it led, and no others.
func TestCrashWakesOnlyItsGroups(t *testing.T) {
	if testing.Short() {
		t.Skip("a long search in one goroutine")
	}
	const within = 3 * time.Second
	for seed := uint64(1); seed <= 3; seed++ {
		d := newDormitory(t, dormitories, seed)
		d.run(time.Minute)
		crashed := d.nodes[seed%3]
		led, elections := make(map[paxos.GroupID]bool), make(map[paxos.GroupID]int)
		for _, s := range d.sides {
			led[s.id], elections[s.id] = d.leader(s) == crashed, s.elections
		}
		crashed.DownFor++
		crashed.down("is killed")
		slowest, begin := time.Duration(0), d.now
		for d.now < begin+within {
			d.run(10 * time.Millisecond)
			for _, s := range d.sides {
				if d.leader(s) == nil {
					slowest = d.now - begin
				}
			}
		}
		d.run(30 * time.Second)
		n, wrong := 0, 0
		for _, s := range d.sides {
			want := 0
			if led[s.id] {
				want = 1
				n++
			}
			if got := s.elections - elections[s.id]; got != want {
				wrong++
				t.Logf("seed %d: group %d: %d elections, want %d", seed, s.id, got, want)
			}
		}
		t.Logf("seed %d: the node led %d groups; all are led again after %v", seed, n, slowest)
		if slowest > within-20*time.Millisecond || wrong > 0 || n < dormitories/6 || n > dormitories/2 {
			t.Errorf("seed %d: %d of %d groups with too few or too many elections; the last without a leader after %v", seed, wrong, len(d.sides), slowest)
		}
	}
}

// A group that has slept for minutes serves a write at once; after a node was cut off
// for a while too, by the node that was.
func TestSleepingGroupsServe(t *testing.T) {
	if testing.Short() {
		t.Skip("a long search in one goroutine")
	}
	d := newDormitory(t, dormitories, 2)
	d.run(5 * time.Minute)
	d.writes(time.Second)
	d.run(time.Minute)
	heal := d.net.Isolate(1)
	d.run(10 * time.Second)
	heal()
	d.run(2 * time.Second)
	d.writes(time.Second)
	d.run(5 * time.Second)
	for _, s := range d.sides {
		for _, n := range d.nodes {
			if got := n.ledgers[s.id].Slot; got != s.oracle.Chosen() {
				t.Errorf("%s has applied slot %d of group %d; chosen is %d", n.name, got, s.id, s.oracle.Chosen())
			}
		}
	}
}

// A follower that lost the last thing that was said before its group went to sleep
// learns it all the same.
func TestSleepingFollowerCatchesUp(t *testing.T) {
	if testing.Short() {
		t.Skip("a long search in one goroutine")
	}
	const within = 5 * time.Second
	d := newDormitory(t, 30, 3)
	missed := 0
	for _, s := range d.sides {
		lead := d.leader(s)
		follower := d.nodes[(lead.index+1)%3]
		heal := d.net.Cut(lead.index, follower.index)
		done := d.write(lead, s)
		d.run(60 * time.Millisecond) // no link counts as down so soon
		heal()
		if !*done {
			t.Fatalf("group %d: a write without %s is not done", s.id, follower.name)
		}
		if follower.ledgers[s.id].Slot < s.oracle.Chosen() {
			missed++
		}
		d.run(within)
		if got := follower.ledgers[s.id].Slot; got != s.oracle.Chosen() {
			t.Errorf("%v after it missed a slot of group %d, %s has applied %d; chosen is %d", within, s.id, follower.name, got, s.oracle.Chosen())
		}
	}
	if missed < len(d.sides)*9/10 {
		t.Errorf("only %d of %d followers have missed anything", missed, len(d.sides))
	}
}
