package storage

import (
	"os"

	"go.etcd.io/bbolt"

	"github.com/prytany/prytany/internal/codec"
)

// checkUpTo is the size of file up to which every page is walked at opening.
// It takes about a second per gigabyte.
const checkUpTo = 256 << 20

// check walks the pages of db, which is at path.
func check(path string, db *bbolt.DB) error {
	if st, err := os.Stat(path); err != nil || st.Size() > checkUpTo {
		return err
	}
	return db.View(func(tx *bbolt.Tx) error {
		var first error
		for err := range tx.Check() {
			if first == nil {
				first = damaged(path, err)
			}
		}
		return first
	})
}

// checkFile is check for a file that is not open.
func checkFile(path string, opts *bbolt.Options) error {
	if st, err := os.Stat(path); err != nil || st.Size() > checkUpTo {
		return err
	}
	db, err := bbolt.Open(path, 0o600, opts)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	return check(path, db)
}

func sealed(content []byte) []byte { return codec.AppendRecord(nil, content) }

func unsealed(record []byte) ([]byte, error) { return codec.OpenRecord(record) }
