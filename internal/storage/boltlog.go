package storage

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

// A boltLog is log.db.
type boltLog struct {
	file string
	db   *raftboltdb.BoltStore
	txid uint64 // the last transaction
}

// openBolt starts the next incarnation and opens log.db, which is made if need be. It
// returns the root.
func (s *Store) openBolt(bolt *bbolt.Options, name string) (is root, err error) {
	path := s.path(boltFile)
	options := *bolt
	// A mapping larger than the file costs address space only, and spares the
	// writer from stopping readers to map anew.
	if strconv.IntSize == 64 {
		options.InitialMmapSize = 1 << 30
	}
	if err := create(path, func(tmp string) error { return initBolt(tmp, options) }); err != nil {
		return is, explain(path, err)
	}
	err = guarded(path, func() error {
		txid, err := verify(path, bolt)
		if err != nil {
			return err
		}
		if is, err = readRoot(path, bolt); err != nil {
			return err
		}
		next, err := s.opening.next(path, txid, is)
		if err != nil {
			return err
		}
		return s.begin(name, keyOpening, next.note(), txid)
	})
	if err != nil {
		return is, err
	}
	return is, guarded(path, func() error {
		db, err := raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: &options})
		if err != nil {
			return err
		}
		l := &boltLog{file: path, db: db}
		s.votes = l
		l.txid, err = txidOf(path)
		return err
	})
}

// initBolt makes log.db with a root.
func initBolt(path string, options bbolt.Options) error {
	db, err := raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: &options})
	if err != nil {
		return err
	}
	l := &boltLog{file: path, db: db}
	if l.txid, err = txidOf(path); err == nil {
		err = l.put([]entry{root{txid: l.txid + 1}.entry()})
	}
	return errors.Join(err, db.Close())
}

func (l *boltLog) put(entries []entry) error {
	logs := make([]*raft.Log, 0, len(entries))
	for _, e := range entries {
		kind := raft.LogCommand
		if e.index == rootIndex {
			kind = raft.LogNoop
		} else if e.index<<(64-slotBits) == 0 {
			kind = raft.LogConfiguration // a header
		}
		logs = append(logs, &raft.Log{Index: e.index, Term: e.term, Type: kind, Data: e.record})
	}
	if err := l.db.StoreLogs(logs); err != nil {
		return err
	}
	l.txid++
	return nil
}

// apart: bbolt's cursor skips records if it deletes in a transaction that has written
// before.
func (l *boltLog) apart() bool { return true }

func (l *boltLog) remove(from, to uint64) error {
	if err := l.db.DeleteRange(from, to); err != nil {
		return err
	}
	l.txid++
	return nil
}

func (l *boltLog) get(index uint64) ([]byte, error) { return recordOf(l.db, l.file, index) }

func (l *boltLog) last() uint64 { return l.txid }

func (l *boltLog) path() string { return l.file }

func (l *boltLog) size() int64 {
	st, err := os.Stat(l.file)
	if err != nil {
		return 0
	}
	return st.Size()
}

func (l *boltLog) close() error { return l.db.Close() }

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

func (o opening) note() []byte { return slices.Concat(key(o.from), key(o.root), key(o.many)) }
