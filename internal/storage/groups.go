package storage

import (
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
)

// sweep is what Sweep has to do: dropped groups that still take room, the next one
// first.
type sweep []*groupFile

// Begin makes groups begin, that storage knows nothing of, in one transaction of
// each file. A crash between the two leaves snapshots without headers, which are no
// groups.
func (s *Store) Begin(begin []replica.Beginning) error {
	if err := s.broken(); err != nil {
		return err
	}
	updates := make([]paxos.Update, 0, len(begin))
	for _, b := range begin {
		if f := s.groups[b.Group]; b.Group == 0 || b.Group > maxGroup || f != nil && f.mark != 0 {
			return fmt.Errorf("storage: group %d cannot begin: it exists, was dropped, or has no place", b.Group)
		}
		updates = append(updates, paxos.Update{Group: b.Group, Dirty: true, Header: b.Header})
	}
	if err := s.beginSnapshots(begin); err != nil {
		return err
	}
	for _, b := range begin {
		if s.groups[b.Group] == nil {
			s.groups[b.Group] = &groupFile{id: b.Group, marks: map[paxos.Slot]uint64{}}
		}
	}
	return s.Save(updates)
}

// beginSnapshots makes the groups of begin known, with their first snapshots, over what
// a crash may have left of another attempt.
func (s *Store) beginSnapshots(begin []replica.Beginning) error {
	olds, heads := make([]string, len(begin)), make([][]byte, len(begin))
	for i, b := range begin {
		old, h, err := s.writeSnapshot(b.Group, b.Snapshot, allOf(b.Snapshot.Data), arrivedRate)
		if err != nil {
			return err
		}
		olds[i], heads[i] = old, h.record()
	}
	err := updateNode(s.node, func(tx *bbolt.Tx) error {
		for i, b := range begin {
			k := key(uint64(b.Group))
			if err := errors.Join(tx.Bucket(bucketGroups).Put(k, nil), tx.Bucket(bucketSnapshots).Put(k, heads[i])); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return s.fail(explain(s.path(nodeFile), err))
	}
	for _, old := range olds {
		if err := s.files.discard(old); err != nil {
			return s.fail(explain(s.files.path(old), err))
		}
	}
	return nil
}

// Drop forgets g: a tombstone takes the place of its header, in one transaction. Its
// votes and its snapshot are left for Sweep.
func (s *Store) Drop(g paxos.GroupID, floor paxos.ConfigID) error {
	if err := s.broken(); err != nil {
		return err
	}
	if g == 0 || g > maxGroup {
		return fmt.Errorf("storage: group %d does not fit into %d bits", g, 64-slotBits)
	}
	f := s.groups[g]
	if f == nil {
		if err := s.know(g); err != nil {
			return s.fail(err)
		}
		f = &groupFile{id: g}
		s.groups[g] = f
	}
	if !slices.Contains(s.swept, f) { // it may have a snapshot, if no more
		s.swept = append(s.swept, f)
	}
	if floor = max(floor, f.floor, f.header.Floor); f.gone && floor == f.floor {
		return nil
	}
	f.gone, f.floor, f.header, f.marks, f.sum, f.left = true, floor, paxos.Header{}, nil, 0, 0
	return s.write([]entry{s.headerLog(f)}, false)
}

// Dropped returns the tombstone of g.
func (s *Store) Dropped(g paxos.GroupID) (t replica.Tombstone, ok bool, err error) {
	f := s.groups[g]
	if f == nil || !f.gone {
		return t, false, s.broken()
	}
	return replica.Tombstone{Floor: f.floor, Swept: !slices.Contains(s.swept, f)}, true, s.broken()
}

// again makes f, which was dropped, a group with nothing saved and with that floor.
// The next header takes the place of its tombstone.
func (s *Store) again(f *groupFile, floor paxos.ConfigID) error {
	if floor < f.floor || f.floor == paxos.Forever || slices.Contains(s.swept, f) {
		return fmt.Errorf("storage: group %d was dropped with floor %d, and is to be saved with %d", f.id, f.floor, floor)
	}
	f.gone, f.floor, f.marks = false, 0, map[paxos.Slot]uint64{}
	return nil
}

// Sweep deletes up to a thousand votes, or up to 16 MiB of a snapshot, of groups that
// were dropped, and reports whether there is more.
func (s *Store) Sweep() (more bool, err error) {
	if err := s.broken(); err != nil || len(s.swept) == 0 {
		return false, err
	}
	f := s.swept[0]
	if f.low > 0 {
		return true, s.sweepVotes(f)
	}
	done, err := s.sweepSnapshot(f.id)
	if err != nil {
		return false, s.fail(err)
	}
	if done {
		s.swept = s.swept[1:]
	}
	return len(s.swept) > 0, nil
}

// sweepVotes deletes some of the votes of f. Its tombstone says from where on there
// are any: before each deletion, and after the last.
func (s *Store) sweepVotes(f *groupFile) error {
	to := f.stepFrom(f.low, f.last)
	if err := s.drop(index(f.id, f.low), index(f.id, to), s.headerLog(f)); err != nil {
		return err
	}
	if f.low = to + 1; f.low <= f.last {
		return nil
	}
	f.low, f.last = 0, 0
	return s.write([]entry{s.headerLog(f)}, false)
}

// findDropped lists the dropped groups that still take room.
func (s *Store) findDropped() error {
	return guarded(s.path(nodeFile), func() error {
		return s.node.View(func(tx *bbolt.Tx) error {
			for _, f := range s.groups {
				if f.gone && (f.low > 0 || tx.Bucket(bucketSnapshots).Get(key(uint64(f.id))) != nil) {
					s.swept = append(s.swept, f)
				}
			}
			slices.SortFunc(s.swept, func(a, b *groupFile) int { return int(a.id) - int(b.id) })
			return nil
		})
	})
}
