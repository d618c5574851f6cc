package storage

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"

	"github.com/prytany/prytany/internal/codec"
)

// makeDir makes a data directory, and its name durable: else all that is in it could
// vanish with it. One that has node.db was made so.
func makeDir(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, nodeFile)); err == nil {
		return nil
	}
	var above []string // the directory above it, and those above what is missing
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		above = append(above, filepath.Dir(at))
		if _, err := os.Stat(filepath.Dir(at)); err == nil || filepath.Dir(at) == at {
			break
		}
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	for _, parent := range above {
		// Where this user may not read, this user has made nothing either.
		if err := syncDir(parent); err != nil && !errors.Is(err, os.ErrPermission) {
			return err
		}
	}
	return nil
}

// change runs f in a transaction of node.db, see updateNode. If it fails, and not f, the
// error sticks as that of any write does: what bbolt has mapped may say that the
// transaction is there, the disk may not have it, and the next one would build on it.
func (s *Store) change(f func(tx *bbolt.Tx) error) error {
	if err := s.broken(); err != nil {
		return err
	}
	var own error
	err := updateNode(s.node, func(tx *bbolt.Tx) error {
		own = f(tx)
		return own
	})
	err = explain(s.path(nodeFile), err)
	if err != nil && own == nil {
		return s.fail(err)
	}
	return err
}

// updateNode runs f in a transaction of node.db, and notes which one it was
// and what it left. There are no other transactions.
func updateNode(db *bbolt.DB, f func(tx *bbolt.Tx) error) error {
	return db.Update(func(tx *bbolt.Tx) error {
		if err := f(tx); err != nil {
			return err
		}
		return tx.Bucket(bucketNode).Put(keyClock, clock(tx))
	})
}

// clock returns the record that vouches for all else in node.db, as tx leaves
// or sees it. One that only reads has the number of the last that wrote.
func clock(tx *bbolt.Tx) []byte {
	content := binary.AppendUvarint(nil, uint64(tx.ID()))
	for _, name := range [][]byte{bucketNode, bucketAddresses, bucketGroups, bucketSnapshots} {
		sum := uint64(0)
		b := tx.Bucket(name)
		_ = b.ForEach(func(k, v []byte) error {
			if string(k) != string(keyClock) {
				sum += mix(uint64(codec.Checksum(k)) + mix(uint64(codec.Checksum(v))))
			}
			return nil
		})
		content = binary.LittleEndian.AppendUint64(content, sum)
	}
	return sealed(content)
}
