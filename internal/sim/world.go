package sim

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/prytany/prytany/internal/roster"
	"github.com/prytany/prytany/internal/sim/agenda"
	"github.com/prytany/prytany/internal/sim/audit"
	"github.com/prytany/prytany/internal/sim/effect"
	"github.com/prytany/prytany/internal/sim/faults"
	"github.com/prytany/prytany/internal/sim/network"
	"github.com/prytany/prytany/internal/sim/oracle"
	"github.com/prytany/prytany/internal/sim/plan"
	"github.com/prytany/prytany/internal/sim/work"
	"github.com/prytany/prytany/internal/sim/workload"
	"github.com/prytany/prytany/locks"
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
	events agenda.Schedule[packet]
	trace  trace
	stats  Stats
	buf    []byte // of wire

	first paxos.Membership // the configuration the group begins with

	identities synod.NodeID // the highest that was given
	souls      *rand.Rand
	nodes      []*node
	net        *network.Network
	held       []packet // of links that hold back what is sent
	oracle     *oracle.Oracle
	audit      *audit.Account
	clients    []*client
	watching   []*watcher
	nemesis    *faults.Nemesis
	wild       bool // clocks may break their promise
	history    *workload.History
	sides      []*side
	configs    map[paxos.GroupID][]paxos.Membership // that were decided, after the first
	crowd      *workload.Crowd
	yard       *work.Yard

	healed   bool // no more faults
	stopping bool // clients begin nothing new
	quiesced bool // clients are done
}

// Stats count what happened in a run.
type Stats struct {
	Events, Packets, Dropped, Turns, Writes, Snapshots uint64
	Crashes, Elections, Restores, Reconfigured         int
	RolledBack, Quarantined                            int                 // disks; identities
	Lost                                               int                 // disks
	SideDone, SideMoves, SideDrops, SideElections      int                 // of groups beside main: numbers put in, configurations, parts dropped, elections
	Faults                                             [plan.NumFaults]int // that were begun
	Struck                                             faults.Counts
	Net                                                network.Counts
	During                                             [plan.NumFaults]Reshaped
	Fetches                                            Fetches
	HandOvers, HandedOver, Released                    int // ended; well; not well although the lead was given up
	Leased                                             int // beliefs in a lease that were looked at
	Done, Unknown                                      int // operations of clients
	Kinds                                              [workload.NumKinds]int
	Ends                                               audit.Ends
	Renewed, Held                                      int // leases; keepalives that were held back
	Told, Compacted                                    int // changes that watchers were told of; streams that came too late
	Work                                               effect.Counts
}

// A Report is what a run was like.
type Report struct {
	Options Options
	Time    time.Duration // simulated
	Hash    uint64        // of the trace
	Stats   Stats
	History *workload.History
	Slots   paxos.Slot
}

// A Failure is a run that broke an invariant.
type Failure struct {
	Seed      uint64
	Mode      plan.Mode
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
	w.stats.Ends, w.stats.Faults, w.stats.Net = w.audit.Ends, w.nemesis.Struck, w.net.Counts
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
		n.soul.seen = map[synod.NodeID]roster.Sighting{}
		n.to, n.from = "to "+n.name, "from "+n.name
		w.nodes = append(w.nodes, n)
	}
	w.identities, w.souls = synod.NodeID(o.Nodes), rand.New(rand.NewPCG(o.Seed, 0x736f756c73))
	w.first = paxos.Membership{ID: 1, Next: synod.Ordinal(o.Voters + 1)}
	for _, n := range w.nodes[:o.Voters] {
		w.first.Voters = append(w.first.Voters, paxos.Member{Node: n.id, Ordinal: synod.Ordinal(n.index + 1), Name: n.name})
	}
	w.net = network.New(o.Nodes, network.Link{Drop: o.Drop, Dup: o.Dup, Delay: o.Delay})
	w.oracle = oracle.New(w.first, o.Nodes)
	w.audit = audit.New(func() time.Duration { return w.now }, o.MaxDrift, cmp.Or(o.Events, locks.Limits{}.WithDefaults().MaxEvents))
	w.audit.Trusting = o.Hooks.Trust
	w.history = workload.NewHistory()
	w.crowd = workload.NewCrowd(o.Options, w.rng, w.history, w.audit)
	ill := make([]*faults.Node, o.Nodes)
	for i, n := range w.nodes {
		ill[i] = &n.Node
	}
	w.nemesis = faults.New((*target)(w), &w.opt, w.net, ill, &w.stats.Struck)
	w.wild = o.Wild()
	w.audit.Wild = w.wild
	w.opt.LeaseReads = o.LeaseReads && !w.wild
	w.configs = make(map[paxos.GroupID][]paxos.Membership)
	return w
}

// at schedules fn.
func (w *World) at(t time.Duration, fn func()) { w.events.Add(max(t, w.now)).Do = fn }

// others returns whom n may ask about the group: as gossip, which shows everybody.
func (w *World) others(n *node) []synod.NodeID {
	var out []synod.NodeID
	for _, o := range w.nodes {
		if o != n {
			out = append(out, o.id)
		}
	}
	return out
}

// indexOf returns the index of the node that has the identity id, -1 if nobody does.
func (w *World) indexOf(id synod.NodeID) int {
	if n := w.owner(id); n != nil {
		return n.index
	}
	return -1
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
	w.watchers()
	w.workers()
	w.beginSides()
	if w.opt.Features != 0 {
		w.at(time.Second, w.ask)
	}
	if slices.ContainsFunc(w.opt.Script(), func(s plan.Strike) bool { return s.Fault == plan.Rollback }) {
		w.copyDisks()
	}
	if w.reshapes() {
		w.at(time.Second, w.hint)
		w.at(time.Second, w.reshape)
	}
	w.nemesis.Begin()
	w.handOvers()
	w.until(w.opt.Chaos)
	w.healed = true
	w.nemesis.Heal()
	w.until(w.opt.Chaos + w.opt.Settle - calm)
	elections := w.stats.Elections
	w.until(w.opt.Chaos + w.opt.Settle)
	if !w.reshapes() && w.stats.Elections != elections {
		oracle.Fail("liveness", "%d elections long after everything has healed", w.stats.Elections-elections)
	}
	w.stopping = true
	w.finish()
	return nil
}

// until lets time pass until t.
func (w *World) until(t time.Duration) {
	for w.events.Len() > 0 && w.events.Next() <= t {
		w.step()
	}
	w.now = t
}

// step makes the next event happen.
func (w *World) step() {
	e := w.events.Pop()
	w.now = e.At
	w.stats.Events++
	if e.Do == nil {
		w.arrive(&e.Packet)
	} else {
		e.Do()
	}
	w.events.Release(e)
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
	w.agree()
	if w.opt.Features != 0 {
		w.outlive()
		w.agree()
	}
	w.compare()
	w.history.Final(w.audit)
	if n := w.audit.Count(); n != w.oracle.Commands() {
		oracle.Fail("E1", "%d commands are chosen, %d are applied", w.oracle.Commands(), n)
	}
	if w.opt.Mode == plan.Quiet {
		if w.stats.Elections != int(w.oracle.Config().ID) {
			oracle.Fail("quiet", "%d elections without any fault", w.stats.Elections)
		}
		if w.stats.Unknown != 0 {
			oracle.Fail("quiet", "%d unknown outcomes without any fault", w.stats.Unknown)
		}
	}
}

// agree lets the nodes apply all that is chosen, within a bound.
func (w *World) agree() {
	end := w.now + w.opt.Finish
	for !w.converged() || !w.whole() || !w.sidesSettled() {
		if w.now >= end {
			oracle.Fail("liveness", "nodes do not agree after everything has healed: %s", w.positions())
		}
		w.until(w.now + 100*time.Millisecond)
	}
}

// outlive lets the time pass in which every session must end that nobody keeps
// alive, and with them all that they hold (L6).
func (w *World) outlive() {
	const more = 5 * time.Second                             // lock-delays, smear, and a change of leader
	w.until(w.now + 2*max(w.opt.TTL, w.opt.Work.TTL) + more) // a keepalive may yet be held back
	if n := w.audit.Alive(); n > 0 {
		oracle.Fail("L6", "%d sessions are alive that nobody has kept for long", n)
	}
	if !w.audit.Free() {
		oracle.Fail("L6", "locks are in use though no session is alive")
	}
}

// compare holds the nodes against each other and the account.
func (w *World) compare() {
	w.lastWords()
	for _, s := range w.sides {
		s.compare()
	}
	for _, n := range w.nodes {
		if n.host == nil || w.nemesis.Keeps(n.index) {
			continue
		}
		w.oracle.State(n.who(), n.machine.Slot, n.machine.Locks.StateHash())
		n.machine.Locks.View(func(v locks.View) {
			w.audit.Names(func(lock string) { w.audit.SeesLock(n.reader(), lock, audit.LockOf(v, lock)) })
		})
	}
}

// probe reads at n until it is served: every node that can reach another must
// serve, through a neighbour if it cannot reach the leader.
func (w *World) probe(n *node) {
	if n.host == nil || w.nemesis.Keeps(n.index) {
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
		if w.nemesis.Keeps(n.index) {
			continue
		}
		if n.host == nil || n.machine == nil || n.machine.Slot != w.oracle.Chosen() || len(n.open) > 0 || !n.served {
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
			s += fmt.Sprintf(" %s applied %d, open %d, served %v;", n.name, n.machine.Slot, len(n.open), n.served)
		}
	}
	for _, x := range w.sides {
		if !x.settled() {
			s += x.position()
		}
	}
	return s
}
