package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/prytany/prytany/internal/storage/wal"
)

// probeSize is what a disk writes at least at once.
const probeSize = 4096

// ErrFull says that a probe found no room. Nothing that was saved is touched.
var ErrFull = errors.New("the disk is full")

// noteAt is where the block has the note of an append-only log, after the count.
const noteAt = 8

// A prober writes the same block of a file of its own again and again. Not in
// log.db or node.db: a transaction there would take pages, wait for the one
// writer, and be one that somebody has to account for.
type prober struct {
	file  *os.File
	block [probeSize]byte
	many  uint64
	log   wal.ID // of an append-only log
}

// openProbe opens the file, which lies beside the log: on the same file system.
func (s *Store) openProbe() error {
	f, err := os.OpenFile(s.path(probeFile), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return explain(s.path(probeFile), err)
	}
	s.probe.file, s.probe.log = f, s.appended.id
	return nil
}

// Probe writes one block as durably as a vote, and returns when it is on the
// disk: if the disk with the log hangs, so does Probe. It is called from one
// goroutine at a time, and from another than the calls of replica.Storage. The
// file does not grow. It says how far an append-only log had come, which [Open] compares
// with what is there; nothing else is ever read from it.
//
// Error: ErrFull, if there is no room for the block, which happens on file
// systems that never write in place, and when the file is new. Else that of an earlier
// write of anything, which sticks, or of this one. After any but ErrFull
// the process must end as after a failed Save: the disk has lost a write that it
// was asked to keep, and the system may tell of that once only, here.
func (s *Store) Probe() error {
	if err := s.broken(); err != nil {
		return err
	}
	p := &s.probe
	p.many++ // so that no layer below can leave out a write of what it has
	binary.BigEndian.PutUint64(p.block[:], p.many)
	if p.log != (wal.ID{}) {
		copy(p.block[noteAt:], sealed(note{p.log, s.position.Load()}.content()))
	}
	_, err := p.file.WriteAt(p.block[:], 0)
	if err == nil {
		err = wal.Sync(p.file)
	}
	switch {
	case err == nil:
		return nil
	case full(err) || errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: %s: %w", ErrFull, s.path(probeFile), err)
	}
	return fmt.Errorf("storage: probe of the disk: %w", err)
}

// broken returns why the store must not be used any more, nil if it may. Snapshots
// are written beside everything else.
func (s *Store) broken() error {
	s.failure.Lock()
	defer s.failure.Unlock()
	return s.failed
}
