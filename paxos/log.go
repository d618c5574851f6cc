package paxos

import "github.com/prytany/prytany/synod"

// An entry is what a member remembers of one slot. The zero entry is a slot
// without a vote.
type entry struct {
	config ConfigID // of vote.Ballot
	chosen bool     // vote.Value is the chosen value; vote.Ballot may be zero
	vote   synod.Vote
}

func (e entry) held() bool { return e.chosen || !e.vote.Ballot.IsZero() }

// A ledger maps consecutive slots, from first on, to entries.
type ledger struct {
	first   Slot
	entries []entry
}

// last returns the highest slot held, first-1 if there is none.
func (l *ledger) last() Slot { return l.first + Slot(len(l.entries)) - 1 }

// at returns the entry of s, the zero entry if there is none.
func (l *ledger) at(s Slot) entry {
	if s < l.first || s > l.last() {
		return entry{}
	}
	return l.entries[s-l.first]
}

// set puts e, which is held, in slot s >= first.
func (l *ledger) set(s Slot, e entry) {
	for l.last() < s {
		l.entries = append(l.entries, entry{})
	}
	l.entries[s-l.first] = e
}

// dropAbove forgets every slot above s.
func (l *ledger) dropAbove(s Slot) {
	keep := 0
	if s >= l.first {
		keep = int(min(s-l.first+1, Slot(len(l.entries))))
	}
	for keep > 0 && !l.entries[keep-1].held() {
		keep--
	}
	clear(l.entries[keep:])
	l.entries = l.entries[:keep]
}

// dropBelow forgets every slot below first.
func (l *ledger) dropBelow(first Slot) {
	if first <= l.first {
		return
	}
	n := int(min(first-l.first, Slot(len(l.entries))))
	clear(l.entries[:n]) // or the values stay reachable until the slice grows
	l.entries = l.entries[n:]
	l.first = first
}
