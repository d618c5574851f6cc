package sim

import (
	"flag"
	"fmt"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/prytany/prytany/leader"
)

var storySeeds = flag.Int("sim.stories", 0, "seeds of each story; 0 means as many as it says, or a fifth with -short")

const ms = time.Millisecond

// A story is what happens to a cluster whose leader is established, and what it
// may cost.
type story struct {
	name    string
	nodes   int
	seeds   int // 0 means 20
	happens func(s *scene)
	length  time.Duration // from then on; after it everything heals
	changes [2]int        // of leader, from then to the end: at least and at most
	median  time.Duration // of the seeds: the longest time without an acknowledged write
	worst   time.Duration // of any seed
	within  time.Duration // in which each request at a node that is served has its answer; 0 means 1 s
	fails   []int         // parts at which requests may fail, or take long
	leads   int           // if not 0, the part that leads in the end
	options func(o *Options)
}

// cost is what a story cost with one seed.
type cost struct {
	changes []change
	gap     time.Duration
	slowest time.Duration // answer at a node that must be served
}

// tell runs a story with one seed.
func (y *story) tell(o Options) (c cost, err error) {
	if y.options != nil {
		y.options(&o)
	}
	s := newScene(o)
	err = s.play(func() error {
		s.establish()
		y.happens(s)
		s.until(s.begun + y.length)
		led := s.parts[0]
		if n := len(s.changes); n > 0 {
			led = s.changes[n-1].node
		}
		s.end()
		if err := s.check(); err != nil {
			return err
		}
		c = cost{changes: s.changes, gap: s.gap}
		for part, node := range s.parts {
			if !slices.Contains(y.fails, part) {
				c.slowest = max(c.slowest, s.desks[node].slowest)
			}
		}
		if y.leads != 0 && led != s.parts[y.leads] {
			return fmt.Errorf("node %d leads; want node %d", led+1, s.parts[y.leads]+1)
		}
		return y.judge(s)
	})
	return c, err
}

// judge returns what was too much.
func (y *story) judge(s *scene) error {
	if n := len(s.changes); n < y.changes[0] || n > y.changes[1] {
		return fmt.Errorf("%d changes of leader, want %d to %d: %v after %v", n, y.changes[0], y.changes[1], s.changes, s.begun)
	}
	if s.gap > y.worst {
		return fmt.Errorf("no write is acknowledged for %v, until %v; want %v at most; the story began at %v", s.gap, s.gapEnds, y.worst, s.begun)
	}
	within := y.within
	if within == 0 {
		within = time.Second
	}
	for part, node := range s.parts {
		d := &s.desks[node]
		switch {
		case d.done == 0 && !slices.Contains(y.fails, part):
			return fmt.Errorf("the client of node %d was never served", node+1)
		case slices.Contains(y.fails, part):
		case d.failed > 0:
			return fmt.Errorf("%d requests at node %d failed; the first was %s", d.failed, node+1, d.first)
		case d.slowest > within:
			return fmt.Errorf("a request at node %d took %v; want %v at most", node+1, d.slowest, within)
		}
	}
	return nil
}

// stories are the faults that the design must survive. What they may cost is what
// it promises for a cluster without disks and delays, and some milliseconds more.
var stories = []story{
	{
		name: "leader killed, 3 nodes", nodes: 3, length: 3 * time.Second, fails: []int{0},
		changes: [2]int{1, 1}, median: 220 * ms, worst: 430 * ms,
		happens: func(s *scene) { s.kill(0) },
	},
	{
		name: "leader killed, 5 nodes", nodes: 5, length: 3 * time.Second, fails: []int{0},
		changes: [2]int{1, 1}, median: 220 * ms, worst: 430 * ms,
		happens: func(s *scene) { s.kill(0) },
	},
	{
		name: "leader gone without a word, 3 nodes", nodes: 3, length: 3 * time.Second, fails: []int{0},
		changes: [2]int{1, 1}, median: 580 * ms, worst: 830 * ms, options: unseen,
		happens: func(s *scene) { s.kill(0) },
	},
	{
		name: "leader gone without a word, 5 nodes", nodes: 5, length: 3 * time.Second, fails: []int{0},
		changes: [2]int{1, 1}, median: 580 * ms, worst: 830 * ms, options: unseen,
		happens: func(s *scene) { s.kill(0) },
	},
	{
		name: "leader stopped 4 s, 3 nodes", nodes: 3, length: 6 * time.Second, fails: []int{0},
		changes: [2]int{1, 1}, median: 580 * ms, worst: 830 * ms,
		happens: func(s *scene) { s.stop(0, 4*time.Second) },
	},
	{
		name: "leader stopped 4 s, 5 nodes", nodes: 5, length: 6 * time.Second, fails: []int{0},
		changes: [2]int{1, 1}, median: 580 * ms, worst: 830 * ms,
		happens: func(s *scene) { s.stop(0, 4*time.Second) },
	},
	{
		name: "leader restarts within its lease", nodes: 3, length: 3 * time.Second, fails: []int{0},
		changes: [2]int{1, 1}, median: 350 * ms, worst: 2 * time.Second,
		happens: func(s *scene) {
			s.kill(0)
			s.in(s.between(5*ms, 140*ms), func() { s.restart(0) })
		},
	},
	{
		name: "follower killed and restarted", nodes: 3, length: 3 * time.Second, fails: []int{1},
		changes: [2]int{0, 0}, median: 100 * ms, worst: 100 * ms,
		happens: func(s *scene) {
			s.kill(1)
			s.in(s.between(5*ms, time.Second), func() { s.restart(1) })
		},
	},
	{
		name: "all but a quorum killed and restarted", nodes: 5, length: 4 * time.Second, fails: []int{1, 2},
		changes: [2]int{0, 0}, median: 100 * ms, worst: 100 * ms,
		happens: func(s *scene) {
			s.kill(1)
			s.in(s.between(0, 500*ms), func() { s.kill(2) })
			s.in(time.Second, func() { s.restart(1); s.restart(2) })
		},
	},
	{
		name: "one link cut, leader at the end", nodes: 3, length: 3 * time.Second,
		changes: [2]int{0, 0}, median: 100 * ms, worst: 150 * ms,
		happens: func(s *scene) { s.cut(0, 1) },
	},
	{
		name: "one link cut, leader in the middle", nodes: 3, length: 3 * time.Second,
		changes: [2]int{0, 0}, median: 100 * ms, worst: 150 * ms,
		happens: func(s *scene) { s.cut(1, 2) },
	},
	{
		name: "a chain of five, leader in the middle", nodes: 5, length: 3 * time.Second,
		changes: [2]int{0, 0}, median: 100 * ms, worst: 150 * ms,
		happens: func(s *scene) { s.only([2]int{1, 3}, [2]int{3, 0}, [2]int{0, 4}, [2]int{4, 2}) },
	},
	{
		name: "leader keeps two of four links", nodes: 5, length: 3 * time.Second,
		changes: [2]int{0, 0}, median: 100 * ms, worst: 150 * ms,
		happens: func(s *scene) { s.cut(0, 1); s.cut(0, 2) },
	},
	{
		name: "quorum-loss", nodes: 5, length: 3 * time.Second, leads: 1, within: 2 * time.Second,
		changes: [2]int{1, 1}, median: 700 * ms, worst: 900 * ms,
		happens: func(s *scene) { s.only([2]int{1, 0}, [2]int{1, 2}, [2]int{1, 3}, [2]int{1, 4}) },
	},
	{
		name: "constrained election: who can lead lags behind", nodes: 5, length: 6 * time.Second, leads: 1, fails: []int{0, 1},
		changes: [2]int{1, 1}, median: 700 * ms, worst: 900 * ms, within: 2 * time.Second,
		happens: func(s *scene) {
			s.alone(1, true)
			s.in(time.Second, func() {
				s.only([2]int{1, 2}, [2]int{1, 3}, [2]int{1, 4})
				s.kill(0)
			})
		},
	},
	{
		name: "two nodes hang off the core", nodes: 5, length: 3 * time.Second,
		changes: [2]int{0, 0}, median: 100 * ms, worst: 150 * ms,
		happens: func(s *scene) {
			s.only([2]int{0, 1}, [2]int{0, 2}, [2]int{1, 2}, [2]int{1, 3}, [2]int{2, 4})
		},
	},
	{
		// It takes requests by way of the follower until it knows that it has been
		// replaced, and knew only when it had asked all others, out of reach or not.
		name: "leader keeps one follower", nodes: 5, length: 3 * time.Second,
		changes: [2]int{1, 1}, median: 700 * ms, worst: 900 * ms,
		happens: func(s *scene) { s.cut(0, 2); s.cut(0, 3); s.cut(0, 4) },
	},
	{
		name: "one direction lost, from the leader, 3 nodes", nodes: 3, length: 3 * time.Second,
		changes: [2]int{0, 0}, median: 100 * ms, worst: 150 * ms,
		happens: func(s *scene) { s.pass(0, 1, false) },
	},
	{
		name: "one direction lost, to the leader, 3 nodes", nodes: 3, length: 3 * time.Second,
		changes: [2]int{0, 0}, median: 100 * ms, worst: 150 * ms,
		happens: func(s *scene) { s.pass(1, 0, false) },
	},
	{
		name: "two directions lost, to and from the leader, 5 nodes", nodes: 5, length: 3 * time.Second,
		changes: [2]int{0, 0}, median: 100 * ms, worst: 150 * ms,
		happens: func(s *scene) { s.pass(1, 0, false); s.pass(0, 2, false) },
	},
	{
		name: "leader hears nobody", nodes: 3, length: 3 * time.Second, fails: []int{0},
		changes: [2]int{1, 1}, median: 700 * ms, worst: 900 * ms, within: 2 * time.Second,
		happens: func(s *scene) { s.deafen(0) },
	},
	{
		name: "follower hears nobody", nodes: 3, length: 3 * time.Second, fails: []int{1},
		changes: [2]int{0, 0}, median: 100 * ms, worst: 150 * ms,
		happens: func(s *scene) { s.deafen(1) },
	},
	{
		name: "a follower flaps", nodes: 5, length: 7 * time.Second, fails: []int{1},
		changes: [2]int{0, 0}, median: 100 * ms, worst: 150 * ms, happens: flapNode(6 * time.Second),
	},
	{
		name: "a follower flaps for minutes", nodes: 3, seeds: 1, length: 121 * time.Second, fails: []int{1},
		changes: [2]int{0, 0}, median: 100 * ms, worst: 150 * ms, happens: flapNode(2 * time.Minute),
	},
	{
		name: "the leader's link flaps", nodes: 3, length: 7 * time.Second, fails: []int{1},
		changes: [2]int{0, 0}, median: 100 * ms, worst: 150 * ms, happens: flapLink(6 * time.Second),
	},
	{
		name: "the leader's link flaps for minutes", nodes: 3, seeds: 1, length: 121 * time.Second, fails: []int{1},
		changes: [2]int{0, 0}, median: 100 * ms, worst: 150 * ms, happens: flapLink(2 * time.Minute),
	},
	{
		name: "a node that was alone for long comes back", nodes: 3, seeds: 4, length: 25 * time.Second, fails: []int{1},
		changes: [2]int{0, 0}, median: 100 * ms, worst: 150 * ms, options: shortLogs,
		happens: func(s *scene) {
			s.alone(1, true)
			s.in(20*time.Second, func() { s.alone(1, false) })
		},
	},
	{
		name: "a leader that was alone for long comes back", nodes: 5, seeds: 3, length: 18 * time.Second, fails: []int{0},
		changes: [2]int{1, 1}, median: 580 * ms, worst: 830 * ms, options: shortLogs,
		happens: func(s *scene) {
			s.alone(0, true)
			s.in(15*time.Second, func() { s.alone(0, false) })
		},
	},
	{
		name: "split, leader alone", nodes: 3, length: 4 * time.Second, fails: []int{0},
		changes: [2]int{1, 1}, median: 580 * ms, worst: 830 * ms,
		happens: func(s *scene) { s.split(1) },
	},
	{
		name: "split, leader in the minority", nodes: 5, length: 4 * time.Second, fails: []int{0, 1},
		changes: [2]int{1, 1}, median: 580 * ms, worst: 830 * ms,
		happens: func(s *scene) { s.split(2) },
	},
	{
		name: "30 % of all packets are lost", nodes: 5, length: 5 * time.Second, within: 2 * time.Second, fails: []int{1, 2, 3, 4},
		changes: [2]int{0, 0}, median: time.Second, worst: 3 * time.Second,
		happens: func(s *scene) { s.loss(0.3) },
	},
	{
		name: "30 % of all packets are lost for 30 s", nodes: 3, seeds: 4, length: 31 * time.Second, within: 2 * time.Second, fails: []int{1, 2},
		changes: [2]int{0, 0}, median: time.Second, worst: 3 * time.Second,
		happens: func(s *scene) {
			s.loss(0.3)
			s.in(30*time.Second, func() { s.loss(0) })
		},
	},
	{
		name: "what the leader sends takes 300 ms more", nodes: 3, length: 6 * time.Second,
		changes: [2]int{0, 0}, median: 700 * ms, worst: 900 * ms, within: 2 * time.Second,
		happens: func(s *scene) { s.far(0, 300*ms) },
	},
	{
		name: "what the leader sends takes 1 s more", nodes: 3, length: 6 * time.Second, fails: []int{0},
		changes: [2]int{1, 1}, median: 700 * ms, worst: 900 * ms, within: 2 * time.Second,
		happens: func(s *scene) { s.far(0, time.Second) },
	},
	{
		// It has promised its ballot to itself and says so, two seconds after it was
		// supported. By then another node leads under a lower one, and is left alone.
		name: "a candidate's promise takes 2 s", nodes: 5, length: 6 * time.Second, fails: []int{0, 1, 2, 3, 4},
		changes: [2]int{1, 1}, median: 350 * ms, worst: 430 * ms,
		happens: func(s *scene) {
			s.kill(0)
			last := slices.Index(s.parts, slices.Max(s.parts[1:]))
			s.fit(last, false)
			s.claimed = func(int) {
				s.fit(last, true)
				s.disk(last, 2*time.Second, 2*time.Second)
				s.in(time.Second, func() { s.disk(last, 0, 0) })
			}
		},
	},
	{
		// Several candidates wait for their promises at once. If they all withdrew for
		// each other's sake, nobody would be left.
		name: "leader killed, all disks slow", nodes: 5, length: 8 * time.Second, fails: []int{0, 1, 2, 3, 4},
		changes: [2]int{1, 4}, median: 1600 * ms, worst: 2500 * ms,
		happens: func(s *scene) {
			for part := range s.parts {
				s.disk(part, 100*ms, 300*ms)
			}
			s.kill(0)
			s.in(5*time.Second, func() {
				for part := range s.parts {
					s.disk(part, 0, 0)
				}
			})
		},
	},
	{
		name: "leader's writes take 1 to 5 s", nodes: 3, length: 10 * time.Second, fails: []int{0},
		changes: [2]int{1, 1}, median: 830 * ms, worst: 2500 * ms, within: 2 * time.Second,
		happens: func(s *scene) { s.disk(0, time.Second, 5*time.Second) },
	},
	{
		name: "leader's disk hangs", nodes: 3, length: 10 * time.Second, fails: []int{0},
		changes: [2]int{1, 1}, median: 830 * ms, worst: 2500 * ms, within: 2 * time.Second,
		happens: func(s *scene) { s.disk(0, 7*time.Second, 7*time.Second) },
	},
	{
		name: "a follower's writes take 1 to 5 s", nodes: 3, length: 8 * time.Second, fails: []int{1},
		changes: [2]int{0, 0}, median: 100 * ms, worst: 150 * ms,
		happens: func(s *scene) { s.disk(1, time.Second, 5*time.Second) },
	},
	{
		name: "all lose power", nodes: 3, length: 6 * time.Second, fails: []int{0, 1, 2},
		changes: [2]int{1, 2}, median: 1800 * ms, worst: 3 * time.Second, options: forgetful,
		happens: powerLoss,
	},
	{
		name: "all lose power, 5 nodes", nodes: 5, length: 6 * time.Second, fails: []int{0, 1, 2, 3, 4},
		changes: [2]int{1, 2}, median: 1800 * ms, worst: 3 * time.Second, options: forgetful,
		happens: powerLoss,
	},
	{
		name: "rolling restart, leader last", nodes: 3, length: 8 * time.Second, fails: []int{0, 1, 2},
		changes: [2]int{1, 1}, median: 300 * ms, worst: 300 * ms,
		happens: func(s *scene) { s.roll([]int{1, 2, 0}, 600*ms, 400*ms, time.Second) },
	},
	{
		name: "rolling restart, leader first", nodes: 3, length: 8 * time.Second, fails: []int{0, 1, 2},
		changes: [2]int{1, 3}, median: 300 * ms, worst: 300 * ms,
		happens: func(s *scene) { s.roll([]int{0, 1, 2}, 600*ms, 400*ms, time.Second) },
	},
	{
		name: "the lead is handed over", nodes: 5, length: 2 * time.Second, leads: 1,
		changes: [2]int{1, 1}, median: 150 * ms, worst: 150 * ms,
		happens: func(s *scene) { s.handOver(0, 1) },
	},
	{
		name: "the lead goes round", nodes: 3, length: 4 * time.Second,
		changes: [2]int{8, 8}, median: 150 * ms, worst: 150 * ms,
		happens: func(s *scene) {
			for i := range 8 {
				s.in(time.Duration(i)*400*ms, func() { s.handOver(i%3, (i+1)%3) })
			}
		},
	},
	{
		name: "the lead is handed over and the old leader killed", nodes: 3, length: 3 * time.Second, fails: []int{0},
		changes: [2]int{1, 2}, median: 220 * ms, worst: 430 * ms,
		happens: func(s *scene) {
			s.handOver(0, 1)
			s.in(s.between(0, 6*ms), func() { s.kill(0) })
		},
	},
	{
		name: "the lead is handed over and the old leader stopped", nodes: 3, length: 6 * time.Second, fails: []int{0},
		changes: [2]int{1, 2}, median: 580 * ms, worst: 1200 * ms,
		happens: func(s *scene) {
			s.handOver(0, 1)
			s.in(s.between(0, 6*ms), func() { s.stop(0, 4*time.Second) })
		},
	},
	{
		name: "the lead is handed over and the heir killed", nodes: 3, length: 3 * time.Second, fails: []int{1},
		changes: [2]int{0, 2}, median: 430 * ms, worst: 830 * ms,
		happens: func(s *scene) {
			s.handOver(0, 1)
			s.in(s.between(0, 6*ms), func() { s.kill(1) })
		},
	},
	{
		name: "the lead is handed over to one that is cut off", nodes: 3, length: 3 * time.Second,
		changes: [2]int{0, 2}, median: 830 * ms, worst: 1300 * ms, within: 2 * time.Second,
		happens: func(s *scene) {
			s.cut(0, 1)
			s.in(s.between(0, 500*ms), func() { s.handOver(0, 1) })
		},
	},
	{
		name: "gossip says that all are dead", nodes: 3, length: 3 * time.Second,
		changes: [2]int{0, 0}, median: 100 * ms, worst: 100 * ms,
		happens: func(s *scene) { s.gossip(leader.GossipDead) },
	},
	{
		name: "gossip says anything", nodes: 5, length: 3 * time.Second,
		changes: [2]int{0, 0}, median: 100 * ms, worst: 100 * ms,
		happens: func(s *scene) {
			s.gossip(leader.GossipDead, leader.GossipLeaving, leader.GossipAlive, leader.GossipUnknown)
		},
	},
	{
		name: "one link cut, and gossip says that all are alive", nodes: 3, length: 3 * time.Second,
		changes: [2]int{0, 0}, median: 100 * ms, worst: 150 * ms,
		happens: func(s *scene) {
			s.cut(0, 1)
			s.gossip(leader.GossipAlive)
		},
	},
	{
		name: "one link cut, and gossip says that all are dead", nodes: 3, length: 3 * time.Second,
		changes: [2]int{0, 0}, median: 100 * ms, worst: 150 * ms,
		happens: func(s *scene) {
			s.cut(0, 1)
			s.gossip(leader.GossipDead)
		},
	},
	{
		name: "leader gone without a word, and gossip says that it is alive", nodes: 3, length: 3 * time.Second, fails: []int{0},
		changes: [2]int{1, 1}, median: 580 * ms, worst: 830 * ms, options: unseen,
		happens: func(s *scene) {
			s.kill(0)
			s.gossip(leader.GossipAlive)
		},
	},
	{
		name: "leader starved, stalls of 1 s and more", nodes: 3, length: 8 * time.Second, fails: []int{0},
		changes: [2]int{1, 1}, median: 580 * ms, worst: 830 * ms,
		happens: func(s *scene) {
			s.starve(0, [2]time.Duration{time.Second, 1500 * ms}, [2]time.Duration{50 * ms, 300 * ms}, 7*time.Second)
		},
	},
	{
		name: "leader starved, short stalls", nodes: 3, length: 8 * time.Second, within: 2 * time.Second,
		changes: [2]int{0, 0}, median: 450 * ms, worst: 600 * ms,
		happens: func(s *scene) {
			s.starve(0, [2]time.Duration{50 * ms, 300 * ms}, [2]time.Duration{60 * ms, 200 * ms}, 7*time.Second)
		},
	},
	{
		name: "follower starved, stalls of 1 s and more", nodes: 3, length: 8 * time.Second, fails: []int{1},
		changes: [2]int{0, 0}, median: 100 * ms, worst: 150 * ms,
		happens: func(s *scene) {
			s.starve(1, [2]time.Duration{time.Second, 1500 * ms}, [2]time.Duration{50 * ms, 300 * ms}, 7*time.Second)
		},
	},
}

// unseen is for faults that close no connection.
func unseen(o *Options) { o.Refused = 0 }

// forgetful has the machine of each node write snapshots often.
func forgetful(o *Options) {
	o.Revive = true
	if o.Seed%2 == 1 {
		o.SnapshotSlots, o.TailSlots = 100, 20
	}
}

// shortLogs has who was away for long need a snapshot in every other run.
func shortLogs(o *Options) {
	if o.Seed%2 == 1 {
		o.SnapshotSlots, o.TailSlots = 200, 20
	}
}

func flapNode(long time.Duration) func(s *scene) {
	return func(s *scene) { s.flap(long, 50*ms, 400*ms, func(up bool) { s.alone(1, !up) }) }
}

func flapLink(long time.Duration) func(s *scene) {
	return func(s *scene) { s.flap(long, 20*ms, 900*ms, func(up bool) { s.path(0, 1, up) }) }
}

// powerLoss takes all nodes down at once; they come back one by one.
func powerLoss(s *scene) {
	for part := range s.parts {
		s.kill(part)
		s.in(time.Second+s.between(0, 500*ms), func() { s.restart(part) })
	}
}

func TestStories(t *testing.T) {
	before := debug.SetGCPercent(400) // worlds are small and short-lived
	t.Cleanup(func() { debug.SetGCPercent(before) })
	for _, y := range stories {
		t.Run(y.name, func(t *testing.T) {
			t.Parallel()
			if *seed != 0 {
				o := storyOptions(y.nodes, *seed)
				o.Verbose = testing.Verbose()
				c, err := y.tell(o)
				t.Logf("%+v", c)
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			y.tellAll(t)
		})
	}
}

// tellAll tells a story with all its seeds.
func (y *story) tellAll(t *testing.T) {
	n := y.seeds
	if n == 0 {
		n = 20
	}
	if *storySeeds > 0 {
		n = *storySeeds
	} else if testing.Short() {
		n = (n + 4) / 5
	}
	var gaps, slowest []time.Duration
	var changes [4]int
	for seed := range uint64(n) {
		c, err := y.tell(storyOptions(y.nodes, seed+1))
		if err != nil {
			t.Errorf("seed %d: %v\nrepeat: go test ./internal/sim -run \"TestStories/%s\" -seed=%d -v", seed+1, err, underscored(y.name), seed+1)
			continue
		}
		gaps, slowest = append(gaps, c.gap), append(slowest, c.slowest)
		changes[min(len(c.changes), 3)]++
	}
	if len(gaps) == 0 {
		return
	}
	slices.Sort(gaps)
	if m := gaps[len(gaps)/2]; m > y.median {
		t.Errorf("the median of the longest times without an acknowledged write is %v; want %v at most", m, y.median)
	}
	t.Logf("%s: longest time without an acknowledged write: median %d ms, worst %d ms; slowest answer %d ms; runs with 0, 1, 2, more changes: %v",
		y.name, gaps[len(gaps)/2]/ms, gaps[len(gaps)-1]/ms, slices.Max(slowest)/ms, changes)
}

// underscored is a test's name as its flag wants it.
func underscored(name string) string {
	b := []byte(name)
	for i, c := range b {
		if c == ' ' {
			b[i] = '_'
		}
	}
	return string(b)
}
