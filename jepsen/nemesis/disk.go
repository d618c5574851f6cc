//go:build linux

package nemesis

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/prytany/prytany/jepsen/world"
)

func diskFull(_ context.Context, s *strike) (end, error) {
	n := s.nodes[0]
	ballast := filepath.Join(n.Mount(), "ballast")
	undo := func(ctx context.Context) error {
		if err := os.RemoveAll(ballast); err != nil {
			return err
		}
		return start(s.nodes)(ctx) // it may have ended by itself
	}
	f, err := os.Create(ballast)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	for size := int64(64 << 20); size >= 4096; size /= 2 {
		at := int64(0)
		if info, err := f.Stat(); err == nil {
			at = info.Size()
		}
		for unix.Fallocate(int(f.Fd()), 0, at, size) == nil {
			at += size
		}
	}
	return undo, nil
}

func diskFrozen(_ context.Context, s *strike) (end, error) {
	disk := s.nodes[0].Disk()
	return func(ctx context.Context) error {
		if err := disk.Thaw(); err != nil {
			return err
		}
		return start(s.nodes)(ctx)
	}, disk.Freeze()
}

// diskSlow freezes and thaws by turns, so that each write waits for a while.
func diskSlow(ctx context.Context, s *strike) (end, error) {
	disk := s.nodes[0].Disk()
	return repeat(ctx, s, 10*time.Millisecond, 60*time.Millisecond, func(ctx context.Context) error {
		if err := disk.Freeze(); err != nil {
			return err
		}
		sleep(ctx, time.Duration(50+s.dice.IntN(250))*time.Millisecond)
		return disk.Thaw()
	}, start(s.nodes))
}

// repair mounts the disks of nodes that do not run anew and starts them.
func repair(ctx context.Context, s *strike) error {
	for _, n := range s.nodes {
		if err := n.End(ctx, syscall.SIGKILL); err != nil {
			return err
		}
		if err := n.Disk().Repair(); err != nil {
			return err
		}
	}
	return start(s.nodes)(ctx)
}

// dead is within what time a process has to end whose writes fail.
const dead = 10 * time.Second

func diskDies(_ context.Context, s *strike) (end, error) {
	n := s.nodes[0]
	gone := n.Gone()
	if err := n.Disk().Fail(false); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		select {
		case <-gone:
		case <-ctx.Done():
		case <-time.After(dead):
			s.breach("%s goes on %v after its disk has died with EIO: nothing is certain after a failed write", n.Name, dead)
		}
		return repair(ctx, s)
	}, nil
}

func powerLoss(_ context.Context, s *strike) (end, error) {
	for _, n := range s.nodes {
		// The disk first: what the process does from now on was never done.
		if err := n.Disk().Fail(true); err != nil {
			return nil, err
		}
		if err := n.Signal(syscall.SIGKILL); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context) error { return repair(ctx, s) }, nil
}

// refusal is within what time a node that finds damage has to say so.
const refusal = 8 * time.Second

// bitFlip stops a node, turns a bit in its files, and starts it. Either it refuses
// to run and says why, and is replaced; or nothing that it reads was hit.
func bitFlip(ctx context.Context, s *strike) (end, error) {
	n := s.nodes[0]
	if err := n.End(ctx, syscall.SIGTERM); err != nil {
		return nil, err
	}
	if err := s.archive(n); err != nil {
		return start(s.nodes), err
	}
	where, err := flip(s, n)
	if err != nil {
		return start(s.nodes), err
	}
	return trial(ctx, s, n, where)
}

// trial starts a node with a bit turned in its files, and sees what it makes of it.
func trial(ctx context.Context, s *strike, n *world.Node, where string) (end, error) {
	mark := n.LogMark()
	if err := n.Start(); err != nil {
		return nil, err
	}
	trial, cancel := context.WithTimeout(ctx, refusal)
	defer cancel()
	err := n.Await(trial)
	if n.Running() {
		s.note("%s runs with a bit turned in %s (ready: %t)", n.Name, where, err == nil)
		return start(s.nodes), nil
	}
	said := n.LogSince(mark)
	switch {
	case strings.Contains(said, "damaged"):
		s.note("%s refuses to run with a bit turned in %s", n.Name, where)
	case strings.Contains(said, "panic:"):
		s.breach("%s panics with a bit turned in %s, instead of saying that its data is damaged", n.Name, where)
	default:
		s.breach("%s ended with a bit turned in %s without saying that its data is damaged", n.Name, where)
	}
	return func(ctx context.Context) error { return replace(ctx, s, n) }, nil
}

// flip turns one bit among the bytes that are not zero in one of the node's files.
func flip(s *strike, n *world.Node) (where string, err error) {
	var files []string
	err = filepath.WalkDir(n.Data(), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, e := d.Info(); e == nil && info.Size() > 0 {
				files = append(files, path)
			}
		}
		return err
	})
	if err != nil || len(files) == 0 {
		return "", errors.Join(err, fmt.Errorf("no files in %s", n.Data()))
	}
	path := files[s.dice.IntN(len(files))]
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var used []int // what is not zero: files have room that means nothing
	for i, b := range data {
		if b != 0 {
			used = append(used, i)
		}
	}
	if len(used) == 0 {
		return "", fmt.Errorf("%s has nothing in it", path)
	}
	at := used[s.dice.IntN(len(used))]
	bit := s.dice.IntN(8)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return "", err
	}
	_, err = f.WriteAt([]byte{data[at] ^ 1<<bit}, int64(at))
	return fmt.Sprintf("byte %d of %s", at, filepath.Base(path)), errors.Join(err, f.Close())
}
