package crashfs

import (
	"cmp"
	"maps"
	"slices"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// lasting is for how long the kernel may believe what it was told: nothing changes but
// by the kernel itself.
const lasting = uint64(time.Hour / time.Second)

// calls answers the kernel.
type calls struct {
	fuse.RawFileSystem
	*FS
}

func (c *calls) String() string { return "crashfs" }

// attr fills out by ino, and reports whether there is such a file.
func (c *calls) attr(ino Ino, out *fuse.Attr) fuse.Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.record && ino == marks {
		*out = fuse.Attr{Ino: uint64(ino), Mode: syscall.S_IFREG | 0o600, Nlink: 1, Blksize: PageSize}
		return fuse.OK
	}
	n := c.disk.now.inodes[ino]
	if n == nil {
		return fuse.Status(syscall.ESTALE)
	}
	*out = fuse.Attr{Ino: uint64(ino), Size: uint64(n.size), Blocks: uint64(len(n.pages)) * sectors, Mode: syscall.S_IFREG | 0o600, Nlink: 1, Blksize: PageSize}
	if n.dir {
		out.Mode, out.Nlink = syscall.S_IFDIR|0o700, 2
	}
	out.Uid, out.Gid = uint32(syscall.Getuid()), uint32(syscall.Getgid())
	return fuse.OK
}

func (c *calls) entry(ino Ino, out *fuse.EntryOut) fuse.Status {
	out.NodeId, out.EntryValid, out.AttrValid = uint64(ino), lasting, lasting
	return c.attr(ino, &out.Attr)
}

func (c *calls) Lookup(_ <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	c.mu.Lock()
	var ino Ino
	if c.record && Ino(h.NodeId) == Root && name == Marks {
		ino = marks
	} else if n, errno := c.disk.directory(Ino(h.NodeId)); errno != 0 {
		c.mu.Unlock()
		return fuse.Status(errno)
	} else {
		ino = n.entries[name]
	}
	dead := c.dead
	c.mu.Unlock()
	switch {
	case dead:
		return fuse.EIO
	case ino == 0:
		return fuse.ENOENT
	}
	return c.entry(ino, out)
}

func (c *calls) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	out.AttrValid = lasting
	return c.attr(Ino(in.NodeId), &out.Attr)
}

func (c *calls) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	if size, ok := in.GetSize(); ok && (!c.record || Ino(in.NodeId) != marks) {
		if _, errno := c.do(Op{Kind: Resize, Ino: Ino(in.NodeId), Off: int64(size)}); errno != 0 {
			return fuse.Status(errno)
		}
	}
	out.AttrValid = lasting
	return c.attr(Ino(in.NodeId), &out.Attr)
}

func (c *calls) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	ino, errno := c.do(Op{Kind: Mkdir, Dir: Ino(in.NodeId), Name: name})
	if errno != 0 {
		return fuse.Status(errno)
	}
	return c.entry(ino, out)
}

func (c *calls) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	ino, errno := c.do(Op{Kind: Create, Dir: Ino(in.NodeId), Name: name})
	if errno != 0 {
		return fuse.Status(errno)
	}
	c.opened(ino)
	return c.entry(ino, &out.EntryOut)
}

func (c *calls) Unlink(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	_, errno := c.do(Op{Kind: Unlink, Dir: Ino(h.NodeId), Name: name})
	return fuse.Status(errno)
}

func (c *calls) Rmdir(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	_, errno := c.do(Op{Kind: Rmdir, Dir: Ino(h.NodeId), Name: name})
	return fuse.Status(errno)
}

func (c *calls) Rename(_ <-chan struct{}, in *fuse.RenameIn, from, to string) fuse.Status {
	if in.Flags != 0 {
		return fuse.EINVAL
	}
	_, errno := c.do(Op{Kind: Rename, Dir: Ino(in.NodeId), Name: from, To: Ino(in.Newdir), NewName: to})
	return fuse.Status(errno)
}

func (c *calls) opened(ino Ino) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[ino]++
}

func (c *calls) Open(_ <-chan struct{}, in *fuse.OpenIn, _ *fuse.OpenOut) fuse.Status {
	if in.Flags&syscall.O_TRUNC != 0 && (!c.record || Ino(in.NodeId) != marks) {
		if _, errno := c.do(Op{Kind: Resize, Ino: Ino(in.NodeId)}); errno != 0 {
			return fuse.Status(errno)
		}
	}
	c.opened(Ino(in.NodeId))
	return fuse.OK
}

func (c *calls) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ino := Ino(in.NodeId)
	if c.open[ino]--; c.open[ino] <= 0 {
		delete(c.open, ino)
		c.disk.collect(func(ino Ino) bool { return c.open[ino] > 0 })
	}
}

func (c *calls) Read(_ <-chan struct{}, in *fuse.ReadIn, b []byte) (fuse.ReadResult, fuse.Status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return nil, fuse.EIO
	}
	n, errno := c.disk.read(Ino(in.NodeId), int64(in.Offset), b)
	return fuse.ReadResultData(b[:n]), fuse.Status(errno)
}

func (c *calls) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	// The kernel's buffer is used again.
	_, errno := c.do(Op{Kind: Write, Ino: Ino(in.NodeId), Off: int64(in.Offset), Data: slices.Clone(data)})
	if errno != 0 {
		return 0, fuse.Status(errno)
	}
	return uint32(len(data)), fuse.OK
}

func (c *calls) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	_, errno := c.do(Op{Kind: Sync, Ino: Ino(in.NodeId)})
	return fuse.Status(errno)
}

func (c *calls) FsyncDir(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	_, errno := c.do(Op{Kind: SyncDir, Ino: Ino(in.NodeId)})
	return fuse.Status(errno)
}

func (c *calls) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.OK }

func (c *calls) Access(<-chan struct{}, *fuse.AccessIn) fuse.Status { return fuse.OK }

func (c *calls) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	if in.Mode != 0 {
		return fuse.Status(syscall.EOPNOTSUPP)
	}
	return fuse.Status(c.allocate(Ino(in.NodeId), int64(in.Offset), int64(in.Length)))
}

func (c *calls) OpenDir(<-chan struct{}, *fuse.OpenIn, *fuse.OpenOut) fuse.Status { return fuse.OK }

func (c *calls) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, errno := c.disk.directory(Ino(in.NodeId))
	if c.dead || errno != 0 {
		return fuse.Status(cmp.Or(errno, syscall.EIO))
	}
	names := slices.Sorted(maps.Keys(n.entries))
	for i := int(in.Offset); i < len(names); i++ {
		ino := n.entries[names[i]]
		mode := uint32(syscall.S_IFREG)
		if c.disk.now.inodes[ino].dir {
			mode = syscall.S_IFDIR
		}
		if !out.AddDirEntry(fuse.DirEntry{Name: names[i], Ino: uint64(ino), Mode: mode, Off: uint64(i + 1)}) {
			break
		}
	}
	return fuse.OK
}

func (c *calls) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	out.Bsize, out.Frsize, out.NameLen = PageSize, PageSize, unix.NAME_MAX
	room := cmp.Or(c.disk.room, 1<<40)
	out.Blocks = uint64(room / PageSize)
	out.Bfree = uint64(max(0, room-c.disk.now.used()) / PageSize)
	out.Bavail = out.Bfree
	return fuse.OK
}
