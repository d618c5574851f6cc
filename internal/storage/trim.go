package storage

import (
	"fmt"
	"slices"

	"github.com/prytany/prytany/paxos"
)

// trimStep is the number of votes deleted in one transaction: a long delete would
// hold up the only writer for seconds.
const trimStep = 1000

// Trim deletes the votes of g below slot, a thousand at a time. A saved header
// must say that they are trimmed. What an earlier process has left of them takes
// several calls.
func (s *Store) Trim(g paxos.GroupID, below paxos.Slot) error {
	if err := s.broken(); err != nil {
		return err
	}
	f := s.groups[g]
	if f == nil || f.mark == 0 || f.gone {
		return nil
	}
	if below > f.header.Trimmed {
		return fmt.Errorf("storage: group %d is to be trimmed below slot %d, but its header says %d", g, below, f.header.Trimmed)
	}
	if f.marks == nil {
		if _, err := s.loadVotes(f); err != nil {
			return err
		}
	}
	if more, err := s.trimLeft(f, below); more || err != nil {
		return err
	}
	var old []paxos.Slot
	for slot := range f.marks {
		if slot < below {
			old = append(old, slot)
		}
	}
	slices.Sort(old)
	for some := range slices.Chunk(old, trimStep) {
		if err := s.drop(index(g, some[0]), index(g, some[len(some)-1])); err != nil {
			return err
		}
		for _, slot := range some {
			delete(f.marks, slot)
		}
	}
	// The next header will say so.
	if len(f.marks) == 0 && f.left == 0 {
		f.low, f.last = 0, 0
	} else {
		f.low = max(f.low, below)
	}
	return nil
}

// trimLeft deletes some of the votes of f below slot that an earlier process has
// left, which was interrupted while it trimmed. It reports whether there are more.
func (s *Store) trimLeft(f *groupFile, below paxos.Slot) (more bool, err error) {
	if f.left == 0 || f.low >= below {
		return false, nil
	}
	to := f.stepFrom(f.low, min(f.left, below)-1)
	if err := s.drop(index(f.id, f.low), index(f.id, to)); err != nil {
		return false, err
	}
	f.low = to + 1
	if f.low >= f.left {
		f.left = 0
	}
	return f.left > 0 && f.low < below, nil
}

// stepFrom returns the last slot of a part of the votes between two slots that may
// be deleted in one transaction. How many there are is not known: a group that has
// leapt ahead has few of many.
func (f *groupFile) stepFrom(from, last paxos.Slot) paxos.Slot {
	return min(last, from+max(trimStep, (last-from)/trimStep))
}
