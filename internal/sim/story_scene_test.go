package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/prytany/prytany/internal/sim/dice"
	"github.com/prytany/prytany/internal/sim/oracle"
	"github.com/prytany/prytany/internal/sim/workload"
	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

const (
	pulseEvery = 20 * time.Millisecond // how often the client of some node begins a write, each in turn
	patience   = 5 * time.Second       // that it has with one, as the service has
	repeatIn   = 20 * time.Millisecond // after a refusal

	slowWrite = 500 * time.Millisecond  // is what the host takes for a slow disk, and
	slowStays = 2 * time.Second         // for how long after it
	lateWakes = 3                       // in a row are what it takes for a slow loop
	aftermath = 1500 * time.Millisecond // that a story goes on once everything has healed
)

// A scene is a world whose faults are not thrown by dice but told by a story.
// Its parts are given to nodes by seed: part 0 is the node that leads when the
// story begins.
//
// Beside the ordinary clients of the world there is one at each node, which uses
// that node alone: it begins a write every few hundredths of a second and now and then a
// read, without waiting for the answers to those before, and repeats each under
// its id while the node says that it has no leader or does not know the outcome.
type scene struct {
	*World
	parts   []int // node of each part
	health  []leader.Health
	slow    []time.Duration // by node: until then its disk counts as slow
	late    []int           // by node: times in a row that its timer fired late
	woke    []time.Duration // by node: when its process last went on after it had stood still
	claimed func(node int)  // called at the next claim, once

	begun    time.Duration         // when the story began
	changes  []change              // since then
	mended   map[synod.Ballot]bool // with which the leader itself has followed its own: no changes
	last     time.Duration         // when any write was last acknowledged
	gap      time.Duration         // the longest time without, since begun
	gapEnds  time.Duration
	muteFrom time.Duration // from then on, until everything heals,
	mute     []bool        // these nodes may serve nothing
	count    int
	acked    []string // the writes that were acknowledged
	desks    []desk
}

// A change is the beginning of a leadership.
type change struct {
	at   time.Duration
	node int
}

// A desk is what a node's own client met.
type desk struct {
	done, failed int
	first        string        // the first failure
	slowest      time.Duration // that an answer took
	last         time.Duration // when a write was last acknowledged
}

// storyOptions are the run of one seed of a story: timings as in production, and
// a network and disks that are well.
func storyOptions(nodes int, seed uint64) Options {
	o := Options{
		Seed: seed, Nodes: nodes, Voters: nodes, Clients: 2, Finish: 20 * time.Second,
		Delay:   dice.Delay{Min: 100 * time.Microsecond, Max: time.Millisecond},
		Ordered: seed%2 == 0, Loop: dice.Delay{Max: 100 * time.Microsecond},
		Sync:    dice.Delay{Min: 200 * time.Microsecond, Max: 2 * time.Millisecond},
		Refused: 1, MaxDrift: 200,
		Heartbeat: 50 * time.Millisecond, Silence: 400 * time.Millisecond, Lease: 100 * time.Millisecond,
		Tick: 50 * time.Millisecond, RetryAfter: 5 * time.Second, MaxBatch: 512, MaxPending: 16384,
		SnapshotSlots: 10000, TailSlots: 10000,
		LeaseReads: seed/2%2 == 1,
		Think:      dice.Delay{Max: 200 * time.Millisecond}, Timeout: time.Second,
		Options: workload.Options{Locks: 2, Keys: 3, TTL: 2 * time.Second, Waiting: true, KeyShare: 0.6},
	}
	if seed%5 == 0 {
		o.Features, o.Events = workload.Everything, 200
	}
	return o
}

// newScene returns a cluster that has not begun.
func newScene(o Options) *scene {
	s := &scene{mended: map[synod.Ballot]bool{}}
	if o.Hooks.Storage == nil {
		o.Hooks.Storage = func(st replica.Storage) replica.Storage {
			return &timedStorage{st, s, (*node)(st.(*storage))}
		}
	}
	s.World = newWorld(o)
	s.parts = s.rng.Perm(o.Nodes)
	s.health = slices.Repeat([]leader.Health{{Disk: true, Loop: true}}, o.Nodes)
	s.slow = make([]time.Duration, o.Nodes)
	s.late = make([]int, o.Nodes)
	s.woke = make([]time.Duration, o.Nodes)
	s.mute = make([]bool, o.Nodes)
	s.desks = make([]desk, o.Nodes)
	show := s.trace.live
	s.trace.live = func(l line) {
		if show != nil {
			show(l)
		}
		if e, ok := l.arg.(leader.Event); ok && e.Kind == leader.EvMend {
			s.mended[e.Ballot] = true
		}
		if e, ok := l.arg.(paxos.Event); ok && e.Kind == paxos.EvLeading && !s.mended[e.Ballot] {
			s.changes = append(s.changes, change{l.at, l.node})
		}
		if e, ok := l.arg.(leader.Event); ok && e.Kind == leader.EvClaim && s.claimed != nil {
			f := s.claimed
			s.claimed = nil
			f(l.node)
		}
	}
	s.nemesis.Begin()
	return s
}

// establish starts everything, has the node of part 0 win the first election,
// and waits until all is well.
func (s *scene) establish() {
	for i, n := range s.nodes {
		n.start()
		if i != s.parts[0] {
			n.host.SetHealth(leader.Health{})
		}
	}
	for i := range s.opt.Clients {
		s.addClient(i)
	}
	s.watchers()
	s.workers()
	if s.opt.Features != 0 {
		s.at(500*time.Millisecond, s.ask)
	}
	s.until(500 * time.Millisecond)
	for _, n := range s.nodes {
		s.tellHealth(n)
	}
	s.pulse(0)
	s.until(s.now + 700*time.Millisecond + delayBetween(s.World, 0, 100*time.Millisecond))
	if len(s.changes) != 1 || s.changes[0].node != s.parts[0] {
		oracle.Fail("story", "the first elections are %v; want one, of node %d", s.changes, s.parts[0]+1)
	}
	s.begin()
}

// begin forgets what has happened so far.
func (s *scene) begin() {
	s.trace.add(line{s.now, -1, "the story begins; parts", s.parts})
	s.begun, s.last, s.gap, s.changes = s.now, s.now, 0, nil
	for i := range s.desks {
		s.desks[i] = desk{last: s.now}
	}
}

// end heals everything, and brings the run to an end as every other.
func (s *scene) end() {
	s.healed = true
	clear(s.mute)
	for l := range s.net.Links() {
		l.Cuts = 0
	}
	for i, n := range s.nodes {
		n.SlowDisk, s.slow[i] = dice.Delay{}, 0
		s.health[i] = leader.Health{Disk: true, Loop: true}
		n.DownFor, n.Deaf = 0, 0
		s.woke[i] = max(s.now, n.busy)
		s.tellHealth(n)
	}
	s.nemesis.Heal()
	s.until(s.now + aftermath)
	s.waited()
	s.stopping = true
}

// check is what must be so in every story: all that the simulator checks at the
// end of a run, and that what was acknowledged is in the log.
func (s *scene) check() error {
	s.finish()
	for _, id := range s.acked {
		if _, ok := s.audit.Answer(id); !ok {
			oracle.Fail("E2", "write %s was acknowledged and is not in the log", id)
		}
	}
	r := Report{s.opt, s.now, s.trace.hash, s.stats, s.history, s.oracle.Chosen()}
	return checkHistory(r)
}

// play runs f, which drives the scene, up to a broken invariant.
func (s *scene) play(f func() error) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case oracle.Violation:
			err = fmt.Errorf("at %v: %s: %s\nthe last lines of the trace:\n%s", s.now, p.Invariant, p.Detail, s.trace.last())
		default:
			panic(p)
		}
	}()
	return f()
}

// A timedStorage notices slow writes as the host does that has a clock; the
// simulator gives it none.
type timedStorage struct {
	replica.Storage
	s *scene
	n *node
}

// Save implements [replica.Storage].
func (t *timedStorage) Save(us []paxos.Update) error {
	s, n, before := t.s, t.n, t.n.spent
	err := t.Storage.Save(us)
	if n.host == nil || n.spent-before <= slowWrite {
		return err
	}
	until := s.now + n.spent + slowStays
	s.slow[n.index] = until
	s.health[n.index].Disk = false
	n.host.SetHealth(s.health[n.index])
	s.at(until, func() {
		if s.slow[n.index] == until {
			s.health[n.index].Disk = true
			s.tellHealth(n)
		}
	})
	return err
}

// tellHealth tells n's process how it is.
func (s *scene) tellHealth(n *node) {
	if n.host != nil {
		n.host.SetHealth(s.health[n.index])
		n.pollBy(s.now)
	}
}

// pulse lets the client of node i begin a write, and then that of the next.
func (s *scene) pulse(i int) {
	if s.stopping {
		return
	}
	s.at(s.now+pulseEvery, func() { s.pulse((i + 1) % len(s.nodes)) })
	n := s.nodes[i]
	if n.host == nil || n.Deaf > 0 {
		return
	}
	s.count++
	id := fmt.Sprintf("pulse-%d", s.count)
	e := errand{s: s, n: n, incarnation: n.incarnation, begun: s.now, id: id, command: &locks.PutCommand{Key: n.name, Value: []byte(id)}}
	e.ask(1)
	if s.count%4 == 0 {
		read := errand{s: s, n: n, incarnation: n.incarnation, begun: s.now, id: id}
		read.ask(1)
	}
}

// An errand is what the client of a node wants once: to write, or to read.
type errand struct {
	s           *scene
	n           *node
	incarnation uint64
	begun       time.Duration
	id          string
	command     *locks.PutCommand // nil: to read
}

// ask asks for the try-th time.
func (e *errand) ask(try int) {
	if e.n.incarnation != e.incarnation || e.n.host == nil {
		return // its client goes elsewhere
	}
	kind, payload, asked := replica.KindBarrier, []byte(nil), e.s.now
	if e.command != nil {
		e.command.Request = locks.Request{ID: e.id, Hash: 1, Retry: try > 1}
		kind, payload = replica.KindPropose, locks.Encode(e.command)
	}
	e.n.submit(kind, payload, func(r replica.Result) { e.told(try, asked, r.Err) })
}

// told takes the answer to what was asked for then.
func (e *errand) told(try int, asked time.Duration, err error) {
	s, n := e.s, e.n
	if n.incarnation != e.incarnation {
		return
	}
	late := s.now - asked - s.opt.RetryAfter - 3*s.opt.Tick
	if late > 0 && max(n.Paused, s.woke[n.index]) < asked && n.SlowDisk == (dice.Delay{}) && s.slow[n.index] == 0 {
		oracle.Fail("story", "%s has no answer to %s for %v", n.name, e.id, s.now-asked)
	}
	at := s.now + n.spent // the answer leaves after the writes of this turn
	switch d := &s.desks[n.index]; {
	case err == nil:
		s.at(at, e.served)
	case at-e.begun > patience:
		if e.begun >= s.begun {
			if d.failed++; d.first == "" {
				d.first = fmt.Sprintf("%s, begun at %v: %v", e.id, e.begun, err)
			}
		}
	default:
		s.at(at+repeatIn, func() { e.ask(try + 1) })
	}
}

// served notes that the errand is done.
func (e *errand) served() {
	s, n := e.s, e.n
	d := &s.desks[n.index]
	if s.mute[n.index] && e.begun >= s.muteFrom {
		oracle.Fail("story", "%s serves %s, which was begun at %v, when it had no quorum", n.name, e.id, e.begun)
	}
	if e.begun >= s.begun {
		d.done++
		d.slowest = max(d.slowest, s.now-e.begun)
	}
	if e.command == nil || s.stopping {
		return
	}
	s.acked = append(s.acked, e.id)
	s.waited()
	s.last, d.last = s.now, s.now
}

// waited notes how long no write has been acknowledged.
func (s *scene) waited() {
	if g := s.now - s.last; g > s.gap {
		s.gap, s.gapEnds = g, s.now
	}
}
