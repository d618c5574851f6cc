package fd

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/prytany/prytany/synod"
)

const (
	joinFirst = 250 * time.Millisecond // back-off between attempts to join, doubled
	joinLast  = 10 * time.Second       // up to this
	insist    = 5                      // rounds in which seeds are contacted although they seem to live
	tellAfter = 3                      // attempts before the log says that nobody answers; again after twice as many
	spread    = 2 * time.Second        // the longest wait for a change to leave this node
)

// A Detector is this node's part in the gossip. All methods may be called from
// any goroutine.
type Detector struct {
	cfg   Config
	list  *memberlist.Memberlist
	plane *plane
	news  chan struct{} // of capacity one: the view has changed
	dirty chan struct{} // of capacity one: self has changed

	// Held while self is spread, which takes up to spread: memberlist drops what
	// it has not yet sent of a node when there is something newer to say of it,
	// so that who goes must not be overtaken by himself.
	spreading sync.Mutex
	left      bool

	// Held for moments only; never while calling memberlist.
	mu          sync.Mutex
	self        Node
	table       table
	foreign     map[string]bool // addresses of nodes of other clusters that were told of
	tried       bool            // all of Config.Join, once
	seedFound   bool            // then, at an address of it, a node we may talk to
	foreignSeed string          // then, an address of it with a node of another cluster
}

// New opens the gossip sockets and returns a detector that knows only itself.
// Others may join it from now on. End it by Run or Close.
func New(cfg Config) (*Detector, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	plane, err := newPlane()
	if err != nil {
		return nil, fmt.Errorf("fd: coordinates: %w", err)
	}
	d := &Detector{
		cfg:   cfg,
		plane: plane,
		news:  make(chan struct{}, 1),
		dirty: make(chan struct{}, 1),
		self:  cfg.Self,
		table: table{members: make(map[synod.NodeID]member)},

		foreign: make(map[string]bool),
	}
	settings := cfg.settings(log.New(&logWriter{log: cfg.Log}, "", 0))
	settings.Delegate, settings.Events, settings.Ping = delegate{d}, delegate{d}, delegate{d}
	settings.Alive, settings.Merge, settings.Conflict = delegate{d}, delegate{d}, delegate{d}
	if err := cfg.listen(settings); err != nil {
		return nil, err
	}
	if d.list, err = memberlist.Create(settings); err != nil {
		return nil, errors.Join(fmt.Errorf("fd: %w", err), settings.Transport.Shutdown())
	}
	return d, nil
}

// Run joins through the seeds and spreads changes of this node's description
// until ctx ends. It keeps trying seeds that do not answer and members that
// were lost, so that the two sides of a healed partition find each other. It
// does not say good-bye: for that, Leave before. When it returns, the sockets
// are closed.
func (d *Detector) Run(ctx context.Context) error {
	var running sync.WaitGroup
	running.Go(func() { d.publish(ctx) })
	d.join(ctx)
	running.Wait()
	return errors.Join(context.Cause(ctx), d.Close())
}

// join contacts whoever is missing, at growing intervals.
func (d *Detector) join(ctx context.Context) {
	wait := joinFirst
	var missed []string
	tell := tellAfter
	for round := 1; ctx.Err() == nil; round++ {
		d.mu.Lock()
		forgot := d.table.forget(time.Now(), d.cfg.KeepDead)
		d.mu.Unlock()
		if forgot {
			d.signal()
		}
		missing := d.missing()
		if !slices.Equal(missing, missed) {
			wait, missed = joinFirst, missing
		}
		var failed error
		for _, addr := range d.targets(missing, round) {
			if ctx.Err() != nil {
				return
			}
			_, err := d.list.Join([]string{addr})
			if err != nil {
				d.cfg.Log.Debug("gossip: cannot join yet", "addr", addr, "retry", wait, "err", err)
				failed = err
			}
			if round == 1 {
				d.seedAnswered(addr, err)
			}
		}
		if round == 1 {
			d.triedAll()
		}
		if failed != nil && round >= tell && d.alone() {
			tell = 2 * round
			d.cfg.Log.Warn("no other node answers; trying again for as long as it takes",
				"tried", strings.Join(missing, ","), "err", strings.TrimSpace(failed.Error()))
		}
		// Spread over ±25 %, so that nodes that start together do not stay in step.
		pause := time.NewTimer(wait*3/4 + rand.N(wait/2))
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
		wait = min(2*wait, joinLast)
	}
}

// seedAnswered notes how an address of Config.Join answered to the first
// attempt to join it.
func (d *Detector) seedAnswered(addr string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case !slices.Contains(d.cfg.Join, addr):
	case err == nil:
		d.seedFound = true
	case strings.Contains(err.Error(), foreignText):
		d.foreignSeed = addr
	}
}

// triedAll ends the first attempt. Who has joined this node meanwhile was not
// tried.
func (d *Detector) triedAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tried = true
	for _, n := range d.table.view.Nodes {
		if n.State != Dead && slices.Contains(d.cfg.Join, n.GossipAddr) {
			d.seedFound = true
		}
	}
	d.signal()
}

// ForeignSeed returns an address of Config.Join at which a node of another
// cluster answered, "" if there is none. That is a mistake of whoever started
// this node only if it was so from the start, and at no other address of
// Config.Join a node of this cluster answered. Later an address may get another
// owner, and nobody's cluster may end through that.
func (d *Detector) ForeignSeed() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.tried || d.seedFound {
		return ""
	}
	return d.foreignSeed
}

// targets lists whom to contact in a round: who is missing, and in the first
// rounds every seed, even if it seems to live. A seed that was killed just
// after it took this node in, and is back before anybody missed it, does not
// know of this node any more.
func (d *Detector) targets(missing []string, round int) []string {
	if round > insist {
		return missing
	}
	out := slices.Concat(missing, d.cfg.Join)
	slices.Sort(out)
	return slices.Compact(out)
}

// alone reports whether no other node is known to live.
func (d *Detector) alone() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !slices.ContainsFunc(d.table.view.Nodes, func(n Node) bool { return n.ID != d.self.ID && n.State != Dead })
}

// missing lists the addresses of seeds that are no live member, and of members
// that were lost without leaving.
func (d *Detector) missing() (out []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	alive := make(map[string]bool)
	for _, n := range d.table.view.Nodes {
		if n.State != Dead {
			alive[n.GossipAddr] = true
		} else if !d.table.members[n.ID].left {
			out = append(out, n.GossipAddr)
		}
	}
	out = append(append(out, d.cfg.Join...), d.cfg.Known...)
	slices.Sort(out)
	return slices.DeleteFunc(slices.Compact(out), func(addr string) bool { return alive[addr] })
}

// maxForeign bounds how many nodes of other clusters are told of.
const maxForeign = 64

// stranger says, once for each address, that a node of another cluster was
// met: a data directory or an address to join is not what somebody thinks.
func (d *Detector) stranger(addr string, why error) {
	d.mu.Lock()
	news := !d.foreign[addr] && len(d.foreign) < maxForeign
	if news {
		d.foreign[addr] = true
	}
	d.mu.Unlock()
	if news {
		d.cfg.Log.Warn("refused to gossip with a node of another cluster; check the data directories and the addresses to join",
			"addr", addr, "why", why)
	}
}

// publish tells others whenever self has changed.
func (d *Detector) publish(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.dirty:
			if err := d.spreadSelf(); err != nil {
				d.cfg.Log.Debug("gossip: change of description not sent yet", "err", err)
			}
		}
	}
}

// spreadSelf sends self to others, unless this node has left.
func (d *Detector) spreadSelf() error {
	d.spreading.Lock()
	defer d.spreading.Unlock()
	if d.left {
		return nil
	}
	return d.list.UpdateNode(spread)
}

// Close ends the gossip without a good-bye. Others will think this node dead.
// Run does it too.
func (d *Detector) Close() error { return d.list.Shutdown() }

// Addr is the address under which others reach this detector.
func (d *Detector) Addr() string { return d.list.LocalNode().Address() }

// View returns what gossip says now.
func (d *Detector) View() View {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.table.view
}

// Changed has something to receive if the view has changed since the last
// receive. It is for one receiver.
func (d *Detector) Changed() <-chan struct{} { return d.news }

// signal says that the view has changed.
func (d *Detector) signal() { poke(d.news) }

// poke fills a channel of capacity one.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // the receiver has not yet heard of the last change
	}
}

// SetMeta changes this node's description, which spreads while Run runs. ID
// and GossipAddr stay as they are. It fails, and changes nothing, if the
// description becomes too long. update must not call the Detector.
func (d *Detector) SetMeta(update func(*Node)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := d.self
	update(&next)
	next.ID, next.GossipAddr = d.self.ID, d.self.GossipAddr
	if _, err := encodeMeta(next); err != nil {
		return err
	}
	if next != d.self {
		d.self = next
		poke(d.dirty)
	}
	return nil
}

// Leaving tells everybody that this node is about to go, so that they take its
// work over before it does. Gossip itself cannot tell a leave from a death.
func (d *Detector) Leaving() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.self.State != Leaving {
		d.self.State = Leaving // a flag: the description stays as long as it is
		poke(d.dirty)
	}
}

// Leave tells everybody that this node is gone, Leaving included, and waits
// until that is on its way or ctx's deadline passes. Run goes on until its
// context ends, which must not be before Leave has returned.
func (d *Detector) Leave(ctx context.Context) error {
	d.Leaving()
	d.spreading.Lock()
	defer d.spreading.Unlock()
	d.left = true
	// In this goroutine: memberlist panics if the sockets close while it leaves.
	for _, step := range []func(time.Duration) error{d.list.UpdateNode, d.list.Leave} {
		left := spread
		if end, ok := ctx.Deadline(); ok {
			left = min(left, time.Until(end))
		}
		if ctx.Err() != nil || left <= 0 {
			return fmt.Errorf("fd: leave: %w", context.DeadlineExceeded)
		}
		if err := step(left); err != nil {
			return fmt.Errorf("fd: leave: %w", err)
		}
	}
	return nil
}

// HealthScore is how well this node keeps up with the gossip: 0 is well, each
// point stretches its probes ("Lifeguard", Dadgar et al., 2017).
func (d *Detector) HealthScore() int { return d.list.GetHealthScore() }

// RTT predicts the round trip to a node. ok is false until that node has
// answered a probe.
func (d *Detector) RTT(id synod.NodeID) (e Estimate, ok bool) { return d.plane.estimate(id) }

// Distance predicts the round trip between two nodes, of which each may be this
// one. ok is false if one of them has not answered a probe of this node, or has
// measured nothing yet. From a node to itself it is 0.
func (d *Detector) Distance(a, b synod.NodeID) (rtt time.Duration, ok bool) {
	from, to := d.plane.known(a, d.cfg.Self.ID), d.plane.known(b, d.cfg.Self.ID)
	if from == nil || to == nil {
		return 0, false
	}
	if a == b {
		return 0, true
	}
	return from.DistanceTo(to), true
}
