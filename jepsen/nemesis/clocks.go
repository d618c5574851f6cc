//go:build linux

package nemesis

import (
	"context"
	"errors"
	"time"

	"github.com/prytany/prytany/internal/fault/clockfile"
	"github.com/prytany/prytany/jepsen/world"
)

// The clocks of nodes, in a binary that was built for that. The names of those that
// break what is promised begin with "clock": see IsWild in package history. A drift within the
// promise is none of them, and everything is asked of a run that has only that.
func clockFaults() []Fault {
	need := []Need{Clock}
	one := []Role{Leader, Follower}
	const long = 6 * second
	return []Fault{
		{"drift", "clock", "a node's clock runs by almost a hundredth too fast or too slow, as is promised to be harmless", need, one, 3 * second, long, drifting(9_500)},
		{"drift-all", "clock", "all nodes' clocks do, by half of that each", need, []Role{All}, 3 * second, long, drifting(4_500)},
		{"clock-rate", "clock", "a node's clock runs several times too fast, or far too slow", need, []Role{Leader, Follower, Minority, All}, 2 * second, 5 * second, wildRate},
		{"clock-stop", "clock", "a node's clock stands still", need, one, second, 4 * second, stoppedClock},
		{"clock-jump", "clock", "a node's clock jumps ahead, up to four minutes", need, []Role{Leader, Follower, All}, second, 3 * second, jumping},
		{"clock-strobe", "clock", "a node's clock jumps and changes its rate many times a second", need, []Role{Leader, Follower, All}, 2 * second, 4 * second, strobe},
		{"clock-suspend", "clock", "a node stands still, and its clock says that it was for minutes, as after a suspend of its machine", need, one, second, 3 * second, suspended},
	}
}

// setRate sets the rates of the clocks of nodes, in parts per million.
func setRate(nodes []*world.Node, rate func() int64) error {
	var errs []error
	for _, n := range nodes {
		errs = append(errs, n.Clock(func(c *clockfile.File, machine time.Duration) { c.Run(machine, rate()) }))
	}
	return errors.Join(errs...)
}

// goodRate has clocks run as they should again. What they are ahead stays.
func goodRate(s *strike) end {
	return func(context.Context) error { return setRate(s.nodes, func() int64 { return clockfile.One }) }
}

// drifting draws a rate for each node: off by most parts per million at most, and by half
// of that at least.
func drifting(most int64) func(context.Context, *strike) (end, error) {
	return func(_ context.Context, s *strike) (end, error) {
		return goodRate(s), setRate(s.nodes, func() int64 {
			off := most/2 + s.dice.Int64N(most/2+1)
			if s.dice.IntN(2) == 0 {
				off = -off
			}
			return clockfile.One + off
		})
	}
}

// anyRate draws a rate that nobody promised.
func anyRate(s *strike) int64 {
	if s.dice.IntN(2) == 0 {
		return clockfile.One/20 + s.dice.Int64N(clockfile.One*8/10)
	}
	return clockfile.One*11/10 + s.dice.Int64N(5*clockfile.One)
}

func wildRate(_ context.Context, s *strike) (end, error) {
	return goodRate(s), setRate(s.nodes, func() int64 { return anyRate(s) })
}

func stoppedClock(_ context.Context, s *strike) (end, error) {
	return goodRate(s), setRate(s.nodes, func() int64 { return 0 })
}

// jump has the clocks of nodes jump ahead by up to most.
func jump(s *strike, nodes []*world.Node, most time.Duration) error {
	var errs []error
	for _, n := range nodes {
		d := time.Duration(s.dice.Int64N(int64(most)))
		errs = append(errs, n.Clock(func(c *clockfile.File, machine time.Duration) { c.Jump(machine, d) }))
	}
	return errors.Join(errs...)
}

// farJump is how far clocks jump at most.
const farJump = 4 * time.Minute

func jumping(_ context.Context, s *strike) (end, error) {
	most := farJump
	if s.dice.IntN(2) == 0 {
		most = 3 * second
	}
	return func(context.Context) error { return nil }, jump(s, s.nodes, most)
}

func strobe(ctx context.Context, s *strike) (end, error) {
	return repeat(ctx, s, 5*time.Millisecond, 80*time.Millisecond, func(context.Context) error {
		if s.dice.IntN(3) == 0 {
			return jump(s, s.nodes, second)
		}
		return setRate(s.nodes, func() int64 { return anyRate(s) })
	}, goodRate(s))
}

func suspended(ctx context.Context, s *strike) (end, error) {
	resume, err := paused(ctx, s)
	if err != nil {
		return resume, err
	}
	return func(ctx context.Context) error {
		return errors.Join(jump(s, s.nodes, farJump), resume(ctx))
	}, nil
}
