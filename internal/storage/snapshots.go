package storage

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/prytany/prytany/internal/codec"
	"github.com/prytany/prytany/paxos"
)

const (
	chunkBytes = 1 << 20  // one value of a snapshot's bucket
	batchBytes = 16 << 20 // written in one transaction
)

// A snapshot's bytes are in a bucket of their own, named group and slot; the
// group's key holds what they are and which bucket is the present one. It is
// switched only when all bytes are there.

func snapshotBucket(g paxos.GroupID, slot paxos.Slot) []byte {
	return binary.BigEndian.AppendUint64(key(uint64(g)), uint64(slot))
}

// SaveSnapshot replaces g's snapshot.
func (s *Store) SaveSnapshot(g paxos.GroupID, snap paxos.Snapshot) error {
	if s.failed != nil {
		return s.failed
	}
	if err := s.saveSnapshot(g, snap); err != nil {
		return s.fail(explain(s.path(nodeFile), err))
	}
	return nil
}

func (s *Store) saveSnapshot(g paxos.GroupID, snap paxos.Snapshot) error {
	present, err := s.presentSnapshot(g)
	if err != nil {
		return err
	}
	// A bucket of the same slot is either the present snapshot, whose bytes
	// must stay until the switch, or what a crash left behind.
	name := snapshotBucket(g, snap.Slot)
	if present != nil && string(present) == string(name) {
		name = append(name, 'b')
	}
	if err := s.writeChunks(name, snap.Data); err != nil {
		return err
	}
	content := codec.AppendMembership(nil, snap.Membership)
	head := binary.AppendUvarint(nil, uint64(snap.Slot))
	head = binary.AppendUvarint(head, uint64(len(snap.Data)))
	head = binary.AppendUvarint(head, uint64(codec.Checksum(snap.Data)))
	head = binary.AppendUvarint(head, uint64(len(name)))
	head = append(head, name...)
	return updateNode(s.node, func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketSnapshots)
		if err := b.Put(key(uint64(g)), sealed(append(head, content...))); err != nil {
			return err
		}
		return dropOthers(b, g, name)
	})
}

// writeChunks fills the bucket called name, in several transactions.
func (s *Store) writeChunks(name, data []byte) error {
	for first := true; first || len(data) > 0; first = false {
		batch := data[:min(batchBytes, len(data))]
		data = data[len(batch):]
		err := updateNode(s.node, func(tx *bbolt.Tx) error {
			parent := tx.Bucket(bucketSnapshots)
			if first && parent.Bucket(name) != nil {
				if err := parent.DeleteBucket(name); err != nil {
					return err
				}
			}
			b, err := parent.CreateBucketIfNotExists(name)
			if err != nil {
				return err
			}
			for len(batch) > 0 {
				n, err := b.NextSequence()
				if err != nil {
					return err
				}
				chunk := batch[:min(chunkBytes, len(batch))]
				batch = batch[len(chunk):]
				if err := b.Put(key(n), chunk); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// dropOthers deletes the bytes of g's other snapshots.
func dropOthers(b *bbolt.Bucket, g paxos.GroupID, keep []byte) error {
	var old [][]byte
	prefix := string(key(uint64(g)))
	err := b.ForEachBucket(func(k []byte) error {
		if len(k) >= 16 && string(k[:8]) == prefix && string(k) != string(keep) {
			old = append(old, append([]byte(nil), k...))
		}
		return nil
	})
	for _, k := range old {
		if err == nil {
			err = b.DeleteBucket(k)
		}
	}
	return err
}

// snapshotHead is what a group's key says of its snapshot.
type snapshotHead struct {
	slot       paxos.Slot
	size       uint64
	sum        uint64
	bucket     []byte
	membership []byte
}

func openHead(record []byte) (h snapshotHead, err error) {
	b, err := unsealed(record)
	if err != nil {
		return h, err
	}
	var n [4]uint64 // slot, size, sum, length of the bucket's name
	for i := range n {
		v, size := binary.Uvarint(b)
		if size <= 0 {
			return h, codec.ErrCorrupt
		}
		n[i], b = v, b[size:]
	}
	if n[3] > uint64(len(b)) {
		return h, codec.ErrCorrupt
	}
	return snapshotHead{paxos.Slot(n[0]), n[1], n[2], b[:n[3]], b[n[3]:]}, nil
}

// presentSnapshot returns the name of the bucket in use, nil if there is none.
func (s *Store) presentSnapshot(g paxos.GroupID) (name []byte, err error) {
	err = s.node.View(func(tx *bbolt.Tx) error {
		record := tx.Bucket(bucketSnapshots).Get(key(uint64(g)))
		if record == nil {
			return nil
		}
		h, err := openHead(record)
		name = append([]byte(nil), h.bucket...)
		return err
	})
	return name, err
}

// LoadSnapshot returns g's snapshot; ok is false if there is none.
func (s *Store) LoadSnapshot(g paxos.GroupID) (snap paxos.Snapshot, ok bool, err error) {
	if s.failed != nil {
		return paxos.Snapshot{}, false, s.failed
	}
	path := s.path(nodeFile)
	err = guarded(path, func() error {
		return s.node.View(func(tx *bbolt.Tx) error {
			parent := tx.Bucket(bucketSnapshots)
			record := parent.Get(key(uint64(g)))
			if record == nil {
				return nil
			}
			h, err := openHead(record)
			if err != nil {
				return err
			}
			if !bytes.HasPrefix(h.bucket, snapshotBucket(g, h.slot)) {
				return damaged(path, "it is not of this group or slot")
			}
			snap, err = readSnapshot(parent.Bucket(h.bucket), h)
			ok = err == nil
			return err
		})
	})
	if err == nil && s.groups[g] != nil && s.groups[g].header.Snapshot > snap.Slot {
		err = damaged(path, fmt.Sprintf("it is gone, or older than slot %d", s.groups[g].header.Snapshot))
	}
	if err != nil {
		return paxos.Snapshot{}, false, fmt.Errorf("snapshot of group %d: %w", g, err)
	}
	return snap, ok, nil
}

func readSnapshot(b *bbolt.Bucket, h snapshotHead) (paxos.Snapshot, error) {
	m, err := codec.DecodeMembership(h.membership)
	if err != nil {
		return paxos.Snapshot{}, err
	}
	if b == nil {
		return paxos.Snapshot{}, codec.ErrCorrupt
	}
	var data []byte
	err = b.ForEach(func(_, chunk []byte) error {
		data = append(data, chunk...)
		return nil
	})
	if err != nil {
		return paxos.Snapshot{}, err
	}
	if uint64(len(data)) != h.size || uint64(codec.Checksum(data)) != h.sum {
		return paxos.Snapshot{}, codec.ErrCorrupt
	}
	return paxos.Snapshot{Slot: h.slot, Membership: m, Data: data}, nil
}
