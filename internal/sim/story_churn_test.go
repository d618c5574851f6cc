package sim

import (
	"flag"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/sim/dice"
	"github.com/prytany/prytany/leader"
)

var churnSeeds = flag.Int("sim.churn", 0, "seeds of random sequences of faults, for each size of the cluster; 0 means 50, or 8 with -short")

const (
	fixed   = 7 * time.Second         // that the links stay as they are after a sequence
	calmFor = 2500 * time.Millisecond // at the end of it without a change of leader
	fresh   = 1500 * time.Millisecond // in which writes must have been acknowledged at its end
)

// A churn is a scene on which faults of all kinds follow each other quickly.
type churn struct {
	*scene
	oneWay bool
	frozen []bool // by node
}

// step makes one change.
func (c *churn) step() {
	n := len(c.nodes)
	a, b := c.rng.IntN(n), c.rng.IntN(n)
	x := c.nodes[a]
	switch die := c.rng.IntN(100); {
	case x.host == nil:
		c.restart(slices.Index(c.parts, a))
	case c.frozen[a]:
		c.thaw(a)
	case die < 15:
		c.trace.add(line{c.now, a, "stands still", nil})
		c.frozen[a] = true
		x.Paused = c.now + time.Hour
		x.pollBy(x.Paused)
	case die < 23:
		c.opt.Refused = float64(c.rng.IntN(2))
		c.kill(slices.Index(c.parts, a))
	case die < 35:
		c.opt.Refused = 1
		c.kill(slices.Index(c.parts, a))
		c.restart(slices.Index(c.parts, a))
	case die < 42:
		c.woke[a] = max(c.now, x.busy)
		if x.SlowDisk = (dice.Delay{}); dice.Chance(c.rng, 0.7) {
			c.disk(slices.Index(c.parts, a), 50*ms, 2*time.Second)
		}
	case die < 50:
		x.gossips(c.nodes[b], dice.Pick(c.rng, leader.GossipUnknown, leader.GossipAlive, leader.GossipDead, leader.GossipDead, leader.GossipLeaving))
	case die < 56:
		c.handOver(slices.Index(c.parts, a), slices.Index(c.parts, b))
	case a == b:
		c.scramble()
	default:
		l, back := c.net.Link(a, b), c.net.Link(b, a)
		c.trace.add(line{c.now, -1, "a link flips", [2]int{a + 1, b + 1}})
		l.Cuts = 1 - l.Cuts
		if !c.oneWay {
			back.Cuts = l.Cuts
		}
	}
}

// thaw lets the process of node i go on.
func (c *churn) thaw(i int) {
	c.trace.add(line{c.now, i, "goes on", nil})
	c.frozen[i], c.woke[i] = false, c.now
	n := c.nodes[i]
	n.Paused = 0
	n.pollBy(c.now)
}

// scramble draws all links anew.
func (c *churn) scramble() {
	share := dice.Pick(c.rng, 0.35, 0.5, 0.65, 0.8, 0.95)
	draw := func() int {
		if dice.Chance(c.rng, share) {
			return 0
		}
		return 1
	}
	var graph []string
	for a := range c.nodes {
		for b := range a {
			there, back := c.net.Link(a, b), c.net.Link(b, a)
			there.Cuts = draw()
			if back.Cuts = there.Cuts; c.oneWay {
				back.Cuts = draw()
			}
			graph = append(graph, fmt.Sprintf("%d-%d:%d%d", b+1, a+1, 1-back.Cuts, 1-there.Cuts))
		}
	}
	c.trace.add(line{c.now, -1, "links", graph})
}

// both reports whether packets pass between a and b in both directions, and both
// run.
func (c *churn) both(a, b int) bool {
	if c.nodes[a].host == nil || c.nodes[b].host == nil {
		return false
	}
	return a == b || c.net.Joined(a, b)
}

// reaches reports whether node a has a quorum.
func (c *churn) reaches(a int) bool {
	near := 0
	for b := range c.nodes {
		if c.both(a, b) {
			near++
		}
	}
	return near > len(c.nodes)/2
}

// run makes up to twelve changes, 20 to 900 ms apart, some with loss, and then
// leaves a fixed graph.
func (c *churn) run() {
	loss := 0.0
	if dice.Chance(c.rng, 0.3) {
		loss = 0.2
	}
	c.loss(loss)
	for range 1 + c.rng.IntN(12) {
		c.step()
		c.until(c.now + c.between(20*ms, 900*ms))
	}
	c.loss(0)
	for i, n := range c.nodes {
		n.SlowDisk, c.woke[i] = dice.Delay{}, max(c.now, n.busy)
		for _, peer := range c.nodes {
			if n.host != nil && n != peer {
				n.host.Gossip(peer.id, leader.GossipUnknown)
			}
		}
		switch {
		case c.frozen[i]:
			c.thaw(i)
		case n.host == nil && !dice.Chance(c.rng, 0.25):
			c.restart(slices.Index(c.parts, i))
		}
	}
	c.scramble()
}

// settled fails unless what the fixed graph allows has come about.
func (c *churn) settled() error {
	if n := len(c.changes); n > 2 {
		return fmt.Errorf("%d changes of leader after the links were fixed at %v: %v", n, c.begun, c.changes)
	} else if n > 0 && c.now-c.changes[n-1].at < calmFor {
		return fmt.Errorf("a change of leader %v before the end: %v", c.now-c.changes[n-1].at, c.changes)
	}
	possible := false
	for i := range c.nodes {
		possible = possible || c.reaches(i)
	}
	if !possible {
		return nil
	}
	if c.now-c.last > 500*ms {
		return fmt.Errorf("no write is acknowledged since %v though a node reaches a quorum; the links were fixed at %v, changes of leader %v", c.last, c.begun, c.changes)
	}
	return c.served()
}

// served fails if a node that reaches the leader, or a neighbour that does, does
// not serve its clients.
func (c *churn) served() error {
	for lead, l := range c.nodes {
		if l.host == nil || !l.machine.Leading || !c.reaches(lead) || c.now-c.desks[lead].last > fresh {
			continue
		}
		for a := range c.nodes {
			way := c.both(a, lead)
			for via := range c.nodes {
				way = way || c.both(a, via) && c.both(via, lead)
			}
			if d := &c.desks[a]; way && c.now-d.last > fresh {
				return fmt.Errorf("no write of the client of node %d is acknowledged since %v; node %d leads", a+1, d.last, lead+1)
			}
		}
		return nil
	}
	return fmt.Errorf("no node leads that serves its own client")
}

// churned runs some sequences, one after another, and judges each.
func churned(o Options, rounds int) (gaps []time.Duration, changes int, err error) {
	c := &churn{scene: newScene(o), oneWay: o.Seed%2 == 1, frozen: make([]bool, o.Nodes)}
	err = c.play(func() error {
		c.establish()
		for range rounds {
			c.run()
			c.begin()
			c.until(c.now + fixed)
			if err := c.settled(); err != nil {
				return fmt.Errorf("%w\nthe last lines of the trace:\n%s", err, c.trace.last())
			}
			gaps, changes = append(gaps, c.gap), changes+len(c.changes)
		}
		c.end()
		return c.check()
	})
	return gaps, changes, err
}

// TestChurn is about sequences of faults: they find what single faults from a
// fresh state never show.
func TestChurn(t *testing.T) {
	n, rounds := 50, 1
	if testing.Short() {
		n = 8
	}
	if *churnSeeds > 0 {
		n, rounds = *churnSeeds, 2
	}
	for _, nodes := range []int{3, 5} {
		t.Run(fmt.Sprintf("%d nodes", nodes), func(t *testing.T) {
			if *seed != 0 {
				o := storyOptions(nodes, *seed)
				o.Verbose = testing.Verbose()
				if _, _, err := churned(o, rounds); err != nil {
					t.Fatal(err)
				}
				return
			}
			churnAll(t, nodes, uint64(n), rounds)
		})
	}
}

// churnAll runs many worlds at once, one to a processor.
func churnAll(t *testing.T, nodes int, n uint64, rounds int) {
	var (
		next     atomic.Uint64
		failures atomic.Int32
		mu       sync.Mutex
		wg       sync.WaitGroup
		gaps     []time.Duration
		changes  int
	)
	next.Store(*from - 1)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				s := next.Add(1)
				if s >= *from+n || failures.Load() >= maxFailures {
					return
				}
				g, ch, err := churned(storyOptions(nodes, s), rounds)
				if err != nil {
					failures.Add(1)
					t.Errorf("seed %d: %v\nrepeat: go test ./internal/sim -run 'TestChurn/%d_nodes' -seed=%d -v", s, err, nodes, s)
				}
				mu.Lock()
				gaps, changes = append(gaps, g...), changes+ch
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(gaps) == 0 {
		return
	}
	slices.Sort(gaps)
	t.Logf("%d sequences, %d changes of leader after their ends; longest time without an acknowledged write then: median %v, 99 %% %v",
		len(gaps), changes, gaps[len(gaps)/2].Round(ms), gaps[len(gaps)*99/100].Round(ms))
}
