package paxos

import (
	"fmt"

	"github.com/prytany/prytany/synod"
)

// A ConfigID numbers the configurations of a group, from 1 and below [Forever].
type ConfigID uint32

// A Member is a voter of a group. Name and PeerAddr are for people and for
// finding the node when gossip is silent; the protocol looks at neither.
type Member struct {
	Node     synod.NodeID
	Ordinal  synod.Ordinal
	Name     string
	PeerAddr string
}

// A Membership is one configuration of a group. It is in force from the slot
// after the stop-sign that carried it (Start is that stop-sign's slot, 0 for
// the first configuration).
type Membership struct {
	ID     ConfigID
	Start  Slot
	Leader synod.Ordinal // may begin with ballot (1, Leader), without phase 1
	Voters []Member      // in Ordinal order; seats of synod.Set are indices
	Next   synod.Ordinal // the ordinal the next new member gets
}

// Seat returns the index of node n among the voters, or -1.
func (m Membership) Seat(n synod.NodeID) int {
	for i := range m.Voters {
		if m.Voters[i].Node == n {
			return i
		}
	}
	return -1
}

// Ordinal returns the ordinal of voter n, 0 if n is no voter.
func (m Membership) Ordinal(n synod.NodeID) synod.Ordinal {
	if i := m.Seat(n); i >= 0 {
		return m.Voters[i].Ordinal
	}
	return 0
}

// Node returns the voter with ordinal o, 0 if there is none.
func (m Membership) Node(o synod.Ordinal) synod.NodeID {
	for i := range m.Voters {
		if m.Voters[i].Ordinal == o {
			return m.Voters[i].Node
		}
	}
	return 0
}

// Quorums returns the quorums of m: majorities of its voters.
func (m Membership) Quorums() synod.Quorums { return synod.Majorities(len(m.Voters)) }

// With returns the configuration that follows m when node is added as a voter
// and leader, an ordinal of m, begins it. Start is set when it is chosen.
func (m Membership) With(node Member, leader synod.Ordinal) Membership {
	node.Ordinal = m.Next
	next := Membership{ID: m.ID + 1, Leader: leader, Next: m.Next + 1}
	next.Voters = append(append(next.Voters, m.Voters...), node)
	return next
}

// Without returns the configuration that follows m when node is removed.
func (m Membership) Without(node synod.NodeID, leader synod.Ordinal) Membership {
	next := Membership{ID: m.ID + 1, Leader: leader, Next: m.Next}
	for _, v := range m.Voters {
		if v.Node != node {
			next.Voters = append(next.Voters, v)
		}
	}
	return next
}

// Check returns an error if m cannot be a configuration.
func (m Membership) Check() error {
	if err := m.Quorums().Check(); err != nil {
		return fmt.Errorf("paxos: configuration %d: %w", m.ID, err)
	}
	seen := map[synod.NodeID]bool{}
	for i, v := range m.Voters {
		if v.Node == 0 || seen[v.Node] || v.Ordinal == 0 || v.Ordinal >= m.Next || i > 0 && v.Ordinal <= m.Voters[i-1].Ordinal {
			return fmt.Errorf("paxos: configuration %d: bad voter %d: node %v ordinal %d", m.ID, i, v.Node, v.Ordinal)
		}
		seen[v.Node] = true
	}
	if m.Leader != 0 && m.Node(m.Leader) == 0 {
		return fmt.Errorf("paxos: configuration %d: leader %d is no voter", m.ID, m.Leader)
	}
	return nil
}

// CheckFirst returns what is wrong with m as the first configuration of group g.
func (m Membership) CheckFirst(g GroupID) error {
	if g == 0 || m.ID != 1 || m.Start != 0 {
		return fmt.Errorf("configuration %d from slot %d is no first one", m.ID, m.Start)
	}
	return m.Check()
}
