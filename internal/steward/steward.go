// Package steward looks after the groups that a node has a part in: it makes them,
// learns them and drops them as the directory says, and where the node leads it
// carries out the changes of members that are wanted, a step at a time. It also
// answers what people ask about groups and members.
//
// What to do about a group is decided by looking at the directory and at the group
// itself, never by what was done before: whoever leads next goes on. [decide] is that
// decision, as a function.
//
// # Goroutines
//
// Run decides; what takes time, a durable write or a round trip, is an errand of its
// own. There is at most one for each group, and at most maxErrands at a time.
package steward

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/directory"
	"github.com/prytany/prytany/internal/placement"
	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

const (
	maxErrands  = 16               // under way at a time
	maxChanges  = 32               // begun by leaders on this node by themselves and not carried out
	maxReplaced = 10               // dead members whose replacement a node begins in a minute
	errandTime  = 5 * time.Second  // that an errand may take
	againSoon   = time.Second / 5  // until a group with something left to do is looked at again
	echoes      = 3                // looks at a group after it was told of
	againLater  = time.Second      // if what it waits for comes from afar
	lookEvery   = 10 * time.Second // at all groups
	giveUpAfter = 10 * time.Minute // a change whose new member is dead, or cannot begin
	stopAfter   = 10 * time.Second // a node that was removed and has no vote any more
	holdFor     = 10 * time.Hour   // a part of no use here, while others may need it
)

// ErrRemoved ends [Steward.Run] on a node that was removed from its cluster and has
// no vote anywhere any more.
var ErrRemoved = errors.New("this node was removed from the cluster by `prytany member remove` or `member replace`, and takes no part in it any more; " +
	"move its data directory away, and start it with an empty one and --join to make it a new member")

// A Host is what is needed of [replica.Host].
type Host interface {
	Group(g paxos.GroupID) (s replica.GroupStatus, ok bool)
	Status() ([]replica.GroupStatus, []leader.Link)
	Create(ctx context.Context, g paxos.GroupID, m paxos.Membership) error
	Drop(ctx context.Context, g paxos.GroupID) error
	Leave(ctx context.Context, g paxos.GroupID) error
	Learn(g paxos.GroupID, from []synod.NodeID)
	Propose(ctx context.Context, g paxos.GroupID, cmd []byte) (replica.Result, error)
	Barrier(ctx context.Context, g paxos.GroupID) (paxos.Slot, error)
	Reconfigure(ctx context.Context, g paxos.GroupID, change func(paxos.Membership) (paxos.Membership, error)) error
	HandOver(ctx context.Context, g paxos.GroupID, to synod.NodeID) (synod.NodeID, error)
}

// A Directory is what is needed of [directory.Machine].
type Directory interface {
	View() *directory.View
	Changed(v *directory.View) <-chan struct{}
}

// A Peer is a node of the cluster as gossip shows it.
type Peer struct {
	ID       synod.NodeID
	Name     string
	Zone     string
	PeerAddr string
	Gossip   string // as in api.Link
	Alive    bool
}

// Config configures a Steward. Fields without a stated default are required. All
// functions may be called from many goroutines at once and must be quick, but Ask.
type Config struct {
	Self      synod.NodeID
	Name      string
	Host      Host
	Directory Directory
	// Peers returns the nodes of the cluster that gossip knows, this one among them,
	// by ID.
	Peers func() []Peer
	// RTT tells how far two nodes are from each other.
	RTT placement.Distance
	// URL returns where a node's API is, "" if unknown.
	URL func(synod.NodeID) string
	// Ask sends a request to the API of another node and decodes its answer into out.
	// Errors may be [*api.Problem]s.
	Ask func(ctx context.Context, node synod.NodeID, method, path string, in, out any) error
	// Transfer hands the lead of a group over, wherever it is.
	Transfer func(ctx context.Context, group, to string) error
	// Here returns this node's part in a group.
	Here func(paxos.GroupID) (api.GroupStatus, bool)
	// Event tells people what happens.
	Event func(api.NodeEvent)

	// ReplaceAfter is for how long gossip must have shown a member dead until the
	// leader of its group replaces it. 0 means never.
	ReplaceAfter time.Duration
	// ReplaceFrom is the number of voters from which on a group has dead ones replaced.
	// 0 means 5.
	ReplaceFrom int

	Log *slog.Logger // nil means silence
}

func (c Config) withDefaults() Config {
	if c.ReplaceFrom == 0 {
		c.ReplaceFrom = 5
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// A Steward looks after the groups of one node.
type Steward struct {
	cfg   Config
	bell  chan struct{} // room for one
	ended chan ended

	mu    sync.Mutex
	dirty map[paxos.GroupID]bool // to be looked at
	all   bool                   // everything is
	named struct {               // the answer of Seat
		view  *directory.View
		voter synod.NodeID
		taken bool
	}

	// Owned by Run.
	view     *directory.View
	cares    map[paxos.GroupID]*care // groups with something left to do
	refused  map[paxos.GroupID]bool  // dropped for ever, or another trouble that will not end
	errands  int
	current  bool // the view is no older than the start of this process
	lookedAt time.Time
	dead     map[synod.NodeID]time.Time // since when gossip shows them dead, as seen here
	replaced []time.Time                // when replacements of dead members were begun
	loads    loads
	births   births
	outSince time.Time // since when this node, which was removed, has no vote anywhere
}

// A care is what Run remembers of a group with something left to do. All of it may
// be lost: it is about when to look again and what was told already.
type care struct {
	busy   bool // an errand is under way
	next   time.Time
	plan   uint64       // the change that is waited for, as leader
	since  time.Time    // and since when; or since when a part in a group is of no use
	adding synod.NodeID // by a plan that is being begun
	told   string       // why it waits, as told last
	why    string       // why it waits now
	waits  time.Time    // and since when for that and nothing else
	echo   int          // how often to look again although nothing is to be done
}

// ended is the end of an errand.
type ended struct {
	group paxos.GroupID
	act   act
	err   error
}

// New returns a Steward; Run runs it.
func New(cfg Config) *Steward {
	return &Steward{
		cfg: cfg.withDefaults(), bell: make(chan struct{}, 1), ended: make(chan ended, maxErrands+1),
		dirty: map[paxos.GroupID]bool{}, all: true,
		cares: map[paxos.GroupID]*care{}, refused: map[paxos.GroupID]bool{}, dead: map[synod.NodeID]time.Time{},
	}
}

// Note says that something about g may have changed. It does not block.
func (s *Steward) Note(g paxos.GroupID) {
	s.mu.Lock()
	s.dirty[g] = true
	s.mu.Unlock()
	s.ring()
}

// NoteAll says that something about all groups may have changed: who is alive.
func (s *Steward) NoteAll() {
	s.mu.Lock()
	s.all = true
	s.mu.Unlock()
	s.ring()
}

func (s *Steward) ring() {
	select {
	case s.bell <- struct{}{}:
	default:
	}
}

// Run works until ctx ends, or this node finds that it was removed: [ErrRemoved].
func (s *Steward) Run(ctx context.Context) error {
	var errands sync.WaitGroup
	defer errands.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errands.Go(func() { s.awaitCurrent(ctx) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next, err := s.pass(ctx, time.Now(), &errands)
		if err != nil {
			return err
		}
		timer.Reset(next)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.cfg.Directory.Changed(s.view):
		case <-s.bell:
		case e := <-s.ended:
			s.end(e, time.Now())
		case <-timer.C:
		}
	}
}

// awaitCurrent waits until the directory here is no older than this process: before
// it may be that of long ago, read again from the log.
func (s *Steward) awaitCurrent(ctx context.Context) {
	for ctx.Err() == nil {
		within, cancel := context.WithTimeout(ctx, errandTime)
		_, err := s.cfg.Host.Barrier(within, paxos.Main)
		cancel()
		if err == nil {
			select {
			case s.ended <- ended{group: 0}:
			case <-ctx.Done():
			}
			return
		}
		select {
		case <-time.After(againSoon):
		case <-ctx.Done():
		}
	}
}

// end takes note of the end of an errand.
func (s *Steward) end(e ended, now time.Time) {
	if e.group == 0 {
		s.current = true
		s.NoteAll()
		return
	}
	s.errands--
	if e.act.kind == creates {
		waiting, until := s.births.end(now)
		for _, g := range waiting {
			s.care(g).next = until
		}
	}
	c := s.care(e.group)
	c.busy, c.adding = false, 0
	c.next = now
	switch {
	case errors.Is(e.err, replica.ErrGroupDropped):
		s.refused[e.group] = true
		s.cfg.Log.Info("a group that this node gave up for ever is not begun again", "group", s.name(e.group))
	case e.err != nil && !errors.Is(e.err, replica.ErrGroupExists):
		c.next = now.Add(againSoon)
		s.cfg.Log.Debug("put off", "group", s.name(e.group), "what", e.act.kind.String(), "err", e.err)
	}
}

func (s *Steward) care(g paxos.GroupID) *care {
	c := s.cares[g]
	if c == nil {
		c = &care{}
		s.cares[g] = c
	}
	return c
}

// name names a group for people.
func (s *Steward) name(id paxos.GroupID) string {
	if g := s.cfg.Directory.View().Group(id); g != nil {
		return g.Name
	}
	return fmt.Sprint(uint64(id))
}
