package oracle

import (
	"slices"

	"github.com/prytany/prytany/internal/sim/disk"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// A ballotKey names a ballot; those of different configurations are unrelated.
type ballotKey struct {
	config paxos.ConfigID
	ballot synod.Ballot
}

// ballotFacts is what is known of one ballot.
type ballotFacts struct {
	promises   []promiseFacts // the first one of each member
	top        paxos.Slot     // the highest slot in any of them
	values     map[paxos.Slot]synod.Value
	decided    paxos.Slot // its proposer has said that everything up to here is chosen
	designated bool       // needs no phase 1
}

// promiseFacts is one member's answer to phase 1.
type promiseFacts struct {
	node    synod.NodeID
	decided paxos.Slot
	votes   []paxos.SlotVote // in slot order
}

func (p *promiseFacts) vote(s paxos.Slot) (paxos.SlotVote, bool) {
	i, ok := slices.BinarySearchFunc(p.votes, s, func(v paxos.SlotVote, s paxos.Slot) int { return int(v.Slot) - int(s) })
	if !ok {
		return paxos.SlotVote{}, false
	}
	return p.votes[i], true
}

func (o *Oracle) ballot(k ballotKey) *ballotFacts {
	b := o.ballots[k]
	if b == nil {
		c := o.config(k.config)
		b = &ballotFacts{values: make(map[paxos.Slot]synod.Value)}
		b.designated = c.Leader != 0 && k.ballot == synod.Ballot{Round: 1, Member: c.Leader}
		o.ballots[k] = b
	}
	return b
}

func (b *ballotFacts) promise(p promiseFacts) {
	for i := range b.promises {
		if b.promises[i].node == p.node {
			return
		}
	}
	b.promises = append(b.promises, p)
	b.top = max(b.top, p.decided)
	if n := len(p.votes); n > 0 {
		b.top = max(b.top, p.votes[n-1].Slot)
	}
}

// promisedItself records the promise that n makes to its own ballot by saving
// u: it reports the votes that n had cast in lower ballots.
func (o *Oracle) promisedItself(n Node, v *disk.Volume, u paxos.Update) {
	k := ballotKey{u.Header.Membership.ID, u.Header.Promised}
	p := promiseFacts{node: n.ID, decided: v.Header.Decided}
	votes := make(map[paxos.Slot]paxos.SlotVote)
	for s := v.Header.Decided + 1; s < v.End(); s++ {
		if sv := v.Vote(s); sv.Slot != 0 && (sv.Config == k.config || sv.Chosen) {
			votes[s] = sv
		}
	}
	for _, sv := range u.Votes {
		if sv.Chosen || sv.Config == k.config && sv.Vote.Ballot.Less(k.ballot) {
			votes[sv.Slot] = sv
		}
	}
	for _, sv := range votes {
		p.votes = append(p.votes, sv)
	}
	slices.SortFunc(p.votes, func(a, b paxos.SlotVote) int { return int(a.Slot) - int(b.Slot) })
	o.ballot(k).promise(p)
}

// Sent checks a message that n sends: its synced disk v must justify it (I5),
// and a proposal must be legal (I3, I4).
func (o *Oracle) Sent(n Node, v *disk.Volume, m paxos.Message) {
	switch m := m.(type) {
	case paxos.Prepare:
		o.own(n, m.Config, m.Ballot, "Prepare")
		o.promisedOnDisk(n, v, m.Config, m.Ballot, "Prepare")
	case paxos.Promise:
		o.sentPromise(n, v, m)
	case paxos.Accept:
		o.sentAccept(n, v, m)
	case paxos.Accepted:
		o.sentAccepted(n, v, m)
	case paxos.Learned:
		o.watermark(n, m.Decided, "Learned")
		for i, val := range m.Values {
			if s := m.First + paxos.Slot(i); !o.isChosen(s, val) {
				Fail("I5", "%s teaches a value of slot %d that is not chosen", n.Name, s)
			}
		}
	case paxos.SnapshotChunk:
		o.watermark(n, m.Slot, "SnapshotChunk")
	case paxos.Sealed:
		if c := o.config(m.Config); c.Start != m.At {
			Fail("I5", "%s: Sealed says configuration %d began at slot %d, it was %d", n.Name, m.Config, m.At, c.Start)
		}
	}
}

func (o *Oracle) watermark(n Node, s paxos.Slot, what string) {
	if s > o.chosen {
		Fail("I5", "%s: %s says slot %d is chosen; only up to %d are", n.Name, what, s, o.chosen)
	}
}

// own fails unless b is a ballot of n.
func (o *Oracle) own(n Node, c paxos.ConfigID, b synod.Ballot, what string) {
	if ord := o.config(c).Ordinal(n.ID); ord == 0 || b.Member != ord {
		Fail("I3", "%s sends %s with ballot %v in configuration %d, where its ordinal is %d", n.Name, what, b, c, ord)
	}
}

// promisedOnDisk fails unless n has durably promised b. A disk that is in a
// later configuration already justifies what was asked in the same turn.
func (o *Oracle) promisedOnDisk(n Node, v *disk.Volume, c paxos.ConfigID, b synod.Ballot, what string) {
	h := v.Header
	if h.Membership.ID > c || h.Membership.ID == c && !h.Promised.Less(b) {
		return
	}
	Fail("I5", "%s sends %s in ballot %v of configuration %d; its disk has promised %v of %d",
		n.Name, what, b, c, h.Promised, h.Membership.ID)
}

func (o *Oracle) sentPromise(n Node, v *disk.Volume, m paxos.Promise) {
	o.promisedOnDisk(n, v, m.Config, m.Ballot, "Promise")
	o.watermark(n, m.Decided, "Promise")
	listed := 0
	f := &o.nodes[n.Index]
	for _, sv := range m.Votes {
		dv := v.Vote(sv.Slot)
		switch {
		case o.isChosen(sv.Slot, sv.Vote.Value):
		case !sv.Chosen && dv.Chosen && f.had(sv): // told before it was learned
		case dv.Slot == 0, dv.Config == sv.Config && dv.Vote.Ballot.Less(sv.Vote.Ballot), sv.Chosen:
			Fail("I5", "%s: Promise lists a vote %v at slot %d that is not on its disk", n.Name, sv.Vote.Ballot, sv.Slot)
		case dv.Config == sv.Config && dv.Vote.Ballot == sv.Vote.Ballot && dv.Vote.Value != sv.Vote.Value:
			Fail("I5", "%s: Promise lists another value at slot %d than its disk", n.Name, sv.Slot)
		}
	}
	for s := max(m.Decided+1, v.First()); s < v.End(); s++ {
		dv := v.Vote(s)
		if dv.Slot == 0 || dv.Config != m.Config || dv.Vote.Ballot.IsZero() || !dv.Vote.Ballot.Less(m.Ballot) {
			continue
		}
		for listed < len(m.Votes) && m.Votes[listed].Slot < s {
			listed++
		}
		if listed == len(m.Votes) || m.Votes[listed].Slot != s {
			Fail("I5", "%s: Promise of %v leaves out the vote %v at slot %d", n.Name, m.Ballot, dv.Vote.Ballot, s)
		}
	}
	o.ballot(ballotKey{m.Config, m.Ballot}).promise(promiseFacts{n.ID, m.Decided, slices.Clone(m.Votes)})
}

func (o *Oracle) sentAccepted(n Node, v *disk.Volume, m paxos.Accepted) {
	o.promisedOnDisk(n, v, m.Config, m.Ballot, "Accepted")
	f, k := &o.nodes[n.Index], ballotKey{m.Config, m.Ballot}
	if f.accepted.key != k {
		f.accepted = acceptedUpTo{key: k}
	}
	b := o.ballot(k)
	for s := max(f.accepted.upTo, b.decided) + 1; s <= m.UpTo; s++ {
		dv := v.Vote(s)
		val, proposed := b.values[s]
		switch {
		case proposed && o.isChosen(s, val): // nothing can be made of it that is not so
		case dv.Slot != 0 && dv.Config == m.Config && dv.Vote.Ballot == m.Ballot:
		case f.wrote(s, k): // counted when it was written
		default:
			Fail("I5", "%s: Accepted of %v up to %d, but its disk has no such vote at slot %d", n.Name, m.Ballot, m.UpTo, s)
		}
	}
	f.accepted.upTo = max(f.accepted.upTo, m.UpTo)
}

func (o *Oracle) sentAccept(n Node, v *disk.Volume, m paxos.Accept) {
	o.own(n, m.Config, m.Ballot, "Accept")
	o.promisedOnDisk(n, v, m.Config, m.Ballot, "Accept")
	o.watermark(n, m.Decided, "Accept")
	o.watermark(n, m.Base, "Accept (base)")
	b := o.ballot(ballotKey{m.Config, m.Ballot})
	b.decided = max(b.decided, m.Base, m.Decided)
	for i, val := range m.Values {
		s := m.First + paxos.Slot(i)
		old, ok := b.values[s]
		if ok && old != val {
			Fail("I3", "%s proposes two values in ballot %v at slot %d", n.Name, m.Ballot, s)
		}
		if !ok {
			if !o.legal(b, m.Config, s, val) {
				Fail("I4", "%s proposes in ballot %v at slot %d what no quorum of promises allows", n.Name, m.Ballot, s)
			}
			b.values[s] = val
		}
	}
}

// legal reports whether ballot b may propose val at s: the value of the
// highest vote of some quorum of its promises, or any if none has voted.
func (o *Oracle) legal(b *ballotFacts, c paxos.ConfigID, s paxos.Slot, val synod.Value) bool {
	if b.designated || o.isChosen(s, val) {
		return true
	}
	q := o.config(c).Quorums()
	if s > b.top {
		return len(b.promises) >= q.Q1
	}
	free := 0
	var best synod.Ballot
	found := false
	for i := range b.promises {
		p := &b.promises[i]
		sv, ok := p.vote(s)
		switch {
		case s <= p.decided || ok && sv.Chosen:
		case !ok:
			free++
		case sv.Vote.Value == val:
			best, found = synod.MaxBallot(best, sv.Vote.Ballot), true
		}
	}
	if free >= q.Q1 {
		return true
	}
	if !found {
		return false
	}
	for i := range b.promises {
		p := &b.promises[i]
		if sv, ok := p.vote(s); ok && s > p.decided && !sv.Chosen && !best.Less(sv.Vote.Ballot) {
			free++
		}
	}
	return free >= q.Q1
}
