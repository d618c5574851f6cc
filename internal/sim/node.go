package sim

import (
	"errors"
	"runtime/debug"
	"time"

	"github.com/prytany/prytany/internal/roster"
	"github.com/prytany/prytany/internal/sim/dice"
	"github.com/prytany/prytany/internal/sim/disk"
	"github.com/prytany/prytany/internal/sim/faults"
	"github.com/prytany/prytany/internal/sim/machine"
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

// errFull is what a full disk returns.
var errFull = errors.New("sim: no space left on device")

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

	incarnation uint64                            // counts the processes of this machine
	soul        soul                              // on the disk
	image       image                             // an older copy of the disk
	others      *roster.Roster                    // of the running process
	met         map[*node]uint64                  // with which processes it has exchanged hellos
	empty       bool                              // the disk was lost, and the process has not caught up since
	host        *replica.Host                     // nil while the process is down
	ledgers     map[paxos.GroupID]*machine.Ledger // of the running process, of the groups beside main
	coming      map[paxos.GroupID]fetch           // snapshots on their way to the running process
	snapped     map[paxos.GroupID]bool            // groups of which the running process has saved a snapshot
	machine     *machine.Recorder                 // of the running process
	dice.Pace                                     // its clock

	faults.Node               // what is wrong with it
	next        time.Duration // when the scheduled turn is; 0 if there is none
	busy        time.Duration // until then the process waits for its disk
	spent       time.Duration // for writes in the present turn, and by a slow processor
	failed      bool          // a write has failed: nothing may be said any more
	leaving     synod.NodeID  // that identity ends once it is no voter; 0 means that none does
	spins       int
	open        map[*call]struct{} // requests handed to the process and not answered
	gate        *gate              // renewals that it was asked for
	served      bool               // at the end it has served a read
}

// who is how the oracle knows n.
func (n *node) who() oracle.Node { return oracle.Node{ID: n.id, Index: n.index, Name: n.name} }

func (n *node) peer(index int) synod.NodeID { return n.w.nodes[index].id }

// start begins a new process on the disk.
func (n *node) start() {
	if n.host != nil || n.DownFor > 0 {
		return
	}
	w := n.w
	if n.Full > 0 { // a process writes before it says a word
		w.stats.Struck.Full++
		w.trace.add(line{w.now, n.index, "cannot start: its disk is full", nil})
		return
	}
	n.incarnation++
	n.awake()
	n.Offset, n.Pace.Drift = time.Duration(w.rng.Int64N(int64(time.Hour))), 0
	if w.opt.MaxDrift > 0 {
		n.Pace.Drift = int64(w.rng.IntN(2*w.opt.MaxDrift+1) - w.opt.MaxDrift)
	}
	n.busy, n.spent, n.failed, n.next = 0, 0, false, 0
	n.Renew()
	n.open = make(map[*call]struct{})
	n.ledgers = make(map[paxos.GroupID]*machine.Ledger)
	n.coming = make(map[paxos.GroupID]fetch)
	n.snapped = make(map[paxos.GroupID]bool)
	n.gate = &gate{}
	w.trace.add(line{w.now, n.index, "starts", n.incarnation})
	n.guard(func() error {
		h, err := replica.NewHost(n.config(), n.Clock(w.now))
		if err != nil {
			return err
		}
		n.host = h
		if n.disk.Volume(paxos.Main).Saved {
			return nil
		}
		if w.first.Seat(n.id) >= 0 && !n.empty {
			return h.Bootstrap(paxos.Main, w.first)
		}
		n.host.Learn(paxos.Main, w.others(n))
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
			Incarnation: n.soul.self.Incarnation,
			Seed:        n.w.rng.Uint64(),
			Heartbeat:   int64(o.Heartbeat),
			Silence:     int64(o.Silence),
			Lease:       int64(o.Lease),
			MoveAfter:   int64(o.MoveAfter),
			Mute:        n.mute(),
		},
		Storage:       st,
		Transport:     (*transport)(n),
		NewMachine:    n.newMachine,
		Forget:        func(g paxos.GroupID) { delete(n.ledgers, g) },
		TickEvery:     o.Tick,
		MaxPending:    o.MaxPending,
		MaxBatch:      o.MaxBatch,
		SnapshotSlots: o.SnapshotSlots,
		TailSlots:     o.TailSlots,
		TailBytes:     o.TailBytes,
		RetryAfter:    o.RetryAfter,
		LeaseReads:    o.LeaseReads,
		Observe:       n.observe,
	}
}

// newMachine returns the empty machine of group g.
func (n *node) newMachine(g paxos.GroupID) replica.Machine {
	if s := n.w.side(g); s != nil {
		l := machine.NewLedger((*owner)(n), s.oracle, n.w.opt.SideFiller, s.first)
		n.ledgers[g] = l
		return l
	}
	h := &n.w.opt.Hooks
	n.machine = machine.NewRecorder((*owner)(n), n.w.oracle, n.w.audit, n.w.opt.Events, h.Machine, h.Changes)
	return n.machine
}

// pollBy makes the process take a turn at t, or as soon after it as it can.
func (n *node) pollBy(t time.Duration) {
	if n.host == nil {
		return
	}
	t = max(t, n.busy, n.Paused, n.w.now)
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
		if n.Paused > t {
			n.pollBy(n.Paused)
			return
		}
		n.turn()
	})
}

// turn lets the process do what has arrived and is due.
func (n *node) turn() {
	if n.spent = n.w.sample(n.SlowTurn); n.spent > 0 {
		n.w.stats.Struck.Slowed++
	}
	n.w.stats.Turns++
	n.guard(func() error {
		next, err := n.host.Poll(n.Clock(n.w.now))
		if err != nil {
			return err
		}
		n.busy = n.w.now + n.spent
		t := n.When(next)
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
	if n.CrashIn > 0 {
		if n.CrashIn--; n.CrashIn == 0 {
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
	n.host, n.machine, n.ledgers = nil, nil, nil
	n.breakOff()
	n.disk.Crash(w.opt.Revive && dice.Chance(w.rng, 0.5))
	for c := range n.open {
		c.lost = true // whoever waits for it will give up by himself
	}
	n.open = nil
	for i := range w.nodes {
		if i != n.index && n.Unheard == 0 && dice.Chance(w.rng, w.opt.Refused) && w.net.Joined(i, n.index) {
			w.at(w.now+time.Millisecond+w.sample(w.net.Link(i, n.index).Delay), func() { w.disconnected(i, n.index) })
		}
	}
	if n.DownFor == 0 && !w.quiesced {
		away := time.Duration(w.rng.ExpFloat64() * float64(w.opt.FaultLast))
		if w.healed { // one whose disk was found to be old ends after everything has healed
			away = min(away, time.Second)
		}
		w.at(w.now+away, n.start)
	}
}

// observe takes the events of package paxos and package leader.
func (n *node) observe(g paxos.GroupID, e any) {
	w := n.w
	if s := w.side(g); s != nil {
		if e, ok := e.(paxos.Event); ok && e.Kind == paxos.EvLeading {
			s.elections++
			w.trace.add(line{w.now, n.index, "leads a side", g})
		}
		return
	}
	switch e := e.(type) {
	case paxos.Event:
		if e.Kind == paxos.EvLeading {
			w.stats.Elections++
			n.leads()
		}
		if e.Kind != paxos.EvDecided {
			w.trace.add(line{w.now, n.index, "paxos", e})
		}
	case leader.Event:
		w.trace.add(line{w.now, n.index, "leader", e})
	case replica.HandOverEvent:
		n.handedOver(e)
	}
}

// An owner is a node as its machines know it. It implements [machine.Owner].
type owner node

// Who implements [machine.Owner].
func (o *owner) Who() oracle.Node { return (*node)(o).who() }

// Step implements [machine.Owner].
func (o *owner) Step() { (*node)(o).step() }

// Mix implements [machine.Owner].
func (o *owner) Mix(facts ...uint64) { o.w.trace.mix(facts...) }

// Restored implements [machine.Owner].
func (o *owner) Restored() { o.w.stats.Restores++ }

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
	if to == 0 || to > w.identities || to == n.id {
		oracle.Fail("panic", "%s sends %T to node %v", n.name, p.Msg, to)
	}
	i := w.indexOf(to)
	if i < 0 {
		return // nobody has that identity any more
	}
	if m, ok := p.Msg.(paxos.Message); ok {
		w.trace.add(line{w.now, n.index, w.nodes[i].to, m})
		w.oracleOf(p.Group).Sent(n.who(), n.disk.Volume(p.Group), m)
	}
	if m, ok := p.Msg.(paxos.CatchUp); ok {
		n.fetches(p.Group, m, to)
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
	return n.write(updates, false, func() error {
		chosen := n.w.oracle.Chosen()
		for _, u := range updates {
			if left := n.disk.Left(u.Group); u.Header.Membership.ID <= left && !u.Header.Promised.IsZero() {
				oracle.Fail("I1", "%s promises %v in configuration %d of group %d; it has forgotten what it did up to %d",
					n.name, u.Header.Promised, u.Header.Membership.ID, u.Group, left)
			}
			n.w.oracleOf(u.Group).Saving(n.who(), n.disk.Volume(u.Group), u)
		}
		if err := n.disk.Save(updates); err != nil {
			return err
		}
		for _, u := range updates {
			n.w.oracleOf(u.Group).Saved(n.who(), n.disk.Volume(u.Group), u)
			n.w.reshaped(u.Group)
		}
		n.w.chose(chosen)
		return nil
	})
}

// SaveSnapshot implements [replica.Storage].
func (s *storage) SaveSnapshot(g paxos.GroupID, snap paxos.Snapshot) error {
	n := (*node)(s)
	count, applied := machine.Mark(snap.Data)
	n.w.oracleOf(g).Snapshot(n.who(), n.disk.Volume(g).Replaced(n.snapped[g]), snap, count, applied)
	n.snapped[g] = true
	n.w.stats.Snapshots++
	n.fetched(g, snap.Slot)
	return n.write(nil, true, func() error { return n.disk.SaveSnapshot(g, snap) })
}

// LoadSnapshot implements [replica.Storage].
func (s *storage) LoadSnapshot(g paxos.GroupID) (paxos.Snapshot, bool, error) {
	return s.disk.LoadSnapshot(g)
}

// ReadSnapshot implements [replica.Storage].
func (s *storage) ReadSnapshot(g paxos.GroupID, offset uint64, most int) (replica.SnapshotPart, bool, error) {
	return s.disk.ReadSnapshot(g, offset, most)
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

// Drop implements [replica.Storage]. A crash during it drops all or nothing.
func (s *storage) Drop(g paxos.GroupID, floor paxos.ConfigID) error {
	n := (*node)(s)
	return n.write(nil, false, func() error { return n.disk.Drop(g, floor) })
}

// Dropped implements [replica.Storage].
func (s *storage) Dropped(g paxos.GroupID) (replica.Tombstone, bool, error) { return s.disk.Dropped(g) }

// Sweep implements [replica.Storage].
func (s *storage) Sweep() (more bool, err error) { return s.disk.Sweep() }

// write does one atomic write, of updates or of a snapshot or of neither, in which the
// disk may fail and the process may end, before it or after it.
func (n *node) write(updates []paxos.Update, snapshot bool, do func() error) error {
	w := n.w
	if n.failed {
		oracle.Fail("I5", "%s writes after a failed write", n.name)
	}
	n.step()
	if n.Full > 0 {
		w.stats.Struck.Full++
		n.failed = true
		return errFull
	}
	if how := n.Strikes(snapshot); how != 0 {
		return n.struck(how, updates, do)
	}
	if n.SlowDisk != (dice.Delay{}) {
		w.stats.Struck.SlowWrites++
		n.spent += w.sample(n.SlowDisk)
	} else {
		n.spent += w.sample(w.opt.Sync)
	}
	if err := do(); err != nil {
		return err
	}
	w.stats.Writes++
	n.soul.position++
	n.step()
	return nil
}

// struck does a write that ends as how says. It returns an error, or ends the process.
func (n *node) struck(how faults.Write, updates []paxos.Update, do func() error) error {
	w := n.w
	s := &w.stats.Struck
	there := false
	switch how {
	case faults.Fails:
		s.Failed++
	case faults.Doubtful:
		s.Doubtful++
		there = dice.Chance(w.rng, 0.5)
	case faults.Durable:
		s.Saved++
		there = true
	case faults.OfSnapshot:
		s.Snapshots++
		there = dice.Chance(w.rng, 0.5)
	default:
		half := false
		if there, half = disk.Cut(updates, how == faults.Torn, w.rng); half {
			s.Half++
		}
		if how == faults.Torn {
			s.Torn++
		} else {
			s.Scattered++
		}
	}
	n.failed = true
	if there {
		if err := do(); err != nil {
			return err
		}
		n.soul.position++
	}
	if how == faults.Fails || how == faults.Doubtful {
		return errDisk
	}
	panic(errCrash)
}
