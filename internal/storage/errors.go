package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"strings"
	"syscall"

	berrors "go.etcd.io/bbolt/errors"

	"github.com/prytany/prytany/internal/codec"
	"github.com/prytany/prytany/internal/storage/wal"
)

// The ways in which a data directory can be refused. Each error that wraps one
// is a single line that says what to do.
var (
	ErrInUse   = errors.New("data directory is in use")
	ErrDamaged = errors.New("data directory is damaged")
	ErrForeign = errors.New("data directory belongs to another cluster")
	ErrFuture  = errors.New("data directory was written by a newer version")
	ErrPast    = errors.New("data directory was written by an older version")
)

func damaged(file string, cause any) error {
	return fmt.Errorf("%w: %s: %v; this node lost part of its memory and must not vote: %s", ErrDamaged, file, cause, remedy("NAME"))
}

// explain turns an error of opening or reading file into one that says what to
// do about it.
func explain(file string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrInUse), errors.Is(err, ErrDamaged), errors.Is(err, ErrForeign), errors.Is(err, ErrFuture), errors.Is(err, ErrPast):
		return err
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("%w: another process has %s open; stop it, or give this node a directory of its own", ErrInUse, file)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("cannot write to %s: %w; make the directory writable for this user", file, err)
	case errors.Is(err, syscall.EDQUOT), full(err):
		return fmt.Errorf("the disk with %s is full: %w; make room and start the node again, nothing acknowledged is lost", file, err)
	case errors.Is(err, codec.ErrVersion), errors.Is(err, berrors.ErrVersionMismatch), errors.Is(err, wal.ErrVersion):
		return fmt.Errorf("%w: %s; run the version that wrote it, or a newer one", ErrFuture, file)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrInvalidMapping), errors.Is(err, codec.ErrCorrupt),
		errors.Is(err, wal.ErrDamaged):
		return damaged(file, err)
	}
	return fmt.Errorf("%s: %w", file, err)
}

// full reports whether err says that the disk is. bbolt wraps some errors of
// growing its file as text only.
func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), syscall.ENOSPC.Error())
}

// guarded runs f, which reads file. A damaged page can make bbolt panic or
// touch memory beyond the file; both become errors.
func guarded(file string, f func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		if r := recover(); r != nil {
			err = damaged(file, r)
		}
	}()
	return explain(file, f())
}
