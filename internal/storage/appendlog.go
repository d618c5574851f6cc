package storage

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync"

	"go.etcd.io/bbolt"

	"github.com/prytany/prytany/internal/storage/wal"
)

// An appendLog is an append-only log. The lock is for Close, which may come from
// another goroutine.
type appendLog struct {
	dir string

	mu  sync.Mutex
	log *wal.Log
}

// A note is what is remembered of an append-only log beside it: which one it is, and
// how far it had come. node.db has it from each start and each orderly end, and the
// probe's file from each probe.
type note struct {
	id  wal.ID
	seq uint64 // 0: there is no note
}

func (n note) content() []byte { return append(n.id[:len(n.id):len(n.id)], key(n.seq)...) }

func openNote(record []byte) (n note, ok bool) {
	b, err := unsealed(record)
	if err != nil || len(b) != len(n.id)+8 {
		return n, false
	}
	n.seq = binary.BigEndian.Uint64(b[copy(n.id[:], b):])
	return n, n.seq > 0
}

// noteSize is how long a sealed note is.
var noteSize = len(sealed(note{}.content()))

// openAppend opens the append-only log, which is made if need be, and starts the next
// incarnation. It returns the root.
func (s *Store) openAppend(opts Options) (is root, err error) {
	dir := s.path(appendDir)
	o := wal.Options{SegmentBytes: opts.SegmentBytes}
	there, err := s.exists(appendDir)
	if err == nil && !there { // if there was one, without a group, the new one goes on with its numbers
		next := s.appended.seq + 1
		s.appended = note{}
		first := root{txid: next}.entry()
		err = wal.Create(dir, o, next, []wal.Record{{Key: first.index, Value: first.record}})
	}
	if err != nil {
		return is, explain(dir, err)
	}
	log, err := wal.Open(dir, o)
	if err != nil {
		return is, explain(dir, err)
	}
	l := &appendLog{dir: dir, log: log}
	s.votes = l
	if err := s.agree(note{log.ID(), log.Last()}); err != nil {
		return is, err
	}
	record, err := l.get(rootIndex)
	if err == nil {
		is, err = openRoot(record)
	}
	if err == nil && is.txid != log.Last() {
		err = damaged(dir, fmt.Sprintf("its last write is %d, and that of its root %d", log.Last(), is.txid))
	}
	if err != nil {
		return is, explain(dir, err)
	}
	s.appended = note{log.ID(), log.Last()}
	return is, s.begin(opts.Name, keyAppended, s.appended.content(), log.Last())
}

// agree reports ErrDamaged if the log is not the one that was noted, or has lost its
// last writes.
func (s *Store) agree(is note) error {
	noted := s.appended
	if noted.seq > 0 && noted.id != is.id {
		return damaged(s.path(appendDir), "it is the log of another directory")
	}
	if probed, ok := s.readProbe(); ok && probed.id == is.id {
		noted.seq = max(noted.seq, probed.seq)
	}
	if is.seq < noted.seq {
		return damaged(s.path(appendDir), fmt.Sprintf("it ends with write %d, and %d was durable", is.seq, noted.seq))
	}
	return nil
}

// readAppended reads the note. Called before the store is shared.
func (s *Store) readAppended(tx *bbolt.Tx) error {
	record := tx.Bucket(bucketNode).Get(keyAppended)
	if record == nil {
		return nil
	}
	var ok bool
	if s.appended, ok = openNote(record); !ok {
		return damaged(s.path(nodeFile), "its note of the log makes no sense")
	}
	return nil
}

// noteEnd notes how far an append-only log has come, when it is closed. The caller
// holds mu.
func (s *Store) noteEnd() error {
	if _, ok := s.votes.(*appendLog); !ok || s.position.Load() == 0 || s.broken() != nil {
		return nil
	}
	s.appended.seq = s.position.Load()
	return s.change(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketNode).Put(keyAppended, sealed(s.appended.content()))
	})
}

// readProbe returns the note in the probe's file, if there is one. It can only make
// Open stricter, so that one that cannot be read is none.
func (s *Store) readProbe() (n note, ok bool) {
	f, err := os.Open(s.path(probeFile))
	if err != nil {
		return n, false
	}
	defer func() { _ = f.Close() }()
	b := make([]byte, noteSize)
	if _, err := f.ReadAt(b, noteAt); err != nil {
		return n, false
	}
	return openNote(b)
}

func (l *appendLog) put(entries []entry) error {
	records := make([]wal.Record, 0, len(entries))
	for _, e := range entries {
		records = append(records, wal.Record{Key: e.index, Value: e.record})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.Put(records)
}

func (l *appendLog) apart() bool { return false }

func (l *appendLog) remove(from, to uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.log.Delete(from, to)
	return nil
}

func (l *appendLog) get(index uint64) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	record, _, err := l.log.Get(index)
	return record, err
}

func (l *appendLog) last() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.Last()
}

func (l *appendLog) path() string { return l.dir }

func (l *appendLog) size() int64 { return l.log.Size() }

func (l *appendLog) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.Close()
}
