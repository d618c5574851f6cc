//go:build linux

package nemesis

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// A Role says whom a fault hits, by what the node does when the fault comes.
type Role string

// The roles.
const (
	Leader   Role = "leader"
	Follower Role = "follower"
	Holder   Role = "holder" // the node that served whoever holds a lock now
	Any      Role = "any"
	Minority Role = "minority"
	Majority Role = "majority"
	All      Role = "all"
	Spare    Role = "spare"
	Client   Role = "client" // the process of a client that holds a lock
)

// A Step is one fault of a plan.
type Step struct {
	Fault  string        `json:"fault"`
	Role   Role          `json:"role"`
	Length time.Duration `json:"length"`
	Seed   uint64        `json:"seed"` // of what is drawn while it lasts
}

func (s Step) String() string {
	return fmt.Sprintf("%s %s for %v", s.Fault, s.Role, s.Length.Round(10*time.Millisecond))
}

// between is what is counted for the recovery after a fault when a plan is made.
const between = time.Second

// Plan makes a plan for a run of so long, from a seed: all of names in a random
// order, again and again, each with a role and a length. As many seeds in a row as
// there are names begin with each of them once, so that short runs miss none.
func Plan(seed uint64, names []string, total time.Duration) (steps []Step, err error) {
	dice := rand.New(rand.NewPCG(seed, 0x6e656d65736973))
	var faults []Fault
	for _, name := range names {
		f, ok := Find(name)
		if !ok {
			return nil, fmt.Errorf("no fault %q; list tells which there are", name)
		}
		faults = append(faults, f)
	}
	if len(faults) == 0 {
		return nil, nil
	}
	var used time.Duration
	for used < total || len(steps) == 0 {
		for _, i := range turn(dice, seed, len(faults), len(steps) == 0) {
			f := faults[i]
			s := Step{Fault: f.Name, Role: f.Roles[dice.IntN(len(f.Roles))], Length: f.Least, Seed: dice.Uint64()}
			if f.Most > f.Least {
				s.Length += time.Duration(dice.Int64N(int64(f.Most - f.Least)))
			}
			if used += s.Length + between; used > total && len(steps) > 0 {
				return steps, nil
			}
			steps = append(steps, s)
		}
	}
	return steps, nil
}

// turn is an order of n faults. The first of a plan begins with another one for each of
// n seeds in a row.
func turn(dice *rand.Rand, seed uint64, n int, first bool) []int {
	order := dice.Perm(n)
	if first {
		round := rand.New(rand.NewPCG(seed/uint64(n), 0x726f756e64)).Perm(n)
		i := slices.Index(order, round[seed%uint64(n)])
		order[0], order[i] = order[i], order[0]
	}
	return order
}

// Select turns what a user asks for, names separated by commas, "all" and groups of
// them, into the faults that are possible here, and says which are left out, and why.
// lacks says why something that faults need is not to be had; "" if it is.
func Select(list string, lacks func(Need) string) (names, left []string, err error) {
	for _, word := range strings.Split(list, ",") {
		word = strings.TrimSpace(word)
		found := false
		for _, f := range Faults() {
			if word != f.Name && word != "all" && word != f.Group {
				continue
			}
			found = true
			why := ""
			for _, need := range f.Needs {
				if why == "" {
					why = lacks(need)
				}
			}
			switch {
			case slices.Contains(names, f.Name):
			case why != "":
				left = append(left, f.Name+": "+strings.Join(strings.Fields(why), " "))
			default:
				names = append(names, f.Name)
			}
		}
		if !found && word != "none" && word != "" {
			return nil, nil, fmt.Errorf("no fault %q; list tells which there are", word)
		}
	}
	return names, left, nil
}
