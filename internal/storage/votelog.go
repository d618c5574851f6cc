package storage

import (
	"errors"
	"fmt"
	"os"
)

// The ways in which a directory can keep promises and votes.
const (
	LogBolt   = "bolt"   // log.db, a raft-boltdb store
	LogAppend = "append" // log.wal, a directory of segments; see package wal

	// DefaultLogStore is what a new directory gets that is not told otherwise.
	DefaultLogStore = LogAppend
)

// An entry is a record and its place in the log.
type entry struct {
	index  uint64
	term   uint64 // a ballot, for those who look at log.db with other tools; it is never read
	record []byte
}

// A voteLog is a durable map from indexes to records. One goroutine calls it, but for
// path, size and close.
type voteLog interface {
	// put writes entries durably, all or none. Of two with one index the later one
	// stays. After an error nothing is certain.
	put(entries []entry) error
	// remove deletes the records from one index to another. It counts as a write and
	// is durable if apart says so; else it is durable with the next put.
	remove(from, to uint64) error
	apart() bool
	// get returns the record at index, nil if there is none. Error: ErrDamaged.
	get(index uint64) ([]byte, error)
	// last returns how many writes are durable, from the first start of the node on.
	last() uint64
	path() string
	size() int64 // in bytes, of its files
	close() error
}

// logStore says how the directory keeps its log: as it does, or, if it has none and
// may have none, as wanted.
func (s *Store) logStore(want string) (string, error) {
	if want == "" {
		want = DefaultLogStore
	}
	if want != LogBolt && want != LogAppend {
		return "", fmt.Errorf("log store %q: say %s or %s", want, LogBolt, LogAppend)
	}
	bolt, err := s.exists(boltFile)
	if err != nil {
		return "", err
	}
	appended, err := s.exists(appendDir)
	if err != nil {
		return "", err
	}
	switch {
	case appended && (bolt || s.opening.many > 0):
		return "", damaged(s.path(appendDir), "the directory had its log in "+boltFile)
	case bolt && s.appended.seq > 0:
		return "", damaged(s.path(boltFile), "the directory had its log in "+appendDir)
	case appended:
		return LogAppend, nil
	case bolt:
		return LogBolt, nil
	}
	// It has none: a crash came before it was made, and it is made as it was before.
	missing := s.path(boltFile)
	if s.appended.seq > 0 {
		want, missing = LogAppend, s.path(appendDir)
	} else if s.opening.many > 0 {
		want = LogBolt
	}
	if known, err := s.knownGroups(); err != nil {
		return "", err
	} else if len(known) > 0 {
		return "", damaged(missing, "it is missing")
	}
	return want, nil
}

// exists reports whether the directory has a file of that name.
func (s *Store) exists(name string) (bool, error) {
	_, err := os.Lstat(s.path(name))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, explain(s.path(name), err)
}
