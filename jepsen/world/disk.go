//go:build linux

package world

import (
	"slices"

	"github.com/prytany/prytany/internal/crashfs"
	"github.com/prytany/prytany/internal/fault"
)

// A Disk is a file system of a node's own that can be broken: ext4 in a file, or one of
// package crashfs.
type Disk interface {
	// Freeze has every write wait until Thaw.
	Freeze() error
	Thaw() error
	// Fail has everything fail with EIO until Repair, which is for when no process uses
	// it any more. lose says that what was not synced is lost, as in a loss of power.
	Fail(lose bool) error
	Repair() error
	// Remove takes it away.
	Remove() error
}

// makeDisk makes the node's file system.
func (n *Node) makeDisk() (Disk, error) {
	i := slices.Index(n.world.Nodes, n)
	if n.world.FUSE && (!n.world.Disks || i%2 == 1) {
		return crashfs.Mount(n.dir, crashfs.Options{Bytes: diskSize, Seed: n.world.Seed<<8 | uint64(i)})
	}
	return fault.MakeFileSystem(n.dir, diskSize)
}

// FUSE is the node's file system, if it is one of package crashfs.
func (n *Node) FUSE() *crashfs.FS {
	fs, _ := n.fs.(*crashfs.FS)
	return fs
}

// ExitCode is that of the last process, -1 if it was killed or has not ended.
func (n *Node) ExitCode() int {
	if n.cmd == nil || n.Running() {
		return -1
	}
	return n.cmd.ProcessState.ExitCode()
}
