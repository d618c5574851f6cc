package crashfs

import (
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
)

const (
	// PageSize is what the cache writes at once, in bytes.
	PageSize = 4096
	// SectorSize is what a disk writes whole or not at all, in bytes.
	SectorSize = 512

	sectors = PageSize / SectorSize
)

// An Ino is the number of a file or a directory. None is used twice.
type Ino uint64

// Root is the directory that is always there.
const Root Ino = 1

// A page is never changed once it is made.
type page struct {
	data [PageSize]byte
	sum  uint64
}

// nothing is a page of zeros, which is also what a file has where it has no page.
var nothing = newPage(new([PageSize]byte))

// seed is of the sums of pages and states: they are compared within one process only.
var seed = maphash.MakeSeed()

func newPage(data *[PageSize]byte) *page {
	return &page{data: *data, sum: maphash.Bytes(seed, data[:])}
}

// An inode is a file or a directory.
type inode struct {
	dir     bool
	size    int64
	pages   map[int64]*page
	entries map[string]Ino // of a directory
}

func (n *inode) page(at int64) *page {
	if p := n.pages[at]; p != nil {
		return p
	}
	return nothing
}

// put has p at a place. Zeros take room like anything else.
func (n *inode) put(at int64, p *page) {
	if p.sum == nothing.sum && p.data == nothing.data {
		p = nothing
	}
	if n.pages == nil {
		n.pages = map[int64]*page{}
	}
	n.pages[at] = p
}

// cut drops what lies beyond size.
func (n *inode) cut(size int64) {
	for at, p := range n.pages {
		switch from := at * PageSize; {
		case from >= size:
			delete(n.pages, at)
		case from+PageSize > size:
			data := p.data
			clear(data[size-from:])
			n.put(at, newPage(&data))
		}
	}
}

func (n *inode) clone() *inode {
	c := *n
	c.pages, c.entries = maps.Clone(n.pages), maps.Clone(n.entries)
	return &c
}

// An Image is all of a file system at one moment.
type Image struct{ inodes map[Ino]*inode }

// NewImage returns an empty one.
func NewImage() Image {
	return Image{map[Ino]*inode{Root: {dir: true, entries: map[string]Ino{}}}}
}

// Clone returns a copy.
func (m Image) Clone() Image {
	c := Image{make(map[Ino]*inode, len(m.inodes))}
	for ino, n := range m.inodes {
		c.inodes[ino] = n.clone()
	}
	return c
}

// walk calls f for all that is reachable, in an order that does not change. It ends with
// the first error.
func (m Image) walk(f func(name string, ino Ino, n *inode) error) error {
	return m.walkFrom("", Root, f)
}

func (m Image) walkFrom(name string, ino Ino, f func(name string, ino Ino, n *inode) error) error {
	n := m.inodes[ino]
	if err := f(name, ino, n); err != nil {
		return err
	}
	for _, e := range slices.Sorted(maps.Keys(n.entries)) {
		if err := m.walkFrom(path.Join(name, e), n.entries[e], f); err != nil {
			return err
		}
	}
	return nil
}

// Sum is a fingerprint of all names and contents. It is good within this process.
func (m Image) Sum() uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	_ = m.walk(func(name string, _ Ino, n *inode) error {
		_, _ = h.WriteString(name)
		maphash.WriteComparable(&h, n.dir)
		maphash.WriteComparable(&h, n.size)
		sum := uint64(0)
		for at, p := range n.pages {
			if at*PageSize < n.size && p != nothing {
				sum += maphash.Comparable(seed, [2]uint64{uint64(at), p.sum})
			}
		}
		maphash.WriteComparable(&h, sum)
		return nil
	})
	return h.Sum64()
}

// Write makes the files of the image, or of its directory from, in dir, which must not
// have any of their names. "" is all of it. A directory that the image does not have is
// none.
func (m Image) Write(from, dir string) error {
	ino := Root
	if from != "" {
		var ok bool
		if ino, ok = m.inodes[Root].entries[from]; !ok {
			return nil
		}
	}
	return m.walkFrom("", ino, func(name string, _ Ino, n *inode) error {
		to := filepath.Join(dir, name)
		if n.dir {
			if err := os.Mkdir(to, 0o700); err != nil && (name != "" || !errors.Is(err, os.ErrExist)) {
				return err
			}
			return nil
		}
		return n.write(to)
	})
}

func (n *inode) write(name string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = f.Truncate(n.size)
	for at, p := range n.pages {
		if from := at * PageSize; from < n.size && p != nothing && err == nil {
			_, err = f.WriteAt(p.data[:min(PageSize, n.size-from)], from)
		}
	}
	return errors.Join(err, f.Close())
}

// name returns by which path ino is found, or its number if by none.
func (m Image) name(ino Ino) (found string) {
	found = fmt.Sprintf("file %d, which has no name", ino)
	if ino == Root {
		return "."
	}
	_ = m.walk(func(name string, is Ino, _ *inode) error {
		if is == ino {
			found = name
		}
		return nil
	})
	return found
}

// used is how many bytes the pages of all that has a name take.
func (m Image) used() (bytes int64) {
	_ = m.walk(func(_ string, _ Ino, n *inode) error {
		bytes += int64(len(n.pages)) * PageSize
		return nil
	})
	return bytes
}
