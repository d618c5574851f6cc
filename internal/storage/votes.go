package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"

	"github.com/prytany/prytany/internal/codec"
	"github.com/prytany/prytany/paxos"
)

const (
	slotBits = 40
	maxSlot  = 1<<slotBits - 1
	maxGroup = 1<<(64-slotBits) - 1

	// trimStep is the number of slots deleted in one transaction: a long
	// delete would hold up the only writer for seconds.
	trimStep = 1000
)

func index(g paxos.GroupID, s paxos.Slot) uint64 { return uint64(g)<<slotBits | uint64(s) }

// Groups lists the groups that have a header, in order.
func (s *Store) Groups() ([]paxos.GroupID, error) {
	known, err := s.knownGroups()
	if err != nil {
		return nil, err
	}
	var out []paxos.GroupID
	for _, g := range known {
		f, err := s.group(g)
		if err != nil {
			return nil, err
		}
		if f.last > 0 || f.header.Membership.ID > 0 {
			out = append(out, g)
		}
	}
	return out, nil
}

// knownGroups lists the groups that log.db may have records of.
func (s *Store) knownGroups() (out []paxos.GroupID, err error) {
	err = guarded(filepath.Join(s.dir, nodeFile), func() error {
		return s.node.View(func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketGroups).ForEach(func(k, _ []byte) error {
				if len(k) != 8 {
					return damaged(nodeFile, "a group's id makes no sense")
				}
				out = append(out, paxos.GroupID(binary.BigEndian.Uint64(k)))
				return nil
			})
		})
	})
	return out, err
}

// group returns what is known of g, reading its header at the first call.
func (s *Store) group(g paxos.GroupID) (*groupFile, error) {
	if f := s.groups[g]; f != nil {
		return f, nil
	}
	f := &groupFile{}
	var l raft.Log
	path := filepath.Join(s.dir, logFile)
	err := guarded(path, func() error {
		err := s.votes.GetLog(index(g, 0), &l)
		if errors.Is(err, raft.ErrLogNotFound) {
			return nil
		}
		if err != nil {
			return damaged(path, err)
		}
		content, err := unsealed(l.Data)
		if err != nil {
			return err
		}
		last, size := binary.Uvarint(content)
		if size <= 0 || last > maxSlot {
			return codec.ErrCorrupt
		}
		f.last = paxos.Slot(last)
		f.header, err = codec.DecodeHeader(content[size:])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("header of group %d: %w", g, err)
	}
	s.groups[g] = f
	return f, nil
}

// Load returns what was saved for g; the zero Durable if nothing was.
func (s *Store) Load(g paxos.GroupID) (paxos.Durable, error) {
	f, err := s.group(g)
	if err != nil {
		return paxos.Durable{}, err
	}
	d := paxos.Durable{Header: f.header}
	path := filepath.Join(s.dir, logFile)
	err = guarded(path, func() error {
		for slot := max(f.header.Trimmed, 1); slot <= f.last; slot++ {
			var l raft.Log
			err := s.votes.GetLog(index(g, slot), &l)
			if errors.Is(err, raft.ErrLogNotFound) {
				continue
			}
			if err != nil {
				return damaged(path, err)
			}
			v, err := openVote(l.Data, slot)
			if err != nil {
				return fmt.Errorf("slot %d: %w", slot, err)
			}
			d.Votes = append(d.Votes, v)
		}
		return nil
	})
	if err != nil {
		return paxos.Durable{}, fmt.Errorf("group %d: %w", g, err)
	}
	return d, nil
}

func openVote(data []byte, slot paxos.Slot) (paxos.SlotVote, error) {
	content, err := unsealed(data)
	if err != nil {
		return paxos.SlotVote{}, err
	}
	v, err := codec.DecodeVote(content)
	if err != nil {
		return paxos.SlotVote{}, err
	}
	if v.Slot != slot {
		return paxos.SlotVote{}, fmt.Errorf("%w: the record is of slot %d", codec.ErrCorrupt, v.Slot)
	}
	return v, nil
}

// Save makes all updates durable in one transaction.
func (s *Store) Save(updates []paxos.Update) error {
	if s.failed != nil {
		return s.failed
	}
	var logs []*raft.Log
	for _, u := range updates {
		if !u.Dirty {
			continue
		}
		l, err := s.records(u)
		if err != nil {
			return s.fail(err)
		}
		logs = append(logs, l...)
	}
	if len(logs) == 0 {
		return nil
	}
	if err := s.votes.StoreLogs(logs); err != nil {
		return s.fail(explain(filepath.Join(s.dir, logFile), err))
	}
	return nil
}

// records returns the records of one update: its header first.
func (s *Store) records(u paxos.Update) ([]*raft.Log, error) {
	if u.Group == 0 || u.Group > maxGroup {
		return nil, fmt.Errorf("storage: group %d does not fit into %d bits", u.Group, 64-slotBits)
	}
	f, err := s.group(u.Group)
	if err != nil {
		return nil, err
	}
	if f.last == 0 && f.header.Membership.ID == 0 {
		if err := s.know(u.Group); err != nil {
			return nil, err
		}
	}
	f.header = u.Header
	// The header is kept beyond this call; the caller owns its slices.
	f.header.Membership.Voters = slices.Clone(u.Header.Membership.Voters)
	logs := make([]*raft.Log, 1, len(u.Votes)+1)
	for _, v := range u.Votes {
		if v.Slot == 0 || v.Slot > maxSlot {
			return nil, fmt.Errorf("storage: slot %d does not fit into %d bits", v.Slot, slotBits)
		}
		f.last = max(f.last, v.Slot)
		logs = append(logs, &raft.Log{
			Index: index(u.Group, v.Slot),
			Term:  v.Vote.Ballot.Pack(),
			Type:  raft.LogCommand,
			Data:  sealed(codec.AppendVote(nil, v)),
		})
	}
	content := binary.AppendUvarint(nil, uint64(f.last))
	logs[0] = &raft.Log{
		Index: index(u.Group, 0),
		Term:  u.Header.Promised.Pack(),
		Type:  raft.LogConfiguration,
		Data:  sealed(codec.AppendHeader(content, u.Header)),
	}
	return logs, nil
}

// know notes that log.db has records of g, before it does.
func (s *Store) know(g paxos.GroupID) error {
	return explain(nodeFile, s.node.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketGroups).Put(key(uint64(g)), nil)
	}))
}

// fail makes err stick.
func (s *Store) fail(err error) error {
	s.failed = fmt.Errorf("storage: nothing is certain after a failed write: %w", err)
	return s.failed
}

// Trim deletes the votes of g below slot, a thousand at a time.
func (s *Store) Trim(g paxos.GroupID, below paxos.Slot) error {
	if s.failed != nil {
		return s.failed
	}
	f, err := s.group(g)
	if err != nil {
		return err
	}
	for from := max(f.trimmed, 1); from < min(below, f.last+1); {
		to := min(from+trimStep, below)
		if err := s.votes.DeleteRange(index(g, from), index(g, to-1)); err != nil {
			return s.fail(explain(filepath.Join(s.dir, logFile), err))
		}
		from = to
		f.trimmed = to
	}
	return nil
}
