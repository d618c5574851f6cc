package crashfs

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Options say what file system to mount.
type Options struct {
	Image Image  // what it holds, all of it certain; the zero Image is nothing
	Bytes int64  // how much it takes; 0 is no bound
	Seed  uint64 // of what a crash leaves, and which bit is turned
	// Record has it remember all operations; see History.
	Record bool
}

// Marks is the name of a file in the root of a file system that is recorded: what is
// written to it goes into the history as a Mark, and nowhere else.
const Marks = "marks"

// marks is its number, far from all others.
const marks = Ino(1) << 62

// An FS is a mounted file system. Programs of other processes use it: in the process
// that serves it, nothing may map its files.
type FS struct {
	dir    string
	server *fuse.Server
	record bool

	mu      sync.Mutex
	thawed  sync.Cond
	disk    *Disk
	open    map[Ino]int
	age     map[place]uint64 // when a page was written last, in operations
	ops     uint64
	history []Op
	dice    *rand.Rand
	frozen  bool
	dead    bool
	faults  Faults
	hits    int
	last    string // the operation that was hit last
	room    int64  // bytes, when it is not filled
}

// A place is that of a page.
type place struct {
	ino Ino
	at  int64
}

// Mount mounts a file system at dir, which is made if need be. Error: why that is not
// possible here, in one line.
func Mount(dir string, o Options) (*FS, error) {
	if o.Image.inodes == nil {
		o.Image = NewImage()
	}
	fs := &FS{dir: dir, record: o.Record, disk: NewDisk(o.Image), open: map[Ino]int{}, age: map[place]uint64{}, dice: rand.New(rand.NewPCG(o.Seed, 0x63726173686673))}
	fs.thawed.L = &fs.mu
	fs.room, fs.disk.room = o.Bytes, o.Bytes
	return fs, fs.mount()
}

// Probe says why no file system can be mounted here; nil if one can.
func Probe() error {
	dir, err := os.MkdirTemp("", "prytany-crashfs-")
	if err != nil {
		return err
	}
	fs, err := Mount(dir, Options{})
	if err == nil {
		err = fs.Unmount()
	}
	return errors.Join(err, os.Remove(dir))
}

func (fs *FS) mount() error {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return fmt.Errorf("no FUSE here: %w", err)
	}
	if err := os.MkdirAll(fs.dir, 0o700); err != nil {
		return err
	}
	// Without the capabilities that would have the kernel keep writes to itself.
	server, err := fuse.NewServer(&calls{RawFileSystem: fuse.NewDefaultRawFileSystem(), FS: fs}, fs.dir, &fuse.MountOptions{
		FsName: "crashfs", Name: "crashfs", DirectMountStrict: true, DisableXAttrs: true, DisableReadDirPlus: true, IgnoreSecurityLabels: true,
		DisabledCapabilities: fuse.CAP_WRITEBACK_CACHE | fuse.CAP_PASSTHROUGH, Logger: log.New(io.Discard, "", 0),
	})
	if err != nil {
		return fmt.Errorf("mount a FUSE file system at %s: %w", fs.dir, err)
	}
	fs.server = server
	go server.Serve()
	return server.WaitMount()
}

// Unmount unmounts it, when nobody uses it any more. All that programs saw stays, and
// nothing of it becomes certain.
func (fs *FS) Unmount() error {
	const tries, between = 100, 20 * time.Millisecond
	var err error
	for range tries { // a process that has just ended may not be gone in all respects
		if err = unix.Unmount(fs.dir, 0); err == nil || !errors.Is(err, unix.EBUSY) {
			break
		}
		time.Sleep(between)
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", fs.dir, err)
	}
	fs.server.Wait()
	return nil
}

// Remove unmounts it if it is mounted, and forgets what it holds.
func (fs *FS) Remove() error {
	_ = fs.Thaw() // is never an error
	err := fs.Unmount()
	if errors.Is(err, unix.EINVAL) {
		err = nil // it is not mounted
	}
	fs.disk = NewDisk(NewImage())
	return err
}

// History returns all operations since Mount that have succeeded, in order. On another
// disk with the same image they make the same.
func (fs *FS) History() []Op {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.history
}

// do carries out an operation, unless a fault does not let it.
func (fs *FS) do(op Op) (Ino, syscall.Errno) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if errno := fs.hinder(&op); errno != 0 {
		return 0, errno
	}
	if fs.record && op.Kind == Write && op.Ino == marks {
		op.Kind = Mark
	}
	ino, errno := fs.disk.Do(op)
	if errno == syscall.ENOSPC {
		fs.hit(&op)
	}
	if errno != 0 {
		return 0, errno
	}
	fs.ops++
	if op.Kind == Write {
		for at := op.Off / PageSize; at*PageSize < op.Off+int64(len(op.Data)); at++ {
			fs.age[place{op.Ino, at}] = fs.ops
		}
	}
	if fs.record {
		fs.history = append(fs.history, op)
	}
	return ino, 0
}

// hinder waits while the disk is frozen, and returns the error that a fault wants for
// op. The caller holds mu, which is let go meanwhile.
func (fs *FS) hinder(op *Op) syscall.Errno {
	sync := op.Kind == Sync || op.Kind == SyncDir
	if sync && fs.faults.Slow != nil {
		wait := fs.faults.Slow()
		fs.hit(op)
		fs.mu.Unlock()
		time.Sleep(wait)
		fs.mu.Lock()
	}
	for fs.frozen && !fs.dead {
		fs.thawed.Wait()
	}
	switch f := &fs.faults; {
	case fs.dead:
		return syscall.EIO
	case op.Kind == Sync && f.Sync != 0:
		// The kernel tells of it once. What it could not write stays in memory, looks
		// as if it were written, and never will be.
		errno := f.Sync
		f.Sync = 0
		fs.hit(op)
		fs.disk.drop(func(c *change) bool { return c.kind != changeNames && c.ino == op.Ino })
		return errno
	case !sync && f.Write != 0:
		fs.hit(op)
		return f.Write
	}
	return 0
}

// Faults are what programs meet from now on.
type Faults struct {
	Write syscall.Errno        // of every write and change of names or sizes; 0 is none
	Sync  syscall.Errno        // of the next sync of a file, once, and what it was to write is lost; 0 is none
	Slow  func() time.Duration // by how much later each sync begins; nil is no later
}

// Set has programs meet f, and nothing else. It takes back Fill.
func (fs *FS) Set(f Faults) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.faults, fs.hits, fs.disk.room = f, 0, fs.room
}

// Fill leaves no room: a page that a file does not have yet cannot be written.
func (fs *FS) Fill() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.hits, fs.disk.room = 0, max(1, fs.disk.now.used())
}

// Hits is how many operations have met a fault since Set, or Fill, and the last of them.
func (fs *FS) Hits() (n int, last string) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.hits, fs.last
}

// hit counts op, which a fault meets. The caller holds mu.
func (fs *FS) hit(op *Op) {
	fs.hits++
	name := op.Name
	if op.Ino != 0 {
		name = fs.disk.now.name(op.Ino)
	}
	fs.last = fmt.Sprintf("a failed %s of %s", op.Kind, name)
}

// Freeze has every operation that changes something, and every sync, wait.
func (fs *FS) Freeze() error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.frozen = true
	return nil
}

// Thaw ends Freeze.
func (fs *FS) Thaw() error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.frozen = false
	fs.thawed.Broadcast()
	return nil
}

// Fail has everything fail with EIO from now on, as on a disk that has died. What is on
// it is drawn from what a loss of power may leave, if lose is set; else it is all that
// was written. Repair ends it.
func (fs *FS) Fail(lose bool) error {
	_, err := fs.fail(lose)
	return err
}

// Crash is Fail(true), and says in words what was left of what was not certain.
func (fs *FS) Crash() string {
	what, _ := fs.fail(true)
	return what
}

func (fs *FS) fail(lose bool) (what string, err error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	left := fs.disk.now
	if lose {
		state := fs.disk.Draw(fs.dice)
		left, what = state.Image, state.What()
	}
	fs.disk.crash(left)
	fs.dead = true
	fs.thawed.Broadcast()
	return what, nil
}

// Repair mounts it anew after Fail, and ends all faults. Nobody may use it meanwhile.
func (fs *FS) Repair() error {
	if err := fs.Unmount(); err != nil {
		return err
	}
	fs.mu.Lock()
	fs.disk.crash(fs.disk.safe) // what is not certain has died with the cache
	fs.dead, fs.frozen, fs.faults, fs.disk.room = false, false, Faults{}, fs.room
	clear(fs.open)
	fs.mu.Unlock()
	return fs.mount()
}

// Flip turns a bit in a page of a file that is certain, one of the half of all pages that
// have not been written for the longest time, and says where. Programs read it so from now on.
func (fs *FS) Flip() (where string, err error) {
	fs.mu.Lock()
	all := fs.cold()
	if len(all) == 0 {
		fs.mu.Unlock()
		return "", errors.New("nothing that was written is certain")
	}
	p := all[fs.dice.IntN(len(all))]
	data := fs.disk.safe.inodes[p.ino].page(p.at).data
	var used []int // what is not zero: files have room that means nothing
	for i, b := range data {
		if b != 0 {
			used = append(used, i)
		}
	}
	at := used[fs.dice.IntN(len(used))]
	data[at] ^= 1 << fs.dice.IntN(8)
	is := newPage(&data)
	fs.disk.safe.inodes[p.ino].put(p.at, is)
	fs.disk.now.inodes[p.ino].put(p.at, is)
	where = fmt.Sprintf("byte %d of %s", p.at*PageSize+int64(at), fs.disk.now.name(p.ino))
	fs.mu.Unlock()
	// Not under the lock: the kernel may wait for an answer meanwhile.
	if status := fs.server.InodeNotify(uint64(p.ino), p.at*PageSize, PageSize); !status.Ok() && status != fuse.ENOENT {
		return where, fmt.Errorf("%s: %v", where, status)
	}
	return where, nil
}

// cold lists the pages that Flip may hit: the half that was written first. The caller
// holds mu.
func (fs *FS) cold() (all []place) {
	_ = fs.disk.safe.walk(func(_ string, ino Ino, n *inode) error {
		for at, p := range n.pages {
			is := fs.disk.now.inodes[ino]
			if p != nothing && is != nil && is.pages[at] == p && at*PageSize < n.size {
				all = append(all, place{ino, at})
			}
		}
		return nil
	})
	slices.SortFunc(all, func(a, b place) int {
		return cmp.Or(cmp.Compare(fs.age[a], fs.age[b]), cmp.Compare(a.ino, b.ino), cmp.Compare(a.at, b.at))
	})
	return all[:(len(all)+1)/2]
}

// allocate gives a file room.
func (fs *FS) allocate(ino Ino, from, size int64) syscall.Errno {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if errno := fs.hinder(&Op{Kind: Resize, Ino: ino}); errno != 0 {
		return errno
	}
	return fs.disk.allocate(ino, from, from+size)
}
