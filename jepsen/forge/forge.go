// Package forge makes runs without a cluster: a lock service of one machine on virtual
// time, clients, a nemesis that loses messages and changes the leader, and the history
// and the log that they leave. A run depends on its seed alone.
//
// It is for testing checkers. By itself it is correct, so that a checker that finds
// anything is wrong. With a [Bug] it is not, and a checker that finds nothing is.
package forge

import (
	"cmp"
	"container/heap"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/prytany/prytany/jepsen/decided"
	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// A Bug is what a service does that it must not.
type Bug string

// The bugs.
const (
	None             Bug = ""
	DoubleGrant      Bug = "double grant"
	EarlyExpiry      Bug = "early expiry"
	DeadRenewed      Bug = "dead session renewed"
	FenceReuse       Bug = "fence reuse"
	ExpiryLeavesHeld Bug = "expiry leaves lock held"
	StaleRead        Bug = "stale read"              // an old value with a new revision
	ReadIndexReused  Bug = "read index reused"       // an old state, honestly
	LostUpdate       Bug = "lost update"             // acknowledged, and dropped
	LostAfterInfo    Bug = "lost write after info"   // seen once, and then not any more
	FailedApplied    Bug = "failed call has effect"  // "nothing happened", and it did
	NeverExpires     Bug = "session never expires"   //
	LowFenceTaken    Bug = "resource takes a fence"  // that is lower than one before
	TwiceApplied     Bug = "one request, two slots"  // that are not told apart
	ToldTooMuch      Bug = "told too much by watch"  // an event that did not happen
	FalseRevision    Bug = "false revision answered" // one too many

	AllDespiteHeld    Bug = "all granted, one held"       // acknowledged, and refused
	TransferKeepsTerm Bug = "transfer without a new term" // the old one is told
	ProclaimAfterTerm Bug = "proclamation after the term" // acknowledged, and refused
	YieldTooSoon      Bug = "yield ends at once"          // no time is given
	YieldEndsLater    Bug = "yield ends a later grant"    // one that nobody asked to end
	FenceFalls        Bug = "highest fence falls"         // a low one is taken, or read
)

// Options of [Make].
type Options struct {
	Seed    uint64
	Bug     Bug
	Time    time.Duration // 0 means 12 s
	Clients int           // 0 means 5
	Quiet   bool          // the nemesis does nothing, whatever is asked of it
}

// A Run is what is left of one.
type Run struct {
	Plan   history.Run
	Events []history.Event
	Nodes  []decided.Node
}

const (
	ttl   = 1200 * time.Millisecond
	drift = 0.02
	turn  = 4 * time.Millisecond // of the event loop
)

// An event of the simulation.
type event struct {
	at time.Duration
	n  int
	do func()
}

type agenda []event

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	return a[i].at < a[j].at || a[i].at == a[j].at && a[i].n < a[j].n
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(event)) }
func (a *agenda) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

// A pending command waits for the loop.
type pending struct {
	cmd  locks.Command
	done func(r locks.Result, slot uint64) // nil if nobody waits
}

// A waiter waits for its turn in a queue.
type waiter struct {
	cmd  *locks.AcquireCommand
	res  locks.Result
	left time.Duration
	done func(r locks.Result, slot, revision uint64)
}

// A world is one run under way.
type world struct {
	opts   Options
	rng    *rand.Rand
	agenda agenda
	n      int
	now    time.Duration
	end    time.Duration

	events []history.Event
	calls  uint64
	procs  int
	values int

	machine *locks.Machine
	ballot  synod.Ballot
	slot    uint64
	votes   []decided.Vote
	pending []pending
	asks    []func()
	waiters []*waiter
	lossy   bool // a fault is under way

	old       []snapshot              // recent states of registers
	fences    map[string][]uint64     // granted, by lock
	stuck     map[string]history.Hold // of ExpiryLeavesHeld
	resources map[resourceID]*resource
	watch     []*watcher
	bugs      int // how often the bug has struck
}

// A snapshot is an old state of a register.
type snapshot struct {
	key            string
	entry          *locks.Entry
	slot, revision uint64
}

// Make runs one.
func Make(o Options) Run {
	o.Time, o.Clients = cmp.Or(o.Time, 12*time.Second), cmp.Or(o.Clients, 5)
	w := &world{
		opts: o, rng: rand.New(rand.NewPCG(o.Seed, 1)), end: o.Time, machine: locks.NewMachine(),
		ballot: synod.Ballot{Round: 1, Member: 1}, slot: 1, fences: map[string][]uint64{}, stuck: map[string]history.Hold{}, resources: map[resourceID]*resource{},
	}
	plan := history.Run{
		Version: history.Version, Name: fmt.Sprintf("forged-%d", o.Seed), Seed: o.Seed, Nodes: []string{"n1", "n2", "n3"},
		Workload: "all", Faults: []string{"kill-leader", "loss"}, Time: o.Time, TTL: ttl, Drift: drift, Binary: "forge",
		Started: time.Unix(0, 0).UTC(),
	}
	w.record(history.Event{Kind: history.Begin, Run: &plan})
	w.after(0, w.loop)
	w.after(0, w.tick)
	for range o.Clients {
		c := &client{w: w}
		w.after(w.upTo(50*time.Millisecond), c.begin)
	}
	for range 2 {
		w.watcher()
	}
	if !o.Quiet {
		w.after(o.Time*3/10, func() { w.fault("kill-leader", o.Time/10) })
		w.after(o.Time*5/10, func() { w.fault("loss", o.Time/10) })
	}
	for len(w.agenda) > 0 && w.agenda[0].at <= w.end+3*time.Second {
		e := heap.Pop(&w.agenda).(event)
		w.now = e.at
		e.do()
	}
	w.record(history.Event{Kind: history.End})
	return Run{plan, w.events, w.nodes()}
}

// nodes returns what three nodes have on their disks: one lags behind.
func (w *world) nodes() (out []decided.Node) {
	for i := range 3 {
		n := decided.Node{
			Version: decided.Version, Name: fmt.Sprintf("n%d", i+1), ID: uint64(i + 1), Decided: w.slot, Snapshot: 1,
			Config: 1, Voters: []uint64{1, 2, 3},
		}
		n.Votes = append(n.Votes, w.votes...)
		if i == 2 {
			n.Decided -= min(20, n.Decided-1)
			n.Votes = n.Votes[:len(n.Votes)-min(10, len(n.Votes))]
		}
		out = append(out, n)
	}
	return out
}

func (w *world) after(d time.Duration, do func()) {
	w.n++
	heap.Push(&w.agenda, event{w.now + d, w.n, do})
}

func (w *world) upTo(d time.Duration) time.Duration { return time.Duration(w.rng.Int64N(int64(d) + 1)) }

func (w *world) chance(p float64) bool { return w.rng.Float64() < p }

// strike reports whether the bug is b and is to show now.
func (w *world) strike(b Bug, p float64) bool {
	if w.opts.Bug != b || w.now < w.end/8 || !w.chance(p) {
		return false
	}
	w.bugs++
	return true
}

func (w *world) record(e history.Event) {
	e.Seq, e.At = uint64(len(w.events)+1), w.now
	w.events = append(w.events, e)
}

// fault loses messages for a while, and makes a new leader at its end.
func (w *world) fault(name string, d time.Duration) {
	w.lossy = true
	w.record(history.Event{Kind: history.Fault, Fault: name, Phase: "begin", Nodes: []string{"n1"}})
	w.after(d, func() {
		w.lossy = false
		w.machine.Follow()
		w.ballot = w.ballot.Next(synod.Ordinal(w.rng.IntN(3) + 1))
		w.record(history.Event{Kind: history.Fault, Fault: name, Phase: "end", Nodes: []string{"n1"}})
	})
}

// tick is what a leader does from time to time.
func (w *world) tick() {
	for _, raw := range w.machine.Lead(w.ballot, w.now) {
		cmd, _ := locks.Decode(raw)
		if _, ok := cmd.(*locks.ExpireCommand); ok && (w.opts.Bug == NeverExpires) {
			continue
		}
		w.pending = append(w.pending, pending{cmd: cmd})
	}
	if w.opts.Bug == EarlyExpiry {
		w.expireEarly()
	}
	w.after(50*time.Millisecond, w.tick)
}

// loop is a turn of the event loop: what waits becomes one slot.
func (w *world) loop() {
	if batch := w.pending; len(batch) > 0 {
		w.pending = nil
		w.slot++
		var raw [][]byte
		for _, p := range batch {
			raw = append(raw, locks.Encode(p.cmd))
		}
		v := paxos.EncodeBatch(w.ballot, raw)
		w.votes = append(w.votes, decided.NewVote(paxos.SlotVote{
			Slot: paxos.Slot(w.slot), Config: 1, Chosen: true, Vote: synod.Vote{Ballot: w.ballot, Value: v},
		}))
		for i, p := range batch {
			w.apply(p, raw[i])
		}
		w.machine.Applied(paxos.Slot(w.slot))
	}
	for _, ask := range w.asks {
		ask()
	}
	w.asks = nil
	w.turns()
	w.after(turn, w.loop)
}

func (w *world) apply(p pending, raw []byte) {
	if c, ok := p.cmd.(*locks.PutCommand); ok {
		w.remember(c.Key)
	}
	if c, ok := p.cmd.(*locks.ExpireCommand); ok && w.opts.Bug == ExpiryLeavesHeld {
		w.keepHeld(c.Session)
	}
	if c, ok := p.cmd.(*locks.PutCommand); ok && p.done == nil && w.strike(TwiceApplied, 1) {
		c.Request = locks.Request{}
		raw = locks.Encode(c)
	}
	r, _ := locks.DecodeResult(w.machine.Apply(paxos.Slot(w.slot), raw, w.now))
	if p.done != nil {
		p.done(r, w.slot)
	}
}

// remember keeps an old state of a register.
func (w *world) remember(key string) {
	w.machine.View(func(v locks.View) {
		if e := v.Entry(key); e != nil {
			m := v.Meta()
			w.old = append(w.old, snapshot{key, e, m.Slot, m.Revision})
		}
	})
}

// turns serves those who wait in a queue.
func (w *world) turns() {
	waiting := w.waiters
	w.waiters = nil
	for _, x := range waiting {
		var p locks.Place
		var m locks.Meta
		w.machine.View(func(v locks.View) { p, m = v.Place(x.cmd), v.Meta() })
		switch {
		case p.Fence != 0:
			x.done(locks.Result{Session: x.res.Session, Fence: p.Fence}, m.Slot, p.Fence)
		case p.Changed == nil:
			x.done(p.Gone, m.Slot, m.Revision)
		case w.now >= x.left:
			p.Cancel()
			cancel := &locks.CancelCommand{Request: x.cmd.Request, Lock: x.cmd.Lock, Session: x.res.Session}
			w.pending = append(w.pending, pending{cancel, func(r locks.Result, slot uint64) { x.done(r, slot, r.Revision) }})
		default:
			p.Cancel()
			w.waiters = append(w.waiters, x)
		}
	}
}
