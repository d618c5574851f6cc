package storage

import (
	"encoding/binary"
	"fmt"
	"io"

	"go.etcd.io/bbolt"

	"github.com/prytany/prytany/internal/codec"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
)

// smallBytes is the size up to which a snapshot's bytes are in its head, in node.db:
// many new groups begin with one transaction, and have no files. It is not larger,
// since each transaction of node.db sums up all heads.
const smallBytes = 4 << 10

// A snapshotHead is what a group's key in node.db says of its snapshot. It is switched
// only when all bytes are on the disk.
type snapshotHead struct {
	group      paxos.GroupID
	slot       paxos.Slot
	membership paxos.Membership
	size       uint64
	sum        uint32 // CRC32C
	file       string // that holds the bytes; "" if they are here
	data       []byte // if file is ""
}

func (h snapshotHead) record() []byte {
	membership := codec.AppendMembership(nil, h.membership)
	b := binary.AppendUvarint(nil, uint64(h.group))
	b = binary.AppendUvarint(b, uint64(h.slot))
	b = binary.AppendUvarint(b, h.size)
	b = binary.AppendUvarint(b, uint64(h.sum))
	for _, part := range [][]byte{membership, []byte(h.file)} {
		b = binary.AppendUvarint(b, uint64(len(part)))
		b = append(b, part...)
	}
	return sealed(append(b, h.data...))
}

func openHead(record []byte) (h snapshotHead, err error) {
	b, err := unsealed(record)
	if err != nil {
		return h, err
	}
	number := func() (n uint64) {
		n, size := binary.Uvarint(b)
		if size <= 0 {
			err, b = codec.ErrCorrupt, nil
			return 0
		}
		b = b[size:]
		return n
	}
	part := func() (p []byte) {
		n := number()
		if n > uint64(len(b)) {
			err, b = codec.ErrCorrupt, nil
			return nil
		}
		p, b = b[:n], b[n:]
		return p
	}
	h.group, h.slot, h.size, h.sum = paxos.GroupID(number()), paxos.Slot(number()), number(), uint32(number())
	membership := part()
	h.file, h.data = string(part()), append([]byte(nil), b...)
	if err != nil {
		return h, err
	}
	if h.file == "" && (uint64(len(h.data)) != h.size || codec.Checksum(h.data) != h.sum) || h.file != "" && len(h.data) > 0 {
		return h, codec.ErrCorrupt
	}
	h.membership, err = codec.DecodeMembership(membership)
	return h, err
}

// head returns the head of g's snapshot, and the last transaction of node.db; ok is
// false if there is none.
func (s *Store) head(g paxos.GroupID) (h snapshotHead, txid uint64, ok bool, err error) {
	err = guarded(s.path(nodeFile), func() error {
		return s.node.View(func(tx *bbolt.Tx) error {
			txid = uint64(tx.ID())
			record := tx.Bucket(bucketSnapshots).Get(key(uint64(g)))
			if record == nil {
				return nil
			}
			if h, err = openHead(record); err != nil {
				return err
			}
			if h.group != g {
				return damaged(s.path(nodeFile), "it is of another group")
			}
			ok = true
			return nil
		})
	})
	return h, txid, ok, err
}

// SaveSnapshot replaces g's snapshot. What is large has come from a peer, and is
// written as fast as is good for the log, see arrivedRate.
func (s *Store) SaveSnapshot(g paxos.GroupID, snap paxos.Snapshot) error {
	_, err := s.replaceSnapshot(g, snap, allOf(snap.Data), arrivedRate)
	return err
}

// StreamSnapshot replaces g's snapshot by snap with the bytes that encode writes, so
// slowly that the log hardly notices, see takeRate. It implements replica.Streamer.
func (s *Store) StreamSnapshot(g paxos.GroupID, snap paxos.Snapshot, encode func(io.Writer) error) (size int, err error) {
	return s.replaceSnapshot(g, snap, encode, takeRate)
}

func (s *Store) replaceSnapshot(g paxos.GroupID, snap paxos.Snapshot, encode func(io.Writer) error, rate int) (size int, err error) {
	if err := s.broken(); err != nil {
		return 0, err
	}
	old, h, err := s.writeSnapshot(g, snap, encode, rate)
	if err != nil {
		return 0, err
	}
	err = updateNode(s.node, func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketSnapshots).Put(key(uint64(g)), h.record())
	})
	if err != nil {
		return 0, s.fail(explain(s.path(nodeFile), err))
	}
	if err := s.files.discard(old); err != nil {
		return 0, s.fail(explain(s.files.path(old), err))
	}
	return int(h.size), nil
}

// allOf returns what writes data.
func allOf(data []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}
}

// writeSnapshot makes the bytes that encode writes durable, unless they are so few that
// they go into the head. It returns that, and the file of the snapshot before; "" if it
// has none.
func (s *Store) writeSnapshot(g paxos.GroupID, snap paxos.Snapshot, encode func(io.Writer) error, rate int) (old string, h snapshotHead, err error) {
	was, txid, _, err := s.head(g)
	if err != nil {
		return "", h, s.fail(err)
	}
	h = snapshotHead{group: g, slot: snap.Slot, membership: snap.Membership}
	w := &snapshotWriter{files: s.files, name: snapshotName(g, snap.Slot, txid), rate: rate}
	defer w.stop()
	err = encode(w)
	if w.failed == nil {
		if err != nil {
			return "", h, err // nothing is wrong with the disk
		}
		w.failed = w.end(&h)
	}
	if w.failed != nil {
		return "", h, s.fail(explain(s.files.path(w.name), w.failed))
	}
	return was.file, h, nil
}

// LoadSnapshot returns g's snapshot; ok is false if there is none.
func (s *Store) LoadSnapshot(g paxos.GroupID) (snap paxos.Snapshot, ok bool, err error) {
	if err := s.broken(); err != nil {
		return paxos.Snapshot{}, false, err
	}
	f := s.groups[g]
	if f != nil && f.gone {
		return paxos.Snapshot{}, false, nil
	}
	h, _, ok, err := s.head(g)
	if err == nil && f != nil && f.header.Snapshot > h.slot {
		err = damaged(s.path(nodeFile), fmt.Sprintf("it is gone, or older than slot %d", f.header.Snapshot))
	}
	data := h.data
	if err == nil && h.file != "" {
		data, err = s.files.readAll(h.file, h.size, h.sum)
		err = explain(s.files.path(h.file), err)
	}
	if err != nil {
		return paxos.Snapshot{}, false, fmt.Errorf("snapshot of group %d: %w", g, err)
	}
	if !ok {
		return paxos.Snapshot{}, false, nil
	}
	return paxos.Snapshot{Slot: h.slot, Membership: h.membership, Data: data}, true, nil
}

// ReadSnapshot returns up to most bytes of g's snapshot from offset on. Unlike
// LoadSnapshot it checks no more of them than that they are there: the checksum, which
// it returns, is of the whole.
func (s *Store) ReadSnapshot(g paxos.GroupID, offset uint64, most int) (p replica.SnapshotPart, ok bool, err error) {
	if err := s.broken(); err != nil {
		return p, false, err
	}
	h, _, ok, err := s.head(g)
	for err == nil && ok {
		if p, err = s.part(h, offset, uint64(most)); err == nil {
			return p, true, nil
		}
		// The file may have been replaced after the head was read.
		var now snapshotHead
		var failed error
		if now, _, ok, failed = s.head(g); failed == nil && now.file == h.file {
			break
		}
		h, err = now, failed
	}
	if err != nil {
		return replica.SnapshotPart{}, false, fmt.Errorf("snapshot of group %d: %w", g, err)
	}
	return replica.SnapshotPart{}, false, nil
}

// part returns a part of the snapshot that h is the head of.
func (s *Store) part(h snapshotHead, offset, most uint64) (replica.SnapshotPart, error) {
	p := replica.SnapshotPart{Slot: h.slot, Membership: h.membership, Size: h.size, Sum: h.sum}
	if most == 0 {
		return p, nil // what is to be known of the whole
	}
	if h.file == "" {
		from := min(offset, h.size)
		p.Data = h.data[from : from+min(most, h.size-from)]
		return p, nil
	}
	data, err := s.files.read(h.file, h.size, offset, most)
	p.Data = data
	return p, explain(s.files.path(h.file), err)
}

// sweepSnapshot gives back some of the room that the snapshot of g takes, which was
// dropped, and reports whether nothing is left. The head goes first: the file is then
// one that a crash would have left.
func (s *Store) sweepSnapshot(g paxos.GroupID) (done bool, err error) {
	if s.dying == "" {
		h, _, ok, err := s.head(g)
		if err != nil || !ok {
			return err == nil, err
		}
		err = updateNode(s.node, func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketSnapshots).Delete(key(uint64(g)))
		})
		if err != nil {
			return false, explain(s.path(nodeFile), err)
		}
		s.dying = h.file
		return s.dying == "", nil
	}
	path := s.files.path(s.dying)
	if done, err = s.files.shrink(s.dying); done && err == nil {
		s.dying = ""
	}
	return done, explain(path, err)
}
