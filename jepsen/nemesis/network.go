//go:build linux

package nemesis

import (
	"context"
	"time"

	"github.com/prytany/prytany/jepsen/wire"
)

// name is of the rules that the present fault has in force.
const name = "fault"

// cut makes a fault of rules that hold from its begin to its end.
func cut(rules func(*strike) []wire.Rule) func(context.Context, *strike) (end, error) {
	return func(_ context.Context, s *strike) (end, error) {
		s.world.Wire.Set(name, rules(s)...)
		return heal(s), nil
	}
}

func heal(s *strike) end {
	return func(context.Context) error { s.world.Wire.Set(name); return nil }
}

// both loses what goes between one of a and one of b, in a plane, both ways.
func both(a, b []string, plane wire.Plane) []wire.Rule {
	return []wire.Rule{{From: a, To: b, Plane: plane, Drop: 1}, {From: b, To: a, Plane: plane, Drop: 1}}
}

func isolate(s *strike) []wire.Rule {
	hit := names(s.nodes)
	return []wire.Rule{{From: hit, Drop: 1}, {To: hit, Drop: 1}}
}

func halves(s *strike) []wire.Rule {
	here, there := names(s.nodes), names(s.others())
	for _, c := range s.clients.Names() {
		if s.dice.IntN(2) == 0 {
			here = append(here, c)
		} else {
			there = append(there, c)
		}
	}
	return both(here, there, wire.All)
}

// peer draws one of the nodes that are not hit.
func peer(s *strike) []string {
	others := s.others()
	return names(others[s.dice.IntN(len(others)):][:1])
}

func partial(s *strike) []wire.Rule { return both(names(s.nodes), peer(s), wire.All) }

func ring(s *strike) (rules []wire.Rule) {
	n := len(s.nodes)
	for i, from := range s.nodes {
		for j, to := range s.nodes {
			if j != i && j != (i+1)%n {
				rules = append(rules, wire.Rule{From: []string{from.Name}, To: []string{to.Name}, Drop: 1})
			}
		}
	}
	return rules
}

func oneWayOut(s *strike) []wire.Rule {
	return []wire.Rule{{From: names(s.nodes), To: names(s.others()), Drop: 1}}
}

func oneWayIn(s *strike) []wire.Rule {
	return []wire.Rule{{From: names(s.others()), To: names(s.nodes), Drop: 1}}
}

func oneWayLink(s *strike) []wire.Rule {
	a, b := names(s.nodes), peer(s)
	if s.dice.IntN(2) == 0 {
		a, b = b, a
	}
	return []wire.Rule{{From: a, To: b, Drop: 1}}
}

func peersCut(s *strike) []wire.Rule { return both(names(s.nodes), names(s.others()), wire.Peers) }

func gossipCut(s *strike) []wire.Rule {
	if len(s.others()) == 0 {
		return []wire.Rule{{Plane: wire.Gossip, Drop: 1}}
	}
	return both(names(s.nodes), names(s.others()), wire.Gossip)
}

func clientsCut(s *strike) []wire.Rule {
	return both(names(s.nodes), s.clients.Names(), wire.Clients)
}

func loss(s *strike) []wire.Rule {
	return []wire.Rule{{Drop: 0.05 + 0.35*s.dice.Float64()}}
}

func delay(s *strike) []wire.Rule {
	ms := time.Duration(5+s.dice.IntN(80)) * time.Millisecond
	return []wire.Rule{{Delay: ms, Jitter: ms}}
}

func reorder(s *strike) []wire.Rule {
	return []wire.Rule{{Reorder: 0.1 + 0.4*s.dice.Float64(), Hold: time.Duration(2+s.dice.IntN(60)) * time.Millisecond}}
}

func duplicate(s *strike) []wire.Rule {
	return []wire.Rule{{Duplicate: 0.1 + 0.6*s.dice.Float64()}}
}

func slowLink(s *strike) []wire.Rule {
	rate := 15_000 + s.dice.IntN(60_000)
	return []wire.Rule{{From: names(s.nodes), Rate: rate}, {To: names(s.nodes), Rate: rate}}
}

func flap(ctx context.Context, s *strike) (end, error) {
	down := false
	return repeat(ctx, s, 50*time.Millisecond, 500*time.Millisecond, func(context.Context) error {
		if down = !down; down {
			s.world.Wire.Set(name, isolate(s)...)
		} else {
			s.world.Wire.Set(name)
		}
		return nil
	}, heal(s))
}

func swizzle(ctx context.Context, s *strike) (end, error) {
	var links [][]wire.Rule
	for i, a := range s.nodes {
		for _, b := range s.nodes[i+1:] {
			links = append(links, both([]string{a.Name}, []string{b.Name}, wire.All))
		}
	}
	order, isCut, at := s.dice.Perm(len(links)), make([]bool, len(links)), 0
	return repeat(ctx, s, 100*time.Millisecond, 700*time.Millisecond, func(context.Context) error {
		if at == len(order) {
			order, at = s.dice.Perm(len(links)), 0
		}
		isCut[order[at]] = !isCut[order[at]]
		at++
		var rules []wire.Rule
		for i, c := range isCut {
			if c {
				rules = append(rules, links[i]...)
			}
		}
		s.world.Wire.Set(name, rules...)
		return nil
	}, heal(s))
}

func weather(ctx context.Context, s *strike) (end, error) {
	s.world.Wire.Set(name, wire.Rule{Drop: 0.1, Delay: 5 * time.Millisecond, Jitter: 20 * time.Millisecond, Reorder: 0.1, Hold: 30 * time.Millisecond, Duplicate: 0.1})
	last, err := storm(ctx, s)
	if err != nil {
		return heal(s), err
	}
	return func(ctx context.Context) error {
		_ = heal(s)(ctx)
		return last(ctx)
	}, nil
}
