//go:build linux

package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/world"
)

// A Nemesis carries plans out.
type Nemesis struct {
	World   *world.World
	Clients Clients
	Write   func(history.Event)
	Say     func(format string, args ...any) // for who watches
	// Archive keeps what a node has on its disk, before that is lost for good. The node
	// does not run.
	Archive func(*world.Node) error
	// Recovery is within what time the cluster has to come to rest after a fault.
	Recovery time.Duration
	// Stood is for how long the machine itself has stood still so far: that is no time in
	// which a cluster could have come to rest.
	Stood func() time.Duration

	breaches []string
	done     map[string]int
}

// Breaches are what the faults have shown that may not be, beside what the history
// shows: a node that runs where it has to refuse, a cluster that does not recover.
func (n *Nemesis) Breaches() []string { return n.breaches }

// Done is how many faults came and went, by kind.
func (n *Nemesis) Done() map[string]int { return n.done }

// Run carries out steps one after the other, until they are done or time is over.
// An error is that a fault could not be made or taken away.
func (n *Nemesis) Run(ctx context.Context, steps []Step, until time.Time) error {
	for i, step := range steps {
		if ctx.Err() != nil || time.Now().After(until) {
			n.Write(history.Event{Kind: history.Note, Text: fmt.Sprintf("the time is over before %d of %d faults", len(steps)-i, len(steps))})
			return nil
		}
		if err := n.step(ctx, step); err != nil {
			return fmt.Errorf("fault %s: %w", step, err)
		}
	}
	return nil
}

// step lets one fault come, last and go, and waits for the cluster's recovery.
func (n *Nemesis) step(ctx context.Context, step Step) error {
	f, ok := Find(step.Fault)
	if !ok {
		return errors.New("no such fault")
	}
	s := &strike{Step: step, world: n.World, clients: n.Clients, dice: rand.New(rand.NewPCG(step.Seed, 1)), archive: n.Archive, breach: n.breach, note: n.note}
	s.nodes = n.targets(ctx, step.Role, s.dice)
	n.Say("%s: %s", step, strings.Join(names(s.nodes), " "))
	event := history.Event{Kind: history.Fault, Fault: step.Fault, Phase: "begin", Nodes: names(s.nodes)}
	// The line comes before the fault is there, so that all of it is within.
	n.Write(event)
	undo, err := f.begin(ctx, s)
	if err == nil {
		sleep(ctx, step.Length)
	}
	if undo != nil {
		// Also when the run is over: nothing may be left broken.
		fresh, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
		defer cancel()
		err = errors.Join(err, undo(fresh))
	}
	event.Phase = "end"
	if s.whom != nil {
		event.Text = strings.Join(s.whom, " ")
	}
	n.Write(event)
	if err != nil {
		return err
	}
	if n.done == nil {
		n.done = map[string]int{}
	}
	n.done[step.Fault]++
	begin := time.Now()
	leader, err := n.settle(ctx)
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		n.breach("%v after %s was over: %v", n.Recovery, step, err)
		return n.revive(ctx)
	}
	n.note("settled %v after %s, %s leads", time.Since(begin).Round(time.Millisecond), step.Fault, leader.Name)
	sleep(ctx, 300*time.Millisecond)
	return nil
}

// settle waits until the cluster has come to rest, for as long as it may take and for
// whatever time the machine stood still meanwhile.
func (n *Nemesis) settle(ctx context.Context) (*world.Node, error) {
	stood, limit := n.Stood(), n.Recovery
	for {
		leader, err := n.World.Settle(ctx, limit)
		now := n.Stood()
		if err == nil || ctx.Err() != nil || now <= stood {
			return leader, err
		}
		stood, limit = now, now-stood
	}
}

// revive starts what has ended where it should not have, so that a run can go on
// after a breach.
func (n *Nemesis) revive(ctx context.Context) error {
	for _, node := range n.World.Voters() {
		if !node.Running() {
			n.breach("%s has ended by itself", node.Name)
		}
	}
	if err := start(n.World.Voters())(ctx); err != nil {
		return err
	}
	return await(ctx, "any leader", func(ctx context.Context) (bool, error) {
		return n.World.Leader(ctx) != nil, nil
	})
}

func (n *Nemesis) breach(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	n.breaches = append(n.breaches, text)
	n.Write(history.Event{Kind: history.Note, Text: "breach: " + text})
	n.Say("BREACH: %s", text)
}

func (n *Nemesis) note(format string, args ...any) {
	n.Write(history.Event{Kind: history.Note, Text: fmt.Sprintf(format, args...)})
}

// targets finds who has a role now. Without a leader any node is taken for it.
func (n *Nemesis) targets(ctx context.Context, role Role, dice *rand.Rand) []*world.Node {
	voters := n.World.Voters()
	order := dice.Perm(len(voters))
	pick := func(k int) (out []*world.Node) {
		for _, i := range order[:k] {
			out = append(out, voters[i])
		}
		return out
	}
	minority := (len(voters) - 1) / 2
	switch role {
	case Leader, Follower:
		leader := n.World.Leader(ctx)
		if leader == nil {
			return pick(1)
		}
		if role == Leader {
			return []*world.Node{leader}
		}
		i := slices.IndexFunc(order, func(i int) bool { return voters[i] != leader })
		return []*world.Node{voters[order[i]]}
	case Holder:
		if node := n.World.Node(n.Clients.ServedBy()); node != nil {
			return []*world.Node{node}
		}
		return pick(1)
	case Any:
		return pick(1)
	case Minority:
		return pick(max(1, minority))
	case Majority:
		return pick(len(voters) - minority)
	case All:
		return pick(len(voters))
	case Spare:
		return n.World.Nodes[len(voters):][:1]
	}
	return nil
}
