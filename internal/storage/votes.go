package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"github.com/prytany/prytany/internal/codec"
	"github.com/prytany/prytany/paxos"
)

const (
	slotBits = 40
	maxSlot  = 1<<slotBits - 1
	maxGroup = 1<<(64-slotBits) - 1

	// trimStep is the number of votes deleted in one transaction: a long
	// delete would hold up the only writer for seconds.
	trimStep = 1000

	// rootIndex is the record that vouches for all headers. There is no
	// group 0.
	rootIndex = 0
)

// A groupFile is what the store knows of one group's records.
type groupFile struct {
	id     paxos.GroupID
	header paxos.Header
	low    paxos.Slot // none below has a record; 0 if none has any
	last   paxos.Slot // none above has a record
	sum    uint64     // of the marks of all votes from header.Trimmed on
	mark   uint64     // of the header's record

	// marks has the mark of every vote's record; nil until they are read.
	marks map[paxos.Slot]uint64
}

func index(g paxos.GroupID, s paxos.Slot) uint64 { return uint64(g)<<slotBits | uint64(s) }

// mark is a fingerprint of a record and its place. Sums of marks tell whether
// a set of records is the one that was written, whatever the order.
func mark(index uint64, record []byte) uint64 {
	return mix(index + mix(uint64(codec.Checksum(record))))
}

// mix scatters n over all 64 bits (the finalizer of SplitMix64).
func mix(n uint64) uint64 {
	n += 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

// A root is the record that vouches for all headers, and says how old it is: a
// page to which bbolt's tree leads by mistake may be a whole one of the past.
type root struct {
	count   uint64 // of headers
	sum     uint64 // of their marks
	txid    uint64 // of the transaction that wrote it
	deletes bool   // the next transaction may be one that deletes and does not write the root
}

// root returns the root that the next transaction writes.
func (s *Store) root(deletes bool) root {
	r := root{txid: s.txid + 1, deletes: deletes}
	for _, f := range s.groups {
		if f.mark != 0 {
			r.count, r.sum = r.count+1, r.sum+f.mark
		}
	}
	return r
}

func (r root) log() *raft.Log {
	b := binary.AppendUvarint(nil, r.count)
	b = binary.AppendUvarint(b, r.sum)
	b = binary.AppendUvarint(b, r.txid)
	deletes := byte(0)
	if r.deletes {
		deletes = 1
	}
	return &raft.Log{Index: rootIndex, Type: raft.LogNoop, Data: sealed(append(b, deletes))}
}

func openRoot(record []byte) (r root, err error) {
	b, err := unsealed(record)
	if err != nil {
		return r, err
	}
	for _, n := range []*uint64{&r.count, &r.sum, &r.txid} {
		v, size := binary.Uvarint(b)
		if size <= 0 {
			return r, codec.ErrCorrupt
		}
		*n, b = v, b[size:]
	}
	if len(b) != 1 {
		return r, codec.ErrCorrupt
	}
	r.deletes = b[0] == 1
	return r, nil
}

// isOf reports whether r is the root of a file whose last transaction is txid.
func (r root) isOf(txid uint64) bool {
	return r.txid == txid || r.deletes && r.txid+1 == txid
}

// readRoot reads the root of the log.db at path, without writing to it.
func readRoot(path string, opts *bbolt.Options) (root, error) {
	locked := *opts
	locked.ReadOnly = true
	votes, err := raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: &locked})
	if err != nil {
		return root{}, err
	}
	defer func() { _ = votes.Close() }()
	record, err := recordOf(votes, path, rootIndex)
	if err != nil {
		return root{}, err
	}
	return openRoot(record)
}

// An opening is what node.db notes of log.db before it is opened, since each
// opening is a transaction that does not write the root.
type opening struct {
	from uint64 // last transaction of log.db when all was well
	root uint64 // the root's transaction then
	many uint64 // openings since, none of which has written the root
}

// next checks that r may be the root of a log.db whose last transaction is
// txid, and returns what to note before opening it.
func (o opening) next(path string, txid uint64, r root) (opening, error) {
	if r.isOf(txid) {
		return opening{txid, r.txid, 1}, nil
	}
	if o.many > 0 && r.txid == o.root && o.from <= txid && txid <= o.from+o.many {
		o.many++
		return o, nil
	}
	return o, damaged(path, fmt.Sprintf("its pages are of different ages: transaction %d, root of %d", txid, r.txid))
}

// write writes logs and the root in one transaction.
func (s *Store) write(logs []*raft.Log, deletes bool) error {
	if s.failed != nil {
		return s.failed
	}
	if err := s.votes.StoreLogs(append(logs, s.root(deletes).log())); err != nil {
		return s.fail(explain(s.path(logFile), err))
	}
	s.txid++
	return nil
}

// drop deletes the records from one index to another. bbolt's cursor skips
// records if it deletes in a transaction that has written before, so that this
// takes two.
func (s *Store) drop(from, to uint64) error {
	if err := s.write(nil, true); err != nil {
		return err
	}
	if err := s.votes.DeleteRange(from, to); err != nil {
		return s.fail(explain(s.path(logFile), err))
	}
	s.txid++
	return nil
}

// record returns the record at index, nil if there is none.
func (s *Store) record(index uint64) ([]byte, error) {
	return recordOf(s.votes, s.path(logFile), index)
}

func recordOf(votes *raftboltdb.BoltStore, path string, index uint64) ([]byte, error) {
	var l raft.Log
	if err := votes.GetLog(index, &l); err != nil {
		if errors.Is(err, raft.ErrLogNotFound) {
			return nil, nil
		}
		return nil, damaged(path, err)
	}
	if l.Index != index {
		return nil, damaged(path, fmt.Sprintf("the record at %d says it is at %d", index, l.Index))
	}
	return l.Data, nil
}

// loadHeaders reads the headers of all groups, and compares them with the root.
func (s *Store) loadHeaders(want root) error {
	known, err := s.knownGroups()
	if err != nil {
		return err
	}
	return guarded(s.path(logFile), func() error {
		for _, g := range known {
			f, err := s.loadHeader(g)
			if err != nil {
				return fmt.Errorf("header of group %d: %w", g, err)
			}
			s.groups[g] = f
		}
		if is := s.root(false); is.count != want.count || is.sum != want.sum {
			return damaged(s.path(logFile), "a group's header is lost or not the last one")
		}
		return nil
	})
}

func (s *Store) loadHeader(g paxos.GroupID) (*groupFile, error) {
	f := &groupFile{id: g}
	record, err := s.record(index(g, 0))
	if record == nil || err != nil {
		return f, err
	}
	content, err := unsealed(record)
	if err != nil {
		return nil, err
	}
	last, n := binary.Uvarint(content)
	low, m := binary.Uvarint(content[max(n, 0):])
	if n <= 0 || m <= 0 || len(content) < n+m+8 || low > last || last > maxSlot {
		return nil, codec.ErrCorrupt
	}
	f.last, f.low = paxos.Slot(last), paxos.Slot(low)
	content = content[n+m:]
	f.sum = binary.LittleEndian.Uint64(content)
	f.mark = mark(index(g, 0), record)
	f.header, err = codec.DecodeHeader(content[8:])
	return f, err
}

// headerRecord returns the record of f's header.
func (f *groupFile) headerRecord() []byte {
	content := binary.AppendUvarint(nil, uint64(f.last))
	content = binary.AppendUvarint(content, uint64(f.low))
	content = binary.LittleEndian.AppendUint64(content, f.sum)
	return sealed(codec.AppendHeader(content, f.header))
}

// Groups lists the groups that have anything saved, in order.
func (s *Store) Groups() (out []paxos.GroupID, err error) {
	if s.failed != nil {
		return nil, s.failed
	}
	for g, f := range s.groups {
		if f.mark != 0 {
			out = append(out, g)
		}
	}
	slices.Sort(out)
	return out, nil
}

// knownGroups lists the groups that log.db may have records of.
func (s *Store) knownGroups() (out []paxos.GroupID, err error) {
	err = guarded(s.path(nodeFile), func() error {
		return s.node.View(func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketGroups).ForEach(func(k, _ []byte) error {
				if len(k) != 8 {
					return damaged(s.path(nodeFile), "a group's id makes no sense")
				}
				out = append(out, paxos.GroupID(binary.BigEndian.Uint64(k)))
				return nil
			})
		})
	})
	return out, err
}

// Load returns what was saved for g; the zero Durable if nothing was. Error:
// ErrDamaged if that is not to be had any more.
func (s *Store) Load(g paxos.GroupID) (paxos.Durable, error) {
	if s.failed != nil {
		return paxos.Durable{}, s.failed
	}
	f := s.groups[g]
	if f == nil || f.mark == 0 {
		return paxos.Durable{}, nil
	}
	votes, err := s.loadVotes(f)
	if err != nil {
		return paxos.Durable{}, err
	}
	d := paxos.Durable{Header: f.header, Votes: votes}
	d.Header.Membership.Voters = slices.Clone(f.header.Membership.Voters)
	return d, nil
}

// loadVotes reads the votes of f that are not trimmed. At the first call it
// also deletes those that are and whose deletion was interrupted.
func (s *Store) loadVotes(f *groupFile) (votes []paxos.SlotVote, err error) {
	marks, sum := make(map[paxos.Slot]uint64), uint64(0)
	err = guarded(s.path(logFile), func() error {
		for slot := max(f.low, f.header.Trimmed, 1); slot <= f.last; slot++ {
			at := index(f.id, slot)
			record, err := s.record(at)
			if err != nil {
				return err
			}
			if record == nil {
				continue
			}
			v, err := openVote(record, slot)
			if err != nil {
				return fmt.Errorf("group %d slot %d: %w", f.id, slot, err)
			}
			votes = append(votes, v)
			marks[slot] = mark(at, record)
			sum += marks[slot]
		}
		if sum != f.sum {
			return damaged(s.path(logFile), fmt.Sprintf("group %d: a vote is lost or not the last one", f.id))
		}
		return nil
	})
	if err != nil || f.marks != nil {
		return votes, err
	}
	if f.low > 0 && f.low < f.header.Trimmed {
		if err := s.drop(index(f.id, f.low), index(f.id, f.header.Trimmed-1)); err != nil {
			return nil, err
		}
	}
	f.marks = marks
	return votes, nil
}

func openVote(record []byte, slot paxos.Slot) (paxos.SlotVote, error) {
	content, err := unsealed(record)
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
		f, err := s.writable(u)
		if err != nil {
			return s.fail(err)
		}
		logs = append(logs, f.update(u)...)
	}
	if len(logs) == 0 {
		return nil
	}
	return s.write(logs, false)
}

// writable returns the group of u, with its marks read, if u can be written.
func (s *Store) writable(u paxos.Update) (*groupFile, error) {
	if u.Group == 0 || u.Group > maxGroup {
		return nil, fmt.Errorf("storage: group %d does not fit into %d bits", u.Group, 64-slotBits)
	}
	for _, v := range u.Votes {
		if v.Slot == 0 || v.Slot > maxSlot {
			return nil, fmt.Errorf("storage: slot %d does not fit into %d bits", v.Slot, slotBits)
		}
	}
	f := s.groups[u.Group]
	if f == nil {
		if err := s.know(u.Group); err != nil {
			return nil, err
		}
		f = &groupFile{id: u.Group}
		s.groups[u.Group] = f
	}
	if f.marks == nil {
		if _, err := s.loadVotes(f); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// update changes f by u and returns the records to write.
func (f *groupFile) update(u paxos.Update) []*raft.Log {
	resum := u.Header.Trimmed != f.header.Trimmed
	f.header = u.Header
	// The header is kept beyond this call; the caller owns its slices.
	f.header.Membership.Voters = slices.Clone(u.Header.Membership.Voters)
	logs := make([]*raft.Log, 0, len(u.Votes)+2) // header, root
	for _, v := range u.Votes {
		at := index(f.id, v.Slot)
		record := sealed(codec.AppendVote(nil, v))
		logs = append(logs, &raft.Log{Index: at, Term: v.Vote.Ballot.Pack(), Type: raft.LogCommand, Data: record})
		now := mark(at, record)
		if v.Slot >= f.header.Trimmed {
			f.sum += now - f.marks[v.Slot]
		}
		f.marks[v.Slot] = now
		f.last = max(f.last, v.Slot)
		if f.low == 0 || v.Slot < f.low {
			f.low = v.Slot
		}
	}
	if resum {
		f.sum = 0
		for slot, m := range f.marks {
			if slot >= f.header.Trimmed {
				f.sum += m
			}
		}
	}
	record := f.headerRecord()
	f.mark = mark(index(f.id, 0), record)
	return append(logs, &raft.Log{
		Index: index(f.id, 0), Term: u.Header.Promised.Pack(), Type: raft.LogConfiguration, Data: record,
	})
}

// know notes that log.db has records of g, before it does.
func (s *Store) know(g paxos.GroupID) error {
	return explain(s.path(nodeFile), updateNode(s.node, func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketGroups).Put(key(uint64(g)), nil)
	}))
}

// fail makes err stick.
func (s *Store) fail(err error) error {
	s.failed = fmt.Errorf("storage: nothing is certain after a failed write: %w", err)
	return s.failed
}

// Trim deletes the votes of g below slot, a thousand at a time. A saved header
// must say that they are trimmed.
func (s *Store) Trim(g paxos.GroupID, below paxos.Slot) error {
	if s.failed != nil {
		return s.failed
	}
	f := s.groups[g]
	if f == nil || f.mark == 0 {
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
	if len(f.marks) == 0 {
		f.low, f.last = 0, 0
	} else {
		f.low = max(f.low, below)
	}
	return nil
}

func (s *Store) path(file string) string { return filepath.Join(s.dir, file) }
