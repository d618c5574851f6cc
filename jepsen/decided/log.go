package decided

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/prytany/prytany/internal/directory"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// first is the first slot of a log: the state after slot 1 is empty, by decree.
const first = 2

// A Log is what a cluster has decided.
type Log struct {
	Nodes     []string
	Decided   uint64     // some node knew what is chosen up to here; what follows is what a leader would choose
	Slots     []Slot     // from slot 2 on, without gaps
	Commands  []Command  // of the lock machine, in order: the first has revision 1
	Conflicts []Conflict // what cannot be if no node has forgotten anything

	short string // why the log is not whole; "" if it is
	quiet bool   // a quorum's votes are here: what is not in Slots was never chosen
}

// A Slot is one decided value.
type Slot struct {
	Slot     uint64
	Kind     paxos.Kind
	From, To uint64 // revisions after the slot before, and after this one
}

// A Command is one of the lock machine.
type Command struct {
	Revision uint64 // how many commands there were with this one
	Slot     uint64
	Raw      []byte
	Command  locks.Command // nil if Raw cannot be decoded
	Request  string        // the id of the caller's request, if it has one
	Own      bool          // the service made Request, and no caller knows it
}

// A Conflict is a breach of agreement.
type Conflict struct {
	Slot uint64
	Text string
}

// Whole returns an error if the log does not begin with the first slot.
func (l *Log) Whole() error {
	if l.short != "" {
		return fmt.Errorf("decided: %s: take no snapshots in a run that is to be checked (snapshot-slots), and give the logs of all nodes", l.short)
	}
	return nil
}

// Final reports whether what is not in the log was certainly never chosen: the votes
// of a majority of the last configuration are here.
func (l *Log) Final() bool { return l.quiet }

// Last returns the revision after the whole log.
func (l *Log) Last() uint64 { return uint64(len(l.Commands)) }

// At returns the range of revisions that may have been seen while slot was applied:
// from before its first command to after its last. ok is false for a slot that is
// not in the log.
func (l *Log) At(slot uint64) (from, to uint64, ok bool) {
	if slot == first-1 {
		return 0, 0, true
	}
	i, ok := slices.BinarySearchFunc(l.Slots, slot, func(s Slot, n uint64) int { return cmp.Compare(s.Slot, n) })
	if !ok {
		return 0, 0, false
	}
	return l.Slots[i].From, l.Slots[i].To, true
}

// A candidate is what one node says of one slot.
type candidate struct {
	node    *Node
	vote    Vote
	decided bool
}

// Merge makes the log of what the nodes have on their disks.
func Merge(nodes []Node) *Log {
	l := &Log{}
	bySlot := map[uint64][]candidate{}
	last := uint64(0)
	for i := range nodes {
		n := &nodes[i]
		l.Nodes = append(l.Nodes, n.Name)
		l.Decided = max(l.Decided, n.Decided)
		have := map[uint64]bool{}
		for _, v := range n.Votes {
			bySlot[v.Slot] = append(bySlot[v.Slot], candidate{n, v, v.Chosen || v.Slot <= n.Decided})
			have[v.Slot] = true
			last = max(last, v.Slot)
		}
		for s := max(n.Snapshot+1, first); s <= n.Decided; s++ {
			if !have[s] {
				l.conflict(s, "%s has decided up to slot %d and has no vote in slot %d", n.Name, n.Decided, s)
			}
		}
	}
	l.quiet = quorum(nodes)
	for s := uint64(first); s <= max(last, l.Decided); s++ {
		v, ok := l.choose(s, bySlot[s])
		if !ok && s <= l.Decided {
			l.short = fmt.Sprintf("slot %d is decided, and no node has it", s)
			return l
		}
		l.add(s, v)
	}
	return l
}

// quorum reports whether a majority of the newest configuration is among nodes.
func quorum(nodes []Node) bool {
	var newest *Node
	for i := range nodes {
		if newest == nil || nodes[i].Config > newest.Config {
			newest = &nodes[i]
		}
	}
	if newest == nil {
		return false
	}
	here := map[uint64]bool{}
	for _, n := range nodes {
		if slices.Contains(newest.Voters, n.ID) {
			here[n.ID] = true
		}
	}
	return len(here) > len(newest.Voters)/2
}

func (l *Log) conflict(slot uint64, format string, args ...any) {
	l.Conflicts = append(l.Conflicts, Conflict{slot, fmt.Sprintf(format, args...)})
}

// choose returns the value of slot s: the one that is known to be chosen, or that of
// the newest vote, which is what phase 1 would have a leader propose; a hole is a noop.
func (l *Log) choose(s uint64, cs []candidate) (synod.Value, bool) {
	var known, newest *candidate
	for i := range cs {
		c := &cs[i]
		if c.decided {
			if known != nil && !bytes.Equal(known.vote.Value, c.vote.Value) {
				l.conflict(s, "%s has decided %s, and %s has decided %s", known.node.Name, brief(known.vote), c.node.Name, brief(c.vote))
			} else {
				known = c
			}
		}
		switch order := compare(c.vote, newest); {
		case order > 0:
			newest = c
		case order == 0 && !bytes.Equal(c.vote.Value, newest.vote.Value):
			l.conflict(s, "in ballot %d.%d %s has voted for %s, and %s for %s",
				c.vote.Round, c.vote.Member, newest.node.Name, brief(newest.vote), c.node.Name, brief(c.vote))
		}
	}
	switch {
	case known != nil:
		return synod.Value(known.vote.Value), true
	case newest != nil:
		return synod.Value(newest.vote.Value), s > l.Decided
	}
	return paxos.Noop, false
}

// compare orders a vote and that of a candidate, which may be nil, by when they were cast.
func compare(v Vote, c *candidate) int {
	if c == nil {
		return 1
	}
	return cmp.Or(cmp.Compare(v.Config, c.vote.Config), cmp.Compare(v.Round, c.vote.Round), cmp.Compare(v.Member, c.vote.Member))
}

// brief names the value of a vote.
func brief(v Vote) string {
	said := says(synod.Value(v.Value))
	if len(said) == 0 {
		return "nothing"
	}
	text := said[0].Command
	if len(text) > 120 {
		text = text[:120] + "…"
	}
	if len(said) > 1 {
		text += fmt.Sprintf(" and %d more", len(said)-1)
	}
	return text
}

// add appends a slot.
func (l *Log) add(slot uint64, v synod.Value) {
	s := Slot{Slot: slot, From: l.Last()}
	d, err := paxos.Decode(v)
	if err != nil {
		l.conflict(slot, "what is chosen is no value: %v", err)
	}
	s.Kind = d.Kind
	for _, raw := range d.Commands {
		if directory.Is(raw) {
			continue
		}
		c := Command{Revision: l.Last() + 1, Slot: slot, Raw: raw}
		if cmd, err := locks.Decode(raw); err == nil {
			r := requestOf(cmd)
			c.Command, c.Request, c.Own = cmd, r.ID, r.Own
		}
		l.Commands = append(l.Commands, c)
	}
	s.To = l.Last()
	l.Slots = append(l.Slots, s)
}
