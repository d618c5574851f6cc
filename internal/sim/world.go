package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/prytany/prytany/internal/sim/oracle"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

// A World is one whole cluster with its clients, in one goroutine, on virtual
// time. All its chance comes from one seed.
type World struct {
	opt    Options
	rng    *rand.Rand
	now    time.Duration
	events schedule
	trace  trace
	stats  Stats
	buf    []byte // of wire

	first    paxos.Membership // the configuration the group begins with
	nodes    []*node
	links    []link // from*len(nodes)+to
	slowDisk []delay
	oracle   *oracle.Oracle
	audit    *audit
	clients  []*client
	nemesis  nemesis
	history  History

	healed   bool // no more faults
	stopping bool // clients begin nothing new
	quiesced bool // clients are done
}

// Stats count what happened in a run.
type Stats struct {
	Events, Packets, Dropped, Turns, Writes, Snapshots uint64
	Crashes, Elections, Restores, Reconfigured         int
	Faults                                             [numFaults]int
	Done, Unknown                                      int // operations of clients
	Expired                                            int // sessions
}

// A Report is what a run was like.
type Report struct {
	Options Options
	Time    time.Duration // simulated
	Hash    uint64        // of the trace
	Stats   Stats
	History History
	Slots   paxos.Slot
}

// A Failure is a run that broke an invariant.
type Failure struct {
	Seed      uint64
	Mode      Mode
	Invariant string
	Detail    string
	At        time.Duration
	Trace     string // the last lines
}

func (f *Failure) Error() string {
	return fmt.Sprintf("seed %d (%v) at %v: %s: %s\n"+
		"repeat: go test ./internal/sim -run TestSeeds -seed=%d -v\n"+
		"the last lines of the trace:\n%s", f.Seed, f.Mode, f.At, f.Invariant, f.Detail, f.Seed, f.Trace)
}

// Run carries out one run. The error, if any, is a *Failure.
func Run(o Options) (Report, error) {
	w := newWorld(o)
	err := w.run()
	w.stats.Reconfigured = int(w.oracle.Config().ID) - 1
	return Report{o, w.now, w.trace.hash, w.stats, w.history, w.oracle.Chosen()}, err
}

// calm is how long before the clients stop no election may happen any more.
const calm = 3 * time.Second

func newWorld(o Options) *World {
	w := &World{opt: o, rng: rand.New(rand.NewPCG(o.Seed, 0x776f726c64))}
	w.trace.live = nil
	if o.Verbose {
		w.trace.live = func(l line) { fmt.Println(l) }
	}
	for i := range o.Nodes {
		n := &node{w: w, index: i, id: synod.NodeID(i + 1), name: fmt.Sprintf("node %d", i+1)}
		n.to, n.from = "to "+n.name, "from "+n.name
		w.nodes = append(w.nodes, n)
	}
	w.first = paxos.Membership{ID: 1, Next: synod.Ordinal(o.Voters + 1)}
	for _, n := range w.nodes[:o.Voters] {
		w.first.Voters = append(w.first.Voters, paxos.Member{Node: n.id, Ordinal: synod.Ordinal(n.index + 1), Name: n.name})
	}
	w.links = make([]link, o.Nodes*o.Nodes)
	for i := range w.links {
		w.links[i] = link{drop: o.Drop, dup: o.Dup, delay: o.Delay}
	}
	w.slowDisk = make([]delay, o.Nodes)
	w.oracle = oracle.New(w.first, o.Nodes)
	w.audit = newAudit(w)
	w.nemesis.w = w
	return w
}

// at schedules fn.
func (w *World) at(t time.Duration, fn func()) { w.events.add(max(t, w.now)).fn = fn }

// ids returns the nodes with index below n.
func (w *World) ids(n int) []synod.NodeID {
	var out []synod.NodeID
	for _, n := range w.nodes[:n] {
		out = append(out, n.id)
	}
	return out
}

func (w *World) indexOf(id synod.NodeID) int {
	if id < 1 || int(id) > len(w.nodes) {
		return -1
	}
	return int(id) - 1
}

// sync returns what a write of node i takes now.
func (w *World) sync(i int) delay {
	if d := w.slowDisk[i]; d != (delay{}) {
		return d
	}
	return w.opt.Sync
}

// run lets time pass until the end, or until an invariant breaks.
func (w *World) run() (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case oracle.Violation:
			err = &Failure{w.opt.Seed, w.opt.Mode, p.Invariant, p.Detail, w.now, w.trace.last()}
		default:
			panic(p)
		}
	}()
	for _, n := range w.nodes {
		n.start()
	}
	for i := range w.opt.Clients {
		w.addClient(i)
	}
	if w.opt.Churn || w.opt.Voters < w.opt.Nodes {
		w.at(time.Second, w.reshape)
	}
	w.nemesis.begin()
	w.until(w.opt.Chaos)
	w.healed = true
	w.nemesis.heal()
	w.until(w.opt.Chaos + w.opt.Settle - calm)
	elections := w.stats.Elections
	w.until(w.opt.Chaos + w.opt.Settle)
	if w.opt.Voters == w.opt.Nodes && !w.opt.Churn && w.stats.Elections != elections {
		oracle.Fail("liveness", "%d elections long after everything has healed", w.stats.Elections-elections)
	}
	w.stopping = true
	w.finish()
	return nil
}

// until lets time pass until t.
func (w *World) until(t time.Duration) {
	for w.events.len() > 0 && w.events.heap[0].at <= t {
		w.step()
	}
	w.now = t
}

// step makes the next event happen.
func (w *World) step() {
	e := w.events.pop()
	w.now = e.at
	w.stats.Events++
	if e.packet {
		w.arrive(int(e.from), int(e.to), e.pkt)
	} else {
		e.fn()
	}
	w.events.release(e)
}

// finish lets clients end what they have begun, and the nodes agree. Both must
// happen within bounds, for nothing but a fault that the cluster must survive
// hinders them any more.
func (w *World) finish() {
	end := w.now + w.opt.Finish
	for w.busyClients() > 0 {
		if w.now >= end {
			oracle.Fail("liveness", "%s", w.stuck())
		}
		w.until(w.now + 100*time.Millisecond)
	}
	w.quiesced = true
	for _, n := range w.nodes {
		w.probe(n)
	}
	end = w.now + w.opt.Finish
	for !w.converged() || !w.whole() {
		if w.now >= end {
			oracle.Fail("liveness", "nodes do not agree after everything has healed: %s", w.positions())
		}
		w.until(w.now + 100*time.Millisecond)
	}
	for _, n := range w.nodes {
		if n.host != nil && !w.nemesis.keeps(n.index) {
			w.oracle.State(n.who(), n.machine.applied, n.machine.locks.StateHash())
		}
	}
	w.audit.final()
	if w.opt.Mode == Quiet {
		if w.stats.Elections != int(w.oracle.Config().ID) {
			oracle.Fail("quiet", "%d elections without any fault", w.stats.Elections)
		}
		if w.stats.Unknown != 0 {
			oracle.Fail("quiet", "%d unknown outcomes without any fault", w.stats.Unknown)
		}
	}
}

// probe reads at n until it is served: every node that can reach another must
// serve, through a neighbour if it cannot reach the leader.
func (w *World) probe(n *node) {
	if n.host == nil || w.nemesis.keeps(n.index) {
		return
	}
	n.submit(replica.KindBarrier, nil, func(r replica.Result) {
		if n.served = r.Err == nil; !n.served {
			w.at(w.now+50*time.Millisecond, func() { w.probe(n) })
		}
	})
}

// converged reports whether every running node has applied all that is chosen,
// and has served a read.
func (w *World) converged() bool {
	for _, n := range w.nodes {
		if w.nemesis.keeps(n.index) {
			continue
		}
		if n.host == nil || n.machine == nil || n.machine.applied != w.oracle.Chosen() || len(n.open) > 0 || !n.served {
			return false
		}
	}
	return true
}

// positions describes where every node is.
func (w *World) positions() string {
	s := fmt.Sprintf("chosen up to %d;", w.oracle.Chosen())
	for _, n := range w.nodes {
		switch {
		case n.host == nil:
			s += fmt.Sprintf(" %s is down;", n.name)
		case n.machine == nil:
			s += fmt.Sprintf(" %s has no group;", n.name)
		default:
			s += fmt.Sprintf(" %s applied %d, open %d, served %v;", n.name, n.machine.applied, len(n.open), n.served)
		}
	}
	return s
}

// A Hooks changes what the world is made of, so that tests can show that a
// broken part is noticed. A nil field changes nothing.
type Hooks struct {
	Storage func(replica.Storage) replica.Storage
	Send    func(replica.Packet) replica.Packet
	Machine func(replica.Machine) replica.Machine
	Read    bool // reads are served by whoever is asked, without asking the leader
}
