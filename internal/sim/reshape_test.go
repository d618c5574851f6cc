package sim

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/sim/dice"
	"github.com/prytany/prytany/internal/sim/plan"
	"github.com/prytany/prytany/paxos"
)

// changing returns the run of a seed in which the voters of main and of eight
// groups beside it change all the time while one kind of fault strikes.
func changing(f plan.Fault, seed uint64) Options {
	o := storyOptions(5, seed)
	o.Mode, o.Chaos, o.Settle = plan.Safety, 16*time.Second, 6*time.Second
	o.Churn, o.Sides, o.SideMoves = true, 8, true
	o.Faults, o.FaultEvery, o.FaultLast = []plan.Fault{f}, 600*time.Millisecond, 600*time.Millisecond
	o.Drop, o.Dup = 0.001, 0.001
	o.Sync.Tail, o.Sync.Mean = 0.01, 10*time.Millisecond
	o.SnapshotSlots, o.TailSlots = 50, 20
	o.HandOverEvery, o.Revive = 4*time.Second, seed%2 == 0
	return o
}

// TestVotersChangeUnderEveryFault has each kind of fault strike alone while voters of
// main and of other groups come and go. What clients suffer alone is left out.
func TestVotersChangeUnderEveryFault(t *testing.T) {
	if testing.Short() {
		t.Skip("a long search in one goroutine")
	}
	const begun, decided = 4, 4 // at least
	const most = 8              // runs in which that must come about
	for f := range plan.ClientPause {
		if f == plan.ClientCut {
			continue
		}
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			var sum Stats
			d := &sum.During[f]
			for seed := uint64(1); seed <= most && (d.Begun < begun || d.Decided < decided); seed++ {
				r, err := Run(changing(f, seed))
				if err == nil {
					err = checkHistory(r)
				}
				if err != nil {
					t.Fatal(err)
				}
				sum.add(&r.Stats)
			}
			t.Logf("%d faults; while one was on %d reconfigurations were begun and %d decided, of %d in all",
				sum.Faults[f], d.Begun, d.Decided, sum.Reconfigured+sum.SideMoves)
			if d.Begun < begun || d.Decided < decided {
				t.Errorf("%d reconfigurations begun and %d decided while it was on, in %d runs; want %d and %d", d.Begun, d.Decided, most, begun, decided)
			}
		})
	}
}

// An ask is a request for a reconfiguration whose outcome is waited for.
type ask struct {
	node   *node
	inc    uint64
	group  paxos.GroupID
	of     paxos.ConfigID
	wants  []paxos.Membership // what was proposed, each time
	err    error
	ended  chan struct{}
	cancel func()
}

// An entered context tells when somebody begins to wait for its end.
type entered struct {
	context.Context
	once sync.Once
	here chan struct{}
}

// Done implements [context.Context].
func (e *entered) Done() <-chan struct{} {
	e.once.Do(func() { close(e.here) })
	return e.Context.Done()
}

// asks has n propose what change makes of the configuration of, and comes back
// once the request is with the host.
func (w *World) asks(n *node, g paxos.GroupID, of paxos.ConfigID, change func(paxos.Membership) paxos.Membership) *ask {
	ctx, cancel := context.WithCancel(context.Background())
	e := &entered{Context: ctx, here: make(chan struct{})}
	a := &ask{node: n, inc: n.incarnation, group: g, of: of, ended: make(chan struct{}), cancel: cancel}
	h := n.host
	go func() {
		defer close(a.ended)
		a.err = h.Reconfigure(e, g, w.counted(func(m paxos.Membership) (paxos.Membership, error) {
			if m.ID != of || m.Ordinal(n.id) == 0 {
				return m, errOther
			}
			next := change(m)
			a.wants = append(a.wants, next)
			return next, nil
		}))
	}()
	<-e.here
	n.pollBy(w.now)
	return a
}

// rivals has two members of s want different voters out at once, asking the same
// leader and whoever else believes to lead.
func (w *World) rivals(s *side) (asked []*ask) {
	now := s.oracle.Config()
	if len(now.Voters) < 3 {
		return nil
	}
	for _, n := range w.nodes {
		if l := n.ledgers[s.id]; n.host == nil || l == nil || !l.Leading || now.Seat(n.id) < 0 {
			continue
		}
		for _, v := range now.Voters {
			if v.Node != n.id {
				asked = append(asked, w.asks(n, s.id, now.ID, func(m paxos.Membership) paxos.Membership {
					return m.Without(v.Node, m.Ordinal(n.id))
				}))
			}
		}
	}
	return asked
}

// TestOneOfTwoReconfigurationsWins asks for different configurations at once, under
// faults: no more than one request is told that its own is in force, and it is.
func TestOneOfTwoReconfigurationsWins(t *testing.T) {
	n := uint64(8)
	if testing.Short() {
		n = 3
	}
	won, told, unknown := 0, 0, 0
	for seed := uint64(1); seed <= n; seed++ {
		o := changing(plan.Isolate, seed)
		o.Churn, o.Sides = false, 3
		o.Faults = []plan.Fault{plan.Isolate, plan.CutOneWay, plan.Crash, plan.Pause, plan.SlowDisk}
		w := newWorld(o)
		var asked []*ask
		var contest func()
		contest = func() {
			if w.healed {
				return
			}
			w.at(w.now+time.Second, contest)
			s := w.sides[w.souls.IntN(len(w.sides))]
			if dice.Chance(w.souls, 0.9) {
				asked = append(asked, w.rivals(s)...)
			}
		}
		w.at(2*time.Second, contest)
		if err := w.run(); err != nil {
			t.Fatal(err)
		}
		winners := map[paxos.GroupID]map[paxos.ConfigID]*ask{}
		for _, a := range asked {
			if a.node.incarnation != a.inc || a.node.host == nil {
				a.cancel() // its process has ended
			}
			<-a.ended
			switch {
			case a.err == nil:
				won++
				if w := winners[a.group][a.of]; w != nil && !slices.EqualFunc(w.wants[len(w.wants)-1].Voters, a.wants[len(a.wants)-1].Voters, sameMember) {
					t.Errorf("seed %d: two requests were told that they made configuration %d of group %d", seed, a.of+1, a.group)
				}
				if winners[a.group] == nil {
					winners[a.group] = map[paxos.ConfigID]*ask{}
				}
				winners[a.group][a.of] = a
				if got := w.configs[a.group][a.of-1]; len(a.wants) == 0 || got.ID != a.of+1 || !slices.EqualFunc(got.Voters, a.wants[len(a.wants)-1].Voters, sameMember) {
					t.Errorf("seed %d: a request was told that %v is in force; it is %v", seed, a.wants, got)
				}
			case errors.Is(a.err, paxos.ErrUnknownOutcome):
				unknown++
			default:
				told++
			}
		}
	}
	t.Logf("%d won, %d were told that they did not, %d of unknown outcome", won, told, unknown)
	if won < 5*int(n) || told < 5*int(n) {
		t.Errorf("%d won and %d were told that they did not: too few to show anything", won, told)
	}
}

func sameMember(a, b paxos.Member) bool { return a.Node == b.Node && a.Ordinal == b.Ordinal }
