// Package faults breaks a simulated cluster: it begins the faults of a run at their
// moments and ends them (see [plan.Strike]). What it does to the network it does there
// itself; what it does to a node is that node's [Node], which the simulator asks; the
// rest it asks of the [Cluster].
package faults

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/prytany/prytany/internal/sim/dice"
	"github.com/prytany/prytany/internal/sim/network"
	"github.com/prytany/prytany/internal/sim/plan"
	"github.com/prytany/prytany/leader"
)

// A Cluster is what faults happen to. Nodes are known by their index.
type Cluster interface {
	Now() time.Duration
	At(t time.Duration, f func())
	Over() bool // everything has healed
	Trace(node int, what string, arg any)

	Leader() int             // -1 if nobody leads
	Process(node int) uint64 // which one runs there, 0 if none
	Down(node int, why string)
	Start(node int)
	Wake(node int, at time.Duration) // it has a turn then, or as soon after as it can
	RunsAt(node int, drift int64)    // parts per million; its clock goes on from where it is
	Jump(node int, by time.Duration) // its clock
	Gossip(node, about int, g leader.Gossip)
	Disconnected(node, peer int)
	Release() // what was held back goes on where nothing holds it any more

	LoseDisk(node int) bool
	RollBack(node int) bool
	FlipBit(node int, r *rand.Rand) bool
	HandOver(to int) bool // whoever leads; to is -1 for anybody
	Remove(node int) bool // from the voters of main
	Replace(node int) bool

	PauseWorker() bool
	CrashWorker(holding bool) bool
	Abandon(r *rand.Rand) bool
}

// A Node is what faults have done to one node.
type Node struct {
	Paused   time.Duration // until then it has no steps
	Asleep   time.Duration // until then nothing reaches it
	CrashIn  int           // steps of a turn until its process ends; 0 means never
	DownFor  int           // faults that keep it down
	Unheard  int           // faults that let nobody notice when its process ends
	Deaf     int           // faults that keep clients away from it
	Full     int           // faults that fill its disk
	SlowDisk dice.Delay    // what a write takes, if it is not as usual
	SlowTurn dice.Delay    // what a turn takes
	Write    Write         // what is to happen to a write
	WriteIn  int           // writes until then; 0 means never
}

// A Write says how a write ends.
type Write uint8

// How a write ends.
const (
	Fails      Write = iota + 1 // nothing is there, and the process is told so
	Doubtful                    // it is there or not, and the process is told of an error
	Durable                     // it is there, and the process ends
	Scattered                   // any of its pieces are there, and the process ends
	Torn                        // its first pieces are there, and the process ends
	OfSnapshot                  // as Durable, or nothing is there; only a write of a snapshot
)

// Renew forgets what was to happen to a process that has ended.
func (n *Node) Renew() { n.Paused, n.Asleep, n.CrashIn, n.Write, n.WriteIn = 0, 0, 0, 0, 0 }

// Strikes reports how the write that begins now is to end, 0 if as it should.
func (n *Node) Strikes(snapshot bool) Write {
	if n.WriteIn == 0 || n.Write == OfSnapshot && !snapshot || (n.Write == Scattered || n.Write == Torn) && snapshot {
		return 0
	}
	if n.WriteIn--; n.WriteIn > 0 {
		return 0
	}
	return n.Write
}

// Clients say what is wrong with the messages of clients.
type Clients struct{ Twice, Late int }

// Counts say what faults have done, beside what they did to the network.
type Counts struct {
	ClientCut                          int // requests that a node did not hear, and answers
	Saved                              int // processes that ended between a write and what it allows
	Paused, Slowed, Slept, Unheard     int // pauses; turns that took long; sleeps; packets that came to a sleeper
	Rates, Wild, Jumps                 int // of clocks
	Lent                               int // leases that a leader believed in beside a later one, while clocks were wild
	SlowWrites, Failed, Doubtful, Full int
	Scattered, Torn, Flipped           int // writes that were cut off; disks that were found damaged
	Half                               int // of the writes that were cut off, those that were there in part
	Snapshots                          int // whose writers ended
	Lies, Resets                       int
	Removed, Replaced, HandOvers       int // that were asked for
	Lagged                             int
	WorkerPauses, WorkerCrashes        int
	HolderCrashes, Twice, Late         int
	Abandoned                          int
}

// A Nemesis begins faults and ends each after a while.
type Nemesis struct {
	Clients Clients
	Counts  *Counts
	Struck  [plan.NumFaults]int // faults that were begun
	On      [plan.NumFaults]int // faults that are on

	c     Cluster
	o     *plan.Options
	net   *network.Network
	nodes []*Node
	r     *rand.Rand     // of the fault that begins
	last  time.Duration  // how long it lasts
	heals map[int]func() // by number, so that they end in a fixed order
	count int
	kept  []bool // nodes that a lasting fault keeps out
}

// New returns a nemesis that has not begun.
func New(c Cluster, o *plan.Options, net *network.Network, nodes []*Node, counts *Counts) *Nemesis {
	return &Nemesis{Counts: counts, c: c, o: o, net: net, nodes: nodes, heals: map[int]func(){}, kept: make([]bool, len(nodes))}
}

// Begin has the faults of the run strike at their moments.
func (m *Nemesis) Begin() {
	for _, s := range m.o.Script() {
		m.c.At(s.At, func() {
			if !m.c.Over() {
				m.strike(s)
			}
		})
	}
}

// strike begins a fault.
func (m *Nemesis) strike(s plan.Strike) {
	a, b := s.A, s.B
	if a == plan.Lead {
		if a = m.c.Leader(); a < 0 {
			a = b
		}
		if a == b {
			b = (a + 1) % len(m.nodes)
		}
	}
	m.r, m.last = rand.New(rand.NewPCG(s.Seed, 0)), s.Last
	m.c.Trace(-1, "begins "+s.Fault.String(), [2]int{a + 1, b + 1})
	heal := m.start(s.Fault, a, b)
	if heal == nil {
		return
	}
	m.Struck[s.Fault]++
	m.On[s.Fault]++
	id := m.count
	m.count++
	m.heals[id] = func() {
		m.On[s.Fault]--
		heal()
	}
	m.c.At(m.c.Now()+s.Last, func() {
		if h := m.heals[id]; h != nil {
			delete(m.heals, id)
			m.c.Trace(-1, "ends "+s.Fault.String(), nil)
			h()
		}
	})
}

// Heal ends all faults. In a liveness run another one begins that lasts.
func (m *Nemesis) Heal() {
	m.c.Trace(-1, "everything heals", nil)
	for id := range m.count {
		if h := m.heals[id]; h != nil {
			delete(m.heals, id)
			h()
		}
	}
	for l := range m.net.Links() {
		l.Drop, l.Dup, l.Delay = 0, 0, m.o.Delay
		l.Delay.Tail = 0
	}
	m.o.Sync.Tail = 0
	for i, n := range m.nodes {
		n.CrashIn, n.WriteIn = 0, 0
		m.c.Start(i)
		n.Paused, n.Asleep = 0, 0
		m.c.Wake(i, m.c.Now())
	}
	if m.o.Mode == plan.Liveness {
		m.stay()
	}
}

// Keeps reports whether a lasting fault keeps node i from taking part.
func (m *Nemesis) Keeps(i int) bool { return m.kept[i] }

// stay begins a fault that stays: one that the cluster must survive.
func (m *Nemesis) stay() {
	n := len(m.nodes)
	if m.o.Voters < n {
		return
	}
	r := rand.New(rand.NewPCG(m.o.Seed, 0x73746179))
	a := r.IntN(n)
	b := (a + 1 + r.IntN(n-1)) % n
	if n >= 5 && dice.Chance(r, 0.5) {
		m.graph(r)
		return
	}
	switch r.IntN(5) {
	case 0: // a broken path; everybody has neighbours
		m.c.Trace(-1, "a path stays cut", [2]int{a + 1, b + 1})
		m.net.CutPath(a, b)
	case 1:
		m.c.Trace(-1, "one direction stays cut", [2]int{a + 1, b + 1})
		m.net.Cut(a, b)
	case 2:
		m.c.Trace(-1, "stays isolated", a+1)
		m.net.Isolate(a)
		m.kept[a] = true
		m.nodes[a].Deaf++
	case 3: // clients reach the others
		m.c.Trace(-1, "no client reaches", a+1)
		m.nodes[a].Deaf++
	default:
		m.c.Trace(-1, "stays down", a+1)
		m.kept[a] = true
		m.nodes[a].DownFor++
		m.c.Down(a, "is killed for good")
	}
}

// graph cuts paths at random, for good, such that some node still reaches a
// majority. Whoever may be further than one neighbour from a leader is out of
// it: requests are passed on once only, and a member that nobody asks anything
// does not learn how far others are.
func (m *Nemesis) graph(r *rand.Rand) {
	far := network.Graph(len(m.nodes), r)
	m.net.Cuts(func(x, y int) bool { return far[x][y] > 1 })
	m.c.Trace(-1, "only these paths stay", fmt.Sprint(far))
	network.Hops(far)
	for a := range far {
		for b := range far {
			if network.ReachesMajority(far[b]) {
				m.kept[a] = m.kept[a] || far[a][b] > 2
			}
		}
		if m.kept[a] {
			m.nodes[a].Deaf++
		}
	}
}

// nothing ends what ends by itself.
func nothing() {}

// done returns what ends a fault that ends by itself, nil if it had no object.
func done(ok bool) (heal func()) {
	if !ok {
		return nil
	}
	return nothing
}

// between draws a time.
func (m *Nemesis) between(lo, hi time.Duration) time.Duration {
	return dice.Delay{Min: lo, Max: hi}.Sample(m.r)
}

// start begins fault f and returns what ends it, nil if it has no object.
func (m *Nemesis) start(f plan.Fault, a, b int) (heal func()) {
	switch {
	case f <= plan.Flap || f == plan.Swizzle || f == plan.Broken || f == plan.PaxosCut || f == plan.BeatsCut || f == plan.Lag:
		if a == b {
			return nil // it takes two
		}
		return m.cut(f, a, b)
	case f <= plan.Broken:
		return m.weather(f, a, b)
	case f == plan.ClientCut:
		m.nodes[a].Deaf++
		return func() { m.nodes[a].Deaf-- }
	case f == plan.GossipCut, f >= plan.Gossip && f <= plan.GossipFlap:
		if a == b {
			return nil
		}
		return m.gossip(f, a, b)
	case f >= plan.Crash && f <= plan.Suspend:
		return m.process(f, a)
	case f >= plan.ClockRate && f <= plan.ClockStrobe:
		return m.clock(f, a)
	case f >= plan.SlowDisk && f <= plan.Rollback:
		return m.disk(f, a)
	case f >= plan.Remove && f <= plan.Transfer:
		return m.members(f, a, b)
	}
	return m.clients(f)
}

// members changes who votes, and who leads.
func (m *Nemesis) members(f plan.Fault, a, b int) (heal func()) {
	switch f {
	case plan.Remove:
		return done(m.c.Remove(a))
	case plan.Replace:
		return done(m.c.Replace(a))
	}
	to := -1
	if dice.Chance(m.r, 0.5) {
		to = b
	}
	ok := m.c.HandOver(to)
	if ok {
		m.Counts.HandOvers++
	}
	return done(ok)
}

// clients has something happen to those who use the cluster.
func (m *Nemesis) clients(f plan.Fault) (heal func()) {
	count := func(ok bool, n *int) func() {
		if ok {
			*n++
		}
		return done(ok)
	}
	switch f {
	case plan.ClientPause:
		return count(m.c.PauseWorker(), &m.Counts.WorkerPauses)
	case plan.ClientCrash:
		return count(m.c.CrashWorker(false), &m.Counts.WorkerCrashes)
	case plan.HolderCrash:
		return count(m.c.CrashWorker(true), &m.Counts.HolderCrashes)
	case plan.ClientAbandon:
		return count(m.c.Abandon(m.r), &m.Counts.Abandoned)
	case plan.ClientTwice:
		m.Clients.Twice++
		return func() { m.Clients.Twice-- }
	case plan.ClientLate:
		m.Clients.Late++
		return func() { m.Clients.Late-- }
	}
	panic("faults: no such fault")
}
