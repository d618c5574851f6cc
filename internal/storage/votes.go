package storage

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/prytany/prytany/internal/codec"
	"github.com/prytany/prytany/internal/mutant"
	"github.com/prytany/prytany/paxos"
)

const (
	slotBits = 40
	maxSlot  = 1<<slotBits - 1
	maxGroup = 1<<(64-slotBits) - 1

	// rootIndex is the record that vouches for all headers. There is no
	// group 0.
	rootIndex = 0
)

// keepRoom bounds the room for records that is kept between two writes, in bytes.
const keepRoom = 4 << 20

// A groupFile is what the store knows of one group's records.
type groupFile struct {
	id     paxos.GroupID
	header paxos.Header
	low    paxos.Slot     // none below has a record; 0 if none has any
	last   paxos.Slot     // none above has a record
	sum    uint64         // of the marks of all votes from header.Trimmed on
	mark   uint64         // of the header's record; 0: it has none
	gone   bool           // dropped: the header's record is a tombstone, and the votes are to be deleted
	floor  paxos.ConfigID // of the tombstone
	left   paxos.Slot     // votes from low to below it, all trimmed, may be there and have no mark

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
	return root{count: s.headers, sum: s.marks, txid: s.votes.last() + 1, deletes: deletes}
}

// setMark takes note of f's new header record.
func (s *Store) setMark(f *groupFile, mark uint64) {
	if f.mark == 0 {
		s.headers++
	}
	s.marks += mark - f.mark
	f.mark = mark
}

func (r root) entry() entry {
	b := binary.AppendUvarint(nil, r.count)
	b = binary.AppendUvarint(b, r.sum)
	b = binary.AppendUvarint(b, r.txid)
	deletes := byte(0)
	if r.deletes {
		deletes = 1
	}
	return entry{index: rootIndex, record: sealed(append(b, deletes))}
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

// write writes entries and the root durably, all or none.
func (s *Store) write(entries []entry, deletes bool) error {
	if err := s.broken(); err != nil {
		return err
	}
	if err := s.votes.put(append(entries, s.root(deletes).entry())); err != nil {
		return s.fail(explain(s.votes.path(), err))
	}
	s.position.Store(s.votes.last())
	return nil
}

// drop deletes the records from one index to another, and writes with. In log.db that
// is a write of its own, before which the root says that it comes, and with is written
// too. An append-only log has deletion and with in one write; without with it has the
// deletion in the next one, and until then a crash brings the records back.
func (s *Store) drop(from, to uint64, with ...entry) error {
	apart := s.votes.apart()
	if apart {
		if err := s.write(with, true); err != nil {
			return err
		}
	}
	if err := s.votes.remove(from, to); err != nil {
		return s.fail(explain(s.votes.path(), err))
	}
	s.position.Store(s.votes.last())
	if apart || len(with) == 0 {
		return nil
	}
	return s.write(with, false)
}

// loadHeaders reads the headers of all groups, and compares them with the root.
func (s *Store) loadHeaders(want root) error {
	known, err := s.knownGroups()
	if err != nil {
		return err
	}
	return guarded(s.votes.path(), func() error {
		for _, g := range known {
			f, err := s.loadHeader(g)
			if err != nil {
				return fmt.Errorf("header of group %d: %w", g, err)
			}
			s.groups[g] = f
			if f.mark != 0 {
				s.headers, s.marks = s.headers+1, s.marks+f.mark
			}
		}
		if is := s.root(false); is.count != want.count || is.sum != want.sum {
			return damaged(s.votes.path(), "a group's header is lost or not the last one")
		}
		return nil
	})
}

func (s *Store) loadHeader(g paxos.GroupID) (*groupFile, error) {
	f := &groupFile{id: g}
	record, err := s.votes.get(index(g, 0))
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
	switch len(content) {
	case 8: // of a version without floors
		f.gone, f.floor = true, paxos.Forever
		return f, nil
	case 8 + 4:
		f.gone, f.floor = true, paxos.ConfigID(binary.LittleEndian.Uint32(content[8:]))
		return f, nil
	}
	f.header, err = codec.DecodeHeader(content[8:])
	return f, err
}

// headerRecord returns the record of f's header. A tombstone has a floor in its place,
// in four bytes: headers are longer.
func (f *groupFile) headerRecord() []byte {
	content := binary.AppendUvarint(nil, uint64(f.last))
	content = binary.AppendUvarint(content, uint64(f.low))
	content = binary.LittleEndian.AppendUint64(content, f.sum)
	if f.gone {
		return sealed(binary.LittleEndian.AppendUint32(content, uint32(f.floor)))
	}
	return sealed(codec.AppendHeader(content, f.header))
}

// Groups lists the groups that have anything saved, in order.
func (s *Store) Groups() (out []paxos.GroupID, err error) {
	if err := s.broken(); err != nil {
		return nil, err
	}
	for g, f := range s.groups {
		if f.mark != 0 && !f.gone {
			out = append(out, g)
		}
	}
	slices.Sort(out)
	return out, nil
}

// knownGroups lists the groups that the log may have records of.
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
	if err := s.broken(); err != nil {
		return paxos.Durable{}, err
	}
	f := s.groups[g]
	if f == nil || f.mark == 0 || f.gone {
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

// loadVotes reads the votes of f that are not trimmed. Those that are and whose
// deletion was interrupted are for Trim.
func (s *Store) loadVotes(f *groupFile) (votes []paxos.SlotVote, err error) {
	marks, sum := make(map[paxos.Slot]uint64), uint64(0)
	err = guarded(s.votes.path(), func() error {
		for slot := max(f.low, f.header.Trimmed, 1); slot <= f.last; slot++ {
			at := index(f.id, slot)
			record, err := s.votes.get(at)
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
			return damaged(s.votes.path(), fmt.Sprintf("group %d: a vote is lost or not the last one", f.id))
		}
		return nil
	})
	if err != nil || f.marks != nil {
		return votes, err
	}
	if f.low > 0 && f.low < f.header.Trimmed {
		f.left = f.header.Trimmed
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

// Save makes all updates durable in one write.
func (s *Store) Save(updates []paxos.Update) error {
	if err := s.broken(); err != nil {
		return err
	}
	defer func() {
		if s.room = s.room[:0]; cap(s.room) > keepRoom {
			s.room = nil
		}
	}()
	var logs []entry
	for _, u := range updates {
		if !u.Dirty {
			continue
		}
		f, err := s.writable(u)
		if err != nil {
			return s.fail(err)
		}
		logs = append(logs, s.update(f, u)...)
	}
	if len(logs) == 0 {
		return nil
	}
	if last := len(logs) - 1; mutant.On(mutant.TwoWrites) && last > 0 {
		if err := s.write(logs[:last:last], false); err != nil {
			return err
		}
		logs = logs[last:]
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
	if f.gone {
		if err := s.again(f, u.Header.Floor); err != nil {
			return nil, err
		}
	}
	if f.marks == nil {
		if _, err := s.loadVotes(f); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// update changes f by u and returns the records to write. They are good until Save returns.
func (s *Store) update(f *groupFile, u paxos.Update) []entry {
	resum := u.Header.Trimmed != f.header.Trimmed
	f.header = u.Header
	// The header is kept beyond this call; the caller owns its slices.
	f.header.Membership.Voters = slices.Clone(u.Header.Membership.Voters)
	logs := make([]entry, 0, len(u.Votes)+2) // header, root
	room := 0
	for _, v := range u.Votes {
		const beside = 64 // bytes of a record, its value left out
		room += len(v.Vote.Value) + beside
	}
	s.room = slices.Grow(s.room, room)
	for _, v := range u.Votes {
		at := index(f.id, v.Slot)
		from := len(s.room)
		s.room = codec.AppendVoteRecord(s.room, v)
		record := s.room[from:len(s.room):len(s.room)]
		logs = append(logs, entry{at, v.Vote.Ballot.Pack(), record})
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
	return append(logs, s.headerLog(f))
}

// headerLog returns f's header as it is now, to be written.
func (s *Store) headerLog(f *groupFile) entry {
	at, record := index(f.id, 0), f.headerRecord()
	s.setMark(f, mark(at, record))
	return entry{at, f.header.Promised.Pack(), record}
}

// know notes that the log has records of g, before it does.
func (s *Store) know(g paxos.GroupID) error {
	return s.change(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketGroups).Put(key(uint64(g)), nil)
	})
}

// fail makes err stick.
func (s *Store) fail(err error) error {
	s.failure.Lock()
	defer s.failure.Unlock()
	s.failed = fmt.Errorf("storage: nothing is certain after a failed write: %w", err)
	return s.failed
}

func (s *Store) path(file string) string { return filepath.Join(s.dir, file) }
