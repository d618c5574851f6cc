// Package work is processes that use a simulated cluster as package client does,
// and what they do while they believe that they hold a lock: they change
// resources that are no part of the cluster (package effect), over a network
// whose messages may be late, by clocks that go their own way, and now and then
// they stand still for longer than their leases last.
package work

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/prytany/prytany/internal/sim/audit"
	"github.com/prytany/prytany/internal/sim/dice"
	"github.com/prytany/prytany/internal/sim/effect"
	"github.com/prytany/prytany/locks"
)

// The locks that workers use, and how many hold that of slots.
const (
	workLock  = "work-lock" // exclusive
	workShare = "work-share"
	workSeat  = "work-seat" // an election
	workPool  = "work-pool" // a semaphore
	poolSlots = 2
)

// A Plan says what workers do.
type Plan struct {
	Workers   int // with 0 of them the dice are those of old
	TTL       time.Duration
	LockDelay time.Duration
	Think     dice.Delay // between two steps
	Delay     dice.Delay // of a message between worker and node
	Reach     dice.Delay // of a message between worker and resource
	Waiting   bool       // they queue
	Hold      bool       // they have renewals held back
	Breaks    bool       // they break locks by force, and ask to yield
}

// Hooks break what workers rely on, so that tests can show that it is noticed.
type Hooks struct {
	Fencing effect.Fencing                   // of the resources
	Accept  func(fence, highest uint64) bool // decides for them
	Receipt bool                             // leases are counted from the receipt of answers
	Drift   int64                            // added to that of clocks, in parts per million
}

// A Config says what workers do, and where.
type Config struct {
	Plan
	Hooks    Hooks
	Seed     uint64
	Nodes    int
	Wild     bool          // clocks of nodes may break their promise
	MaxDrift int           // clocks run this many parts per million fast or slow, at most
	Timeout  time.Duration // after which they ask again
}

// A Cluster is what workers talk to, and the time that passes.
type Cluster interface {
	Now() time.Duration
	At(t time.Duration, f func())
	Over() bool // nobody is to do anything any more
	Trace(what string, arg any)

	// Serve hands a command to a node, which tells the result if it can. An
	// acquire that has to wait for its turn is told then, or after so long.
	Serve(node int, c locks.Command, wait time.Duration, tell func(locks.Result, error))
	// KeepAlive has a node renew the lease of a session, and if hold is not 0 once
	// more when there is news of it after revision since, or hold is over.
	KeepAlive(node int, session string, since uint64, hold time.Duration, tell func(Kept))
}

// Kept is the answer to a keepalive.
type Kept struct {
	State locks.LeaseState
	Asked time.Duration // the lease began anew later than that
	Left  time.Duration // of it, when the leader was asked
	Held  time.Duration // by the node's clock, for which the answer was held back
	News  []locks.Change
	UpTo  uint64 // revision up to which the news is told; 0 if none was asked for
}

// A Yard is where workers work: the resources beyond the cluster. It has dice of
// its own.
type Yard struct {
	w       Cluster
	cfg     Config
	account *audit.Account
	rng     *rand.Rand
	workers []*worker
	beliefs *effect.Beliefs
	fenced  map[string]*effect.Resource // by lock
	plain   map[string]*effect.Resource // the same updates again, without a look at fences
}

// Begin begins the workers, if there are any.
func Begin(c Cluster, cfg Config, a *audit.Account, counts *effect.Counts) *Yard {
	y := &Yard{
		w: c, cfg: cfg, account: a, rng: rand.New(rand.NewPCG(cfg.Seed, 0x79617264)), beliefs: effect.NewBeliefs(a, counts),
		fenced: map[string]*effect.Resource{}, plain: map[string]*effect.Resource{},
	}
	y.beliefs.Wild = cfg.Wild
	for _, lock := range []string{workLock, workShare, workSeat} {
		y.fenced[lock] = effect.NewResource(lock, cfg.Hooks.Fencing, a, counts, cfg.Hooks.Accept)
		y.plain[lock] = effect.NewResource(lock, effect.Unfenced, a, counts, nil)
	}
	for i := range cfg.Workers {
		v := &worker{Yard: y, index: i, name: fmt.Sprintf("worker %d", i+1)}
		v.setClock()
		y.workers = append(y.workers, v)
		v.later(y.think(), v.open)
	}
	a.Expired = func(session string) { y.beliefs.Expired(session, c.Now()) }
	return y
}

func (y *Yard) think() time.Duration { return y.cfg.Think.Sample(y.rng) }
func (y *Yard) delay() time.Duration { return y.cfg.Delay.Sample(y.rng) }

// reach is how long a message to or from a resource is on its way.
func (y *Yard) reach() time.Duration { return min(y.cfg.Reach.Sample(y.rng), 3*y.cfg.TTL) }

// Crash ends one of the workers, with all that it holds, if there are any.
func (y *Yard) Crash() bool {
	if len(y.workers) == 0 {
		return false
	}
	dice.Pick(y.rng, y.workers...).crash()
	return true
}

// CrashHolder ends one of the workers that believe to hold a lock, if there are any.
func (y *Yard) CrashHolder() bool {
	var holders []*worker
	for _, v := range y.workers {
		if v.held != nil && v.held.Lasts(y.w.Now()) {
			holders = append(holders, v)
		}
	}
	if len(holders) == 0 {
		return false
	}
	dice.Pick(y.rng, holders...).crash()
	return true
}

// Pause makes one of the workers stand still, at once or between its next check
// and act: from a tenth of a second to several TTLs, short times as often as long
// ones. It reports whether there is one.
func (y *Yard) Pause() bool {
	if len(y.workers) == 0 {
		return false
	}
	v := dice.Pick(y.rng, y.workers...)
	const shortest = 100 * time.Millisecond
	most := float64(4*y.cfg.TTL) / float64(shortest)
	d := time.Duration(float64(shortest) * math.Pow(most, y.rng.Float64()))
	if dice.Chance(y.rng, 0.5) {
		v.stall = d
		return true
	}
	y.w.Trace(v.name+" stands still", d)
	v.paused = max(v.paused, y.w.Now()+d)
	return true
}
