package directory

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// CheckName returns an error if name cannot be that of a group: 1 to MaxName bytes, of
// which the first is one of a-z and 0-9 and the others may be one of ._- too.
func CheckName(name string) error {
	if name == "" || len(name) > MaxName {
		return fmt.Errorf("a group's name has 1 to %d bytes; this one has %d", MaxName, len(name))
	}
	for i, r := range name {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
		case !strings.ContainsRune("._-", r):
			return fmt.Errorf("a group's name is made of a-z, 0-9, '.', '_' and '-'; %q has %q", name, r)
		case i == 0:
			return fmt.Errorf("a group's name begins with a letter or a digit; %q begins with %q", name, r)
		}
	}
	return nil
}

// checkText returns an error if a text is too long.
func checkText(what, s string) error {
	if len(s) > MaxText {
		return fmt.Errorf("%s: %d bytes; at most %d fit", what, len(s), MaxText)
	}
	return nil
}

func checkReplicas(n int) error {
	if n < 1 || n > MaxReplicas {
		return fmt.Errorf("a group has 1 to %d replicas, not %d", MaxReplicas, n)
	}
	return nil
}

// checkMembers returns an error unless ms are 1 to most different nodes.
func checkMembers(ms []paxos.Member, most int) error {
	if len(ms) < 1 || len(ms) > most {
		return fmt.Errorf("1 to %d members are possible; these are %d", most, len(ms))
	}
	seen := map[synod.NodeID]bool{}
	for _, m := range ms {
		if seen[m.Node] {
			return fmt.Errorf("node %v is a member twice", m.Node)
		}
		seen[m.Node] = true
		if err := checkMember(m); err != nil {
			return err
		}
	}
	return nil
}

func checkMember(m paxos.Member) error {
	if m.Node == 0 {
		return errors.New("a member has no node")
	}
	return cmp.Or(checkText("name of a node", m.Name), checkText("address of a node", m.PeerAddr))
}

// checkWish returns an error unless a group can have these zones and this neighbour.
func checkWish(zones []string, near string) error {
	if len(zones) > MaxZones {
		return fmt.Errorf("a group has at most %d zones; these are %d", MaxZones, len(zones))
	}
	seen := map[string]bool{}
	for _, z := range zones {
		if z == "" {
			return errors.New("a zone has no name")
		}
		if err := checkText("zone", z); err != nil {
			return err
		}
		if seen[z] {
			return fmt.Errorf("zone %s is there twice", z)
		}
		seen[z] = true
	}
	return checkText("near", near)
}

func (c *Create) check() error {
	if err := CheckName(c.Name); err != nil {
		return err
	}
	if err := checkReplicas(c.Replicas); err != nil {
		return err
	}
	if err := checkWish(c.Zones, c.Near); err != nil {
		return err
	}
	if err := checkText("request", c.Request); err != nil {
		return err
	}
	return checkMembers(c.Members, c.Replicas)
}

func (c *Remove) check() error {
	switch {
	case c.Node == 0:
		return errors.New("no node is named")
	case c.By == c.Node:
		return fmt.Errorf("node %v cannot take its own places", c.Node)
	}
	return checkText("name of a node", c.Name)
}

// check returns an error unless p can follow the members of g.
func (p Plan) check(g *Group) error {
	adds, removes := p.Add != paxos.Member{}, p.Remove != 0
	switch {
	case !adds && !removes:
		return errors.New("a change adds a member, or removes one, or both")
	case p.ID != 0:
		return errors.New("a change gets its number when it begins")
	case removes && seat(g.Members, p.Remove) < 0:
		return fmt.Errorf("node %v is no member", p.Remove)
	case !adds && len(g.Members) == 1:
		return errors.New("the last member cannot go")
	}
	if err := checkText("why", p.Why); err != nil || !adds {
		return err
	}
	if err := checkMember(p.Add); err != nil {
		return err
	}
	switch {
	case seat(g.Members, p.Add.Node) >= 0:
		return fmt.Errorf("node %v%s is a member already", p.Add.Node, parenthesis(p.Add.Name))
	case !removes && len(g.Members) >= MaxReplicas:
		return fmt.Errorf("it has %d members, which is as many as there may be", len(g.Members))
	}
	return nil
}
