package crashfs

import (
	"slices"
	"syscall"
)

// The kinds of operations.
type OpKind string

const (
	Create  OpKind = "create"  // Name in Dir
	Mkdir   OpKind = "mkdir"   // Name in Dir
	Unlink  OpKind = "unlink"  // Name in Dir
	Rmdir   OpKind = "rmdir"   // Name in Dir
	Rename  OpKind = "rename"  // Name in Dir to NewName in To
	Write   OpKind = "write"   // Data at Off of Ino
	Resize  OpKind = "resize"  // Ino to Off bytes
	Sync    OpKind = "sync"    // Ino, a file
	SyncDir OpKind = "syncdir" // Ino, a directory
	Mark    OpKind = "mark"    // nothing; Data says what a program wants to be known
)

// An Op is one operation on a Disk.
type Op struct {
	Kind          OpKind
	Dir, To       Ino
	Name, NewName string
	Ino           Ino
	Off           int64
	Data          []byte
}

// A Disk is a file system of which it is known what is certain. It is used by one
// goroutine at a time.
type Disk struct {
	now     Image // what programs see
	safe    Image // what is on the disk for certain
	pending []change
	next    Ino
	room    int64 // bytes that may be in use; 0 is no bound
}

// NewDisk returns a disk with what m holds, all of it certain.
func NewDisk(m Image) *Disk {
	d := &Disk{now: m.Clone(), safe: m.Clone(), next: Root + 1}
	for ino := range m.inodes {
		d.next = max(d.next, ino+1)
	}
	return d
}

// Pending is how many changes are not certain.
func (d *Disk) Pending() int { return len(d.pending) }

// Now is what programs see.
func (d *Disk) Now() Image { return d.now }

// Name returns by which path programs find a file or a directory.
func (d *Disk) Name(ino Ino) string { return d.now.name(ino) }

// Do carries an operation out. It returns the number of a file or directory that was
// made. Programs get the error.
func (d *Disk) Do(op Op) (Ino, syscall.Errno) {
	switch op.Kind {
	case Create, Mkdir:
		return d.create(op)
	case Unlink, Rmdir:
		return 0, d.remove(op)
	case Rename:
		return 0, d.rename(op)
	case Write:
		return 0, d.write(op)
	case Resize:
		return 0, d.resize(op)
	case Sync, SyncDir:
		if d.now.inodes[op.Ino] == nil {
			return 0, syscall.ESTALE
		}
		d.sync(func(c *change) bool {
			return slices.Contains(c.touches(), op.Ino) && (c.kind == changeNames) == (op.Kind == SyncDir)
		})
	}
	return 0, 0
}

// change makes c visible, and remembers that it is not certain.
func (d *Disk) change(c change) {
	c.apply(d.now)
	d.pending = append(d.pending, c)
}

// sync makes the changes certain that match, and those that they build on.
func (d *Disk) sync(match func(*change) bool) {
	take := make([]bool, len(d.pending))
	for i := len(d.pending) - 1; i >= 0; i-- {
		if !take[i] && !match(&d.pending[i]) {
			continue
		}
		take[i] = true
		for j := range i {
			take[j] = take[j] || d.pending[i].on(&d.pending[j])
		}
	}
	var rest []change
	for i := range d.pending {
		if take[i] {
			d.pending[i].apply(d.safe)
		} else {
			rest = append(rest, d.pending[i])
		}
	}
	d.pending = rest
}

// drop forgets the changes that match, and those that build on them: they are never
// going to be certain, though programs see them.
func (d *Disk) drop(match func(*change) bool) {
	gone := make([]bool, len(d.pending))
	var rest []change
	for i := range d.pending {
		gone[i] = match(&d.pending[i])
		for j := range i {
			gone[i] = gone[i] || gone[j] && d.pending[i].on(&d.pending[j])
		}
		if !gone[i] {
			rest = append(rest, d.pending[i])
		}
	}
	d.pending = rest
}

// directory returns dir, if it is one.
func (d *Disk) directory(dir Ino) (*inode, syscall.Errno) {
	n := d.now.inodes[dir]
	switch {
	case n == nil:
		return nil, syscall.ESTALE
	case !n.dir:
		return nil, syscall.ENOTDIR
	}
	return n, 0
}

func (d *Disk) create(op Op) (Ino, syscall.Errno) {
	parent, errno := d.directory(op.Dir)
	if errno != 0 {
		return 0, errno
	}
	if parent.entries[op.Name] != 0 {
		return 0, syscall.EEXIST
	}
	n := inode{dir: op.Kind == Mkdir}
	if n.dir {
		n.entries = map[string]Ino{}
	}
	ino := d.next
	d.next++
	// It is there, but nobody finds it unless its name is there.
	d.now.inodes[ino], d.safe.inodes[ino] = n.clone(), n.clone()
	if n.dir {
		d.now.inodes[ino].entries, d.safe.inodes[ino].entries = map[string]Ino{}, map[string]Ino{}
	}
	d.change(change{kind: changeNames, names: []named{{op.Dir, op.Name, ino}}})
	return ino, 0
}

func (d *Disk) remove(op Op) syscall.Errno {
	parent, errno := d.directory(op.Dir)
	if errno != 0 {
		return errno
	}
	n := d.now.inodes[parent.entries[op.Name]]
	switch {
	case n == nil:
		return syscall.ENOENT
	case n.dir && op.Kind == Unlink:
		return syscall.EISDIR
	case !n.dir && op.Kind == Rmdir:
		return syscall.ENOTDIR
	case len(n.entries) > 0:
		return syscall.ENOTEMPTY
	}
	d.change(change{kind: changeNames, names: []named{{op.Dir, op.Name, 0}}})
	return 0
}

func (d *Disk) rename(op Op) syscall.Errno {
	from, errno := d.directory(op.Dir)
	if errno != 0 {
		return errno
	}
	to, errno := d.directory(op.To)
	if errno != 0 {
		return errno
	}
	ino, old := from.entries[op.Name], d.now.inodes[to.entries[op.NewName]]
	switch {
	case ino == 0:
		return syscall.ENOENT
	case old != nil && old.dir != d.now.inodes[ino].dir:
		return syscall.EEXIST
	case old != nil && len(old.entries) > 0:
		return syscall.ENOTEMPTY
	case op.Dir == op.To && op.Name == op.NewName:
		return 0
	}
	d.change(change{kind: changeNames, names: []named{{op.Dir, op.Name, 0}, {op.To, op.NewName, ino}}})
	return 0
}

// file returns ino, if it is a file.
func (d *Disk) file(ino Ino) (*inode, syscall.Errno) {
	n := d.now.inodes[ino]
	switch {
	case n == nil:
		return nil, syscall.ESTALE
	case n.dir:
		return nil, syscall.EISDIR
	}
	return n, 0
}

func (d *Disk) write(op Op) syscall.Errno {
	n, errno := d.file(op.Ino)
	if errno != 0 {
		return errno
	}
	end := op.Off + int64(len(op.Data))
	if d.room > 0 && d.fresh(n, op.Off, end) > d.room-d.now.used() {
		return syscall.ENOSPC
	}
	if end > n.size {
		d.change(change{kind: changeSize, ino: op.Ino, at: end})
	}
	for at, data := op.Off, op.Data; len(data) > 0; {
		number, from := at/PageSize, at%PageSize
		old := n.page(number)
		is := old.data
		some := copy(is[from:], data)
		at, data = at+int64(some), data[some:]
		if is == old.data { // there is nothing to tell the two apart by, but the room
			n.put(number, old)
			continue
		}
		d.change(change{kind: changePage, ino: op.Ino, at: number, page: newPage(&is)})
	}
	return 0
}

// fresh is how many bytes of pages n does not have between two places.
func (d *Disk) fresh(n *inode, from, to int64) (bytes int64) {
	for at := from / PageSize; at*PageSize < to; at++ {
		if n.pages[at] == nil {
			bytes += PageSize
		}
	}
	return bytes
}

// allocate gives ino the room from one place to another, and the size.
func (d *Disk) allocate(ino Ino, from, to int64) syscall.Errno {
	n, errno := d.file(ino)
	if errno != 0 {
		return errno
	}
	if d.room > 0 && d.fresh(n, from, to) > d.room-d.now.used() {
		return syscall.ENOSPC
	}
	for at := from / PageSize; at*PageSize < to; at++ {
		n.put(at, n.page(at))
	}
	if to > n.size {
		d.change(change{kind: changeSize, ino: ino, at: to})
	}
	return 0
}

func (d *Disk) resize(op Op) syscall.Errno {
	n, errno := d.file(op.Ino)
	switch {
	case errno != 0:
		return errno
	case op.Off < n.size:
		d.change(change{kind: changeCut, ino: op.Ino, at: op.Off})
	case op.Off > n.size:
		d.change(change{kind: changeSize, ino: op.Ino, at: op.Off})
	}
	return 0
}

// read returns how many bytes of b it has filled from off on.
func (d *Disk) read(ino Ino, off int64, b []byte) (int, syscall.Errno) {
	n, errno := d.file(ino)
	if errno != 0 {
		return 0, errno
	}
	b = b[:max(0, min(int64(len(b)), n.size-off))]
	for done := 0; done < len(b); {
		at := off + int64(done)
		done += copy(b[done:], n.page(at / PageSize).data[at%PageSize:])
	}
	return len(b), 0
}

// collect forgets what has no name any more, neither now nor after any crash, but for
// what is open.
func (d *Disk) collect(open func(Ino) bool) {
	used := map[Ino]bool{}
	reach := func(_ string, ino Ino, _ *inode) error { used[ino] = true; return nil }
	_, _ = d.now.walk(reach), d.safe.walk(reach)
	for i := range d.pending {
		for _, n := range d.pending[i].names {
			used[n.is], used[n.dir] = true, true
		}
	}
	gone := func(ino Ino) bool { return !used[ino] && !open(ino) }
	for ino := range d.now.inodes {
		if gone(ino) {
			delete(d.now.inodes, ino)
			delete(d.safe.inodes, ino)
		}
	}
	d.pending = slices.DeleteFunc(d.pending, func(c change) bool { return c.kind != changeNames && d.now.inodes[c.ino] == nil })
}

// crash has the disk hold what a loss of power has left.
func (d *Disk) crash(left Image) {
	d.now, d.safe, d.pending = left.Clone(), left.Clone(), nil
}
