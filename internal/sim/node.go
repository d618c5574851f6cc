package sim

import (
	"errors"
	"runtime/debug"
	"time"

	"github.com/prytany/prytany/internal/sim/disk"
	"github.com/prytany/prytany/internal/sim/oracle"
	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

// errCrash is the panic that ends a process in the middle of a turn.
var errCrash = errors.New("sim: crash")

// errDisk is what a failing disk returns.
var errDisk = errors.New("sim: input/output error")

// maxSpins bounds the turns in which a node does nothing but ask for another
// turn at once.
const maxSpins = 100000

// A node is a server: a disk that stays, and a process that comes and goes.
type node struct {
	w     *World
	index int
	id    synod.NodeID
	name  string
	to    string // "to " and its name, for the trace
	from  string
	disk  disk.Disk

	incarnation uint64
	host        *replica.Host // nil while the process is down
	machine     *recorder     // of the running process
	offset      time.Duration // of this process's clock
	drift       int64         // parts per million

	next    time.Duration // when the scheduled turn is; 0 if there is none
	busy    time.Duration // until then the process waits for its disk
	paused  time.Duration // until then it has no steps
	spent   time.Duration // for writes in the present turn
	crashIn int           // steps of a turn until the process ends; 0 means never
	badDisk int           // writes until one fails; 0 means never
	failed  bool          // a write has failed: nothing may be said any more
	downFor int           // faults that keep it down
	spins   int
	open    map[*call]struct{} // requests handed to the process and not answered
	deaf    int                // clients cannot reach it
	served  bool               // at the end it has served a read
}

// who is how the oracle knows n.
func (n *node) who() oracle.Node { return oracle.Node{ID: n.id, Index: n.index, Name: n.name} }

func (n *node) peer(index int) synod.NodeID { return n.w.nodes[index].id }

// clock returns the reading of the process's clock at t.
func (n *node) clock(t time.Duration) time.Duration {
	return n.offset + t + time.Duration(int64(t)*n.drift/1e6)
}

// when returns the first time at which the process's clock shows c at least.
func (n *node) when(c time.Duration) time.Duration {
	t := time.Duration(int64(c-n.offset)*1e6/(1e6+n.drift)) - 2
	for n.clock(t) < c {
		t++
	}
	return t
}

// start begins a new process on the disk.
func (n *node) start() {
	if n.host != nil || n.downFor > 0 {
		return
	}
	w := n.w
	n.incarnation++
	n.offset = time.Duration(w.rng.Int64N(int64(time.Hour)))
	if w.opt.MaxDrift > 0 {
		n.drift = int64(w.rng.IntN(2*w.opt.MaxDrift+1) - w.opt.MaxDrift)
	}
	n.busy, n.paused, n.spent, n.crashIn, n.badDisk, n.failed, n.next = 0, 0, 0, 0, 0, false, 0
	n.open = make(map[*call]struct{})
	w.trace.add(line{w.now, n.index, "starts", n.incarnation})
	n.guard(func() error {
		h, err := replica.NewHost(n.config(), n.clock(w.now))
		if err != nil {
			return err
		}
		n.host = h
		if n.disk.Volume(paxos.Main).Saved {
			return nil
		}
		if n.index < w.opt.Voters {
			return h.Bootstrap(paxos.Main, w.first)
		}
		n.host.Learn(paxos.Main, w.ids(w.opt.Voters))
		return nil
	})
	n.pollBy(w.now)
}

// config returns the configuration of the process.
func (n *node) config() replica.Config {
	o := &n.w.opt
	var st replica.Storage = (*storage)(n)
	if o.Hooks.Storage != nil {
		st = o.Hooks.Storage(st)
	}
	return replica.Config{
		Self: n.id,
		Leader: leader.Config{
			Self:        n.id,
			Incarnation: n.incarnation,
			Seed:        n.w.rng.Uint64(),
			Heartbeat:   int64(o.Heartbeat),
			Silence:     int64(o.Silence),
			Lease:       int64(o.Lease),
		},
		Storage:       st,
		Transport:     (*transport)(n),
		NewMachine:    func(paxos.GroupID) replica.Machine { return newRecorder(n) },
		TickEvery:     o.Tick,
		MaxPending:    o.MaxPending,
		MaxBatch:      o.MaxBatch,
		SnapshotSlots: o.SnapshotSlots,
		TailSlots:     o.TailSlots,
		RetryAfter:    o.RetryAfter,
		Observe:       n.observe,
	}
}

// pollBy makes the process take a turn at t, or as soon after it as it can.
func (n *node) pollBy(t time.Duration) {
	if n.host == nil {
		return
	}
	t = max(t, n.busy, n.paused, n.w.now)
	if n.next != 0 && n.next <= t {
		return
	}
	n.next = t
	inc := n.incarnation
	n.w.at(t, func() {
		if n.host == nil || n.incarnation != inc || n.next != t {
			return
		}
		n.next = 0
		if n.paused > t {
			n.pollBy(n.paused)
			return
		}
		n.turn()
	})
}

// turn lets the process do what has arrived and is due.
func (n *node) turn() {
	n.spent = 0
	n.w.stats.Turns++
	n.guard(func() error {
		next, err := n.host.Poll(n.clock(n.w.now))
		if err != nil {
			return err
		}
		n.busy = n.w.now + n.spent
		t := n.when(next)
		if t <= n.w.now {
			t = n.w.now + time.Microsecond
			n.spins++
		} else {
			n.spins = 0
		}
		if n.spins > maxSpins {
			oracle.Fail("liveness", "%s asks for turns for ever without the clock moving", n.name)
		}
		n.pollBy(t)
		return nil
	})
}

// guard runs code of the process, which may end it.
func (n *node) guard(f func() error) {
	err := func() (err error) {
		defer func() {
			switch p := recover().(type) {
			case nil:
			case oracle.Violation:
				panic(p)
			case error:
				if p != errCrash {
					oracle.Fail("panic", "%s: %v\n%s", n.name, p, debug.Stack())
				}
				err = p
			default:
				oracle.Fail("panic", "%s: %v\n%s", n.name, p, debug.Stack())
			}
		}()
		return f()
	}()
	if err == nil {
		return
	}
	if err != errCrash && !n.failed {
		oracle.Fail("panic", "%s ends without a fault: %v", n.name, err)
	}
	n.down("ends: " + err.Error())
}

// step is called between any two things that a process does in a turn. It may
// be the last thing it does.
func (n *node) step() {
	if n.crashIn > 0 {
		if n.crashIn--; n.crashIn == 0 {
			panic(errCrash)
		}
	}
}

// down ends the process. Its peers may notice.
func (n *node) down(why string) {
	if n.host == nil {
		return
	}
	w := n.w
	w.trace.add(line{w.now, n.index, why, nil})
	w.stats.Crashes++
	n.host, n.machine = nil, nil
	n.disk.Crash(w.opt.Revive && chance(w.rng, 0.5))
	for c := range n.open {
		c.lost = true // whoever waits for it will give up by himself
	}
	n.open = nil
	for i := range w.nodes {
		if i != n.index && chance(w.rng, w.opt.Refused) && w.link(i, n.index).cuts == 0 && w.link(n.index, i).cuts == 0 {
			w.at(w.now+time.Millisecond+w.sample(w.link(i, n.index).delay), func() { w.disconnected(i, n.index) })
		}
	}
	if n.downFor == 0 && !w.quiesced {
		w.at(w.now+time.Duration(w.rng.ExpFloat64()*float64(w.opt.FaultLast)), n.start)
	}
}

// observe takes the events of package paxos and package leader.
func (n *node) observe(_ paxos.GroupID, e any) {
	w := n.w
	switch e := e.(type) {
	case paxos.Event:
		if e.Kind == paxos.EvLeading {
			w.stats.Elections++
		}
		if e.Kind != paxos.EvDecided {
			w.trace.add(line{w.now, n.index, "paxos", e})
		}
	case leader.Event:
		w.trace.add(line{w.now, n.index, "leader", e})
	}
}

// A transport is a node as its process sends through it.
type transport node

// Send implements [replica.Transport].
func (t *transport) Send(to synod.NodeID, p replica.Packet) {
	n := (*node)(t)
	n.step()
	w := n.w
	if n.failed {
		oracle.Fail("I5", "%s speaks after a failed write", n.name)
	}
	if h := w.opt.Hooks.Send; h != nil {
		p = h(p)
	}
	i := w.indexOf(to)
	if i < 0 || i == n.index {
		oracle.Fail("panic", "%s sends %T to node %v", n.name, p.Msg, to)
	}
	if m, ok := p.Msg.(paxos.Message); ok {
		w.trace.add(line{w.now, n.index, w.nodes[i].to, m})
		w.oracle.Sent(n.who(), n.disk.Volume(paxos.Main), m)
	}
	w.send(n.index, i, p, w.now+n.spent)
}

// A storage is a node as its process writes to it.
type storage node

// Groups implements [replica.Storage].
func (s *storage) Groups() ([]paxos.GroupID, error) { return s.disk.Groups() }

// Load implements [replica.Storage].
func (s *storage) Load(g paxos.GroupID) (paxos.Durable, error) { return s.disk.Load(g) }

// Save implements [replica.Storage]. A crash during it persists all or nothing.
func (s *storage) Save(updates []paxos.Update) error {
	n := (*node)(s)
	return n.write(func() error {
		for _, u := range updates {
			n.w.oracle.Saving(n.who(), n.disk.Volume(u.Group), u)
		}
		if err := n.disk.Save(updates); err != nil {
			return err
		}
		for _, u := range updates {
			n.w.oracle.Saved(n.who(), n.disk.Volume(u.Group), u)
		}
		return nil
	})
}

// SaveSnapshot implements [replica.Storage].
func (s *storage) SaveSnapshot(g paxos.GroupID, snap paxos.Snapshot) error {
	n := (*node)(s)
	count, applied := mark(snap.Data)
	n.w.oracle.Snapshot(n.who(), snap, count, applied)
	n.w.stats.Snapshots++
	return n.write(func() error { return n.disk.SaveSnapshot(g, snap) })
}

// LoadSnapshot implements [replica.Storage].
func (s *storage) LoadSnapshot(g paxos.GroupID) (paxos.Snapshot, bool, error) {
	return s.disk.LoadSnapshot(g)
}

// Trim implements [replica.Storage].
func (s *storage) Trim(g paxos.GroupID, below paxos.Slot) error {
	n := (*node)(s)
	if h := n.disk.Volume(g).Header; below > h.Trimmed {
		oracle.Fail("I5", "%s trims below %d; its header says %d", n.name, below, h.Trimmed)
	}
	n.step()
	return s.disk.Trim(g, below)
}

// write does one atomic write, in which the disk may fail and the process may
// end, before it or after it.
func (n *node) write(do func() error) error {
	w := n.w
	if n.failed {
		oracle.Fail("I5", "%s writes after a failed write", n.name)
	}
	n.step()
	if n.badDisk > 0 {
		if n.badDisk--; n.badDisk == 0 {
			n.failed = true
			if chance(w.rng, 0.5) {
				if err := do(); err != nil {
					return err
				}
			}
			return errDisk
		}
	}
	n.spent += w.sample(w.sync(n.index))
	if err := do(); err != nil {
		return err
	}
	w.stats.Writes++
	n.step()
	return nil
}
