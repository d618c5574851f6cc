package storage

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"
)

// The ways in which a whole directory can be of no use to a node any more.
// Both are for ever.
var (
	ErrQuarantined = errors.New("data directory is quarantined")
	ErrRemoved     = errors.New("node was removed from the cluster")
)

// keyRetired holds the directory's retirement, in bucketNode.
var keyRetired = []byte("retired")

// maxReason bounds the text of a retirement, in bytes; what is longer is cut.
const maxReason = 1024

// A Retirement says why a directory must not be used any more.
type Retirement struct {
	Kind   string `json:"kind"` // Quarantine or Removal
	Reason string `json:"reason"`
}

// The kinds of retirement.
const (
	Quarantine = "quarantined" // its memory is not what this node has told others
	Removal    = "removed"     // the cluster goes on without it
)

// Quarantine notes, durably, that this directory's memory cannot be trusted:
// the node must never vote again under this identity. The first retirement
// stays; to retire twice is no error.
func (s *Store) Quarantine(reason string) error { return s.retire(Quarantine, reason) }

// Quarantined returns why the directory is quarantined, if it is.
func (s *Store) Quarantined() (reason string, yes bool) {
	r, ok := s.Retired()
	if !ok || r.Kind != Quarantine {
		return "", false
	}
	return r.Reason, true
}

// Remove notes, durably, that the cluster has removed this node. Like
// Quarantine otherwise.
func (s *Store) Remove(reason string) error { return s.retire(Removal, reason) }

// Retired returns why the directory must not be used, if it must not.
func (s *Store) Retired() (Retirement, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retired, s.retired.Kind != ""
}

// Fit returns nil if a node may run on this directory. Otherwise the error
// wraps ErrQuarantined or ErrRemoved, and is one line that says what to do.
// [Open] does not ask: a retired directory can be looked at.
func (s *Store) Fit() error {
	r, retired := s.Retired()
	if !retired {
		return nil
	}
	name := s.Identity().Name
	if name == "" {
		name = "NAME"
	}
	if r.Kind == Removal {
		return fmt.Errorf("%w: %s: %s; to bring it back, start it with an empty directory and --join: it is a new node then", ErrRemoved, s.dir, r.Reason)
	}
	return fmt.Errorf("%w: %s: %s; it must not vote: %s", ErrQuarantined, s.dir, r.Reason, remedy(name))
}

// knowsFormat refuses a directory with another layout than this program's.
func (s *Store) knowsFormat() error {
	id, path := s.identity, s.path(nodeFile)
	switch {
	case id.Format > format:
		return fmt.Errorf("%w: %s has format %d, this program knows %d; run a newer version", ErrFuture, path, id.Format, format)
	case id.Format < format:
		return fmt.Errorf("%w: %s has format %d, this program knows %d; run the version that wrote it, or %s",
			ErrPast, path, id.Format, format, remedy(cmp.Or(id.Name, "NAME")))
	}
	return nil
}

// remedy says what to do about the node called name, which lost its memory or
// part of it.
func remedy(name string) string {
	return fmt.Sprintf("move the directory away, start the node with an empty one and --join, and run `prytany member replace %s` against a living node", name)
}

func (s *Store) retire(kind, reason string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retired.Kind != "" {
		return nil
	}
	r := Retirement{Kind: kind, Reason: reason[:min(len(reason), maxReason)]}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	err = s.change(func(tx *bbolt.Tx) error { return tx.Bucket(bucketNode).Put(keyRetired, sealed(b)) })
	if err != nil {
		return err
	}
	s.retired = r
	return nil
}

// readRetired reads the retirement. Called before the store is shared.
func (s *Store) readRetired(tx *bbolt.Tx) error {
	record := tx.Bucket(bucketNode).Get(keyRetired)
	if record == nil {
		return nil
	}
	b, err := unsealed(record)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &s.retired); err != nil || s.retired.Kind == "" {
		return damaged(s.path(nodeFile), "the note of why it is retired makes no sense")
	}
	return nil
}
