//go:build linux

// Package clockfile breaks the clock of another process: both map one small file, in
// which one writes at what rate and from what moment on the clock of the other runs.
// A clock that is broken so never goes back, like the clock it replaces: it runs
// faster or slower, stands still, or jumps ahead. Only who reads at the very moment of
// a change may read a little more before it than after.
//
// A node reads it only if it was built with -tags clockfault and is given [Variable].
package clockfile

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Variable is the environment variable that names a process's file.
const Variable = "PRYTANY_CLOCK_FILE"

// One is the rate of a good clock, in parts per million.
const One = 1_000_000

// A setting says how a clock runs from a moment on.
type setting struct {
	since atomic.Int64 // by the machine's clock, ns
	reads atomic.Int64 // what the broken clock reads then, ns
	rate  atomic.Int64 // parts per million
}

// layout is what the file holds. The setting in force is that of now modulo 2; the
// other one is written before now rises, so that whoever reads finds the same now
// before and after has read what belongs together.
type layout struct {
	now      atomic.Uint64
	settings [2]setting
}

const size = int(unsafe.Sizeof(layout{}))

// A File is one clock. Many may read it at a time, one may change it.
type File struct {
	mapped []byte
	l      *layout
}

// Create makes a file at path with a good clock. One that is there is replaced: a
// process that has it goes on by the old one.
func Create(path string) (*File, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("clock file: %w", err)
	}
	text := make([]byte, size)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return nil, fmt.Errorf("clock file: %w", err)
	}
	f, err := Open(path)
	if err == nil {
		f.l.settings[0].rate.Store(One)
	}
	return f, err
}

// Open maps a file that Create has made.
func Open(path string) (*File, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("clock file: %w", err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("clock file: %w", err)
	}
	if info.Size() != int64(size) {
		return nil, fmt.Errorf("clock file %s has %d bytes, and not %d: make it with Create", path, info.Size(), size)
	}
	mapped, err := unix.Mmap(int(file.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("clock file %s: map: %w", path, err)
	}
	return &File{mapped, (*layout)(unsafe.Pointer(&mapped[0]))}, nil
}

// Close unmaps the file. Nothing may use it after that.
func (f *File) Close() error { return unix.Munmap(f.mapped) }

// Now is what the clock reads when the machine's clock reads machine.
func (f *File) Now(machine time.Duration) time.Duration {
	for {
		n := f.l.now.Load()
		s := &f.l.settings[n%2]
		since, reads, rate := s.since.Load(), s.reads.Load(), s.rate.Load()
		if f.l.now.Load() == n {
			return time.Duration(reads) + scale(max(machine-time.Duration(since), 0), rate)
		}
	}
}

// scale is how far a clock of a rate runs in d. Whole seconds and the rest are
// counted apart, so that days do not overflow.
func scale(d time.Duration, rate int64) time.Duration {
	whole, rest := int64(d)/One, int64(d)%One
	return time.Duration(whole*rate + rest*rate/One)
}

// Run has the clock run at a rate, in parts per million of what it should, from now
// on, where the machine's clock reads machine. The rate is not below 0.
func (f *File) Run(machine time.Duration, rate int64) { f.set(machine, 0, max(rate, 0)) }

// Jump has the clock jump ahead by d, which is not below 0. Its rate stays.
func (f *File) Jump(machine, d time.Duration) {
	f.set(machine, max(d, 0), f.l.settings[f.l.now.Load()%2].rate.Load())
}

func (f *File) set(machine, ahead time.Duration, rate int64) {
	reads := f.Now(machine) + ahead
	n := f.l.now.Load() + 1
	s := &f.l.settings[n%2]
	s.since.Store(int64(machine))
	s.reads.Store(int64(reads))
	s.rate.Store(rate)
	f.l.now.Store(n)
}

// Machine reads the clock of the machine that a node's clock follows.
func Machine() (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0, fmt.Errorf("CLOCK_BOOTTIME: %w", err)
	}
	return time.Duration(ts.Nano()), nil
}
