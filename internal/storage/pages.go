package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// bbolt trusts its pages: a damaged one can end the process from a goroutine
// of bbolt's own, beyond any recover, and a damaged meta page makes it return
// to the transaction before the last without a word. So every file is read
// here first, page by page, and bbolt only gets to see trees that hold
// together.

// The layout of bbolt's pages, in the byte order of the machine.
const (
	pageHead    = 16 // id uint64, flags uint16, count uint16, overflow uint32
	elementSize = 16
	metaSize    = 64
	metaMagic   = 0xED0CDAED
	metaVersion = 2

	flagBranch   = 1
	flagLeaf     = 2
	bucketFlag   = 1  // of a leaf's element
	bucketHead   = 16 // root page uint64, sequence uint64
	minPageSize  = 512
	maxPageSize  = 64 << 10
	maxTreeDepth = 64
)

// verify reads the bbolt file at path, reports damage to its structure, and
// returns the last transaction. It holds a shared lock meanwhile, so that it
// never reads what another process is about to write.
func verify(path string, opts *bbolt.Options) (txid uint64, err error) {
	st, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	if least, err := leastSize(path); err != nil {
		return 0, err
	} else if st.Size() < least {
		return 0, damaged(path, fmt.Sprintf("it has only %d bytes", st.Size()))
	}
	locked := *opts
	locked.ReadOnly = true
	db, err := bbolt.Open(path, 0o600, &locked)
	if err != nil {
		return 0, err
	}
	f, err := os.Open(path)
	if err == nil {
		txid, err = verifyFile(path, f, st.Size())
		err = errors.Join(err, f.Close())
	}
	return txid, errors.Join(err, db.Close())
}

// txidOf returns the last transaction of the bbolt file at path.
func txidOf(path string) (uint64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	m, err := readMeta(path, f)
	return m.txn, errors.Join(err, f.Close())
}

// leastSize returns the size that the file at path must have to hold both its
// meta pages. The page size never changes, so it can be read without a lock.
func leastSize(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	size := make([]byte, 4)
	_, err = f.ReadAt(size, pageHead+8)
	if errors.Is(err, io.EOF) {
		return 2 * minPageSize, f.Close()
	}
	// A page size beyond all sense is for the check of the meta pages.
	n := min(max(int64(binary.NativeEndian.Uint32(size)), minPageSize), maxPageSize)
	return 2 * n, errors.Join(err, f.Close())
}

// A meta is one of the two meta pages.
type meta struct {
	pageSize       uint64
	root, end, txn uint64 // first page of the tree, first page beyond all, transaction
}

// A walker walks the tree of a bbolt file.
type walker struct {
	path string
	f    io.ReaderAt
	meta
	seen []uint64 // a bit for each page that is reached
}

func verifyFile(path string, f io.ReaderAt, size int64) (txid uint64, err error) {
	m, err := readMeta(path, f)
	if err != nil {
		return 0, err
	}
	w := walker{path: path, f: f, meta: m}
	if m.end > uint64(size)/m.pageSize {
		return 0, w.bad("it is cut short: %d pages of %d", uint64(size)/m.pageSize, m.end)
	}
	w.seen = make([]uint64, m.end/64+1)
	return m.txn, w.walk(m.root, nil, nil, 0)
}

// readMeta returns the newer meta page.
func readMeta(path string, f io.ReaderAt) (meta, error) {
	head := make([]byte, pageHead+metaSize)
	if _, err := f.ReadAt(head, 0); err != nil {
		return meta{}, err
	}
	first, err := openMeta(path, head)
	if err != nil {
		return meta{}, err
	}
	if _, err := f.ReadAt(head, int64(first.pageSize)); err != nil {
		return meta{}, damaged(path, err)
	}
	second, err := openMeta(path, head)
	if err != nil {
		return meta{}, err
	}
	newest, oldest := first, second
	if second.txn > first.txn {
		newest, oldest = second, first
	}
	if oldest.txn+1 != newest.txn || first.pageSize != second.pageSize {
		return meta{}, damaged(path, "its meta pages do not follow one another")
	}
	return newest, nil
}

// openMeta reads a meta page. bbolt would fall back to the other one, and so
// forget the last transaction; here a damaged one is damage. A meta page lies
// within one sector, which disks write whole.
func openMeta(path string, page []byte) (m meta, err error) {
	b := page[pageHead:]
	sum := fnv.New64a()
	_, _ = sum.Write(b[:metaSize-8])
	le := binary.NativeEndian
	m = meta{
		pageSize: uint64(le.Uint32(b[8:])), root: le.Uint64(b[16:]), end: le.Uint64(b[40:]), txn: le.Uint64(b[48:]),
	}
	switch {
	case le.Uint32(b) != metaMagic || le.Uint64(b[metaSize-8:]) != sum.Sum64():
		return m, damaged(path, "the checksum of a meta page is wrong")
	case le.Uint32(b[4:]) != metaVersion:
		return m, berrors.ErrVersionMismatch
	case m.pageSize < minPageSize || m.pageSize > maxPageSize:
		return m, damaged(path, fmt.Sprintf("page size %d", m.pageSize))
	}
	return m, nil
}

func (w *walker) bad(format string, args ...any) error {
	return damaged(w.path, fmt.Sprintf(format, args...))
}

// walk checks the tree below page id, whose keys must be at least from and
// below to; nil is no bound.
func (w *walker) walk(id uint64, from, to []byte, depth int) error {
	if depth > maxTreeDepth {
		return w.bad("page %d: the tree is too deep", id)
	}
	page, err := w.page(id)
	if err != nil {
		return err
	}
	p := elements{page: page, from: from, to: to}
	if err := p.check(); err != nil {
		return w.bad("page %d: %v", id, err)
	}
	for i := range p.count() {
		if p.branch() {
			next := to
			if i+1 < p.count() {
				next = p.key(i + 1)
			}
			if err := w.walk(p.child(i), p.key(i), next, depth+1); err != nil {
				return err
			}
		} else if bucket := p.bucket(i); bucket != nil {
			if err := w.bucket(bucket, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// bucket checks a bucket: a tree of its own, or one page within its value.
func (w *walker) bucket(value []byte, depth int) error {
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return w.walk(root, nil, nil, depth)
	}
	p := elements{page: value[bucketHead:]}
	if len(p.page) < pageHead || p.branch() {
		return w.bad("a bucket's page makes no sense")
	}
	if err := p.check(); err != nil {
		return w.bad("a bucket's page: %v", err)
	}
	for i := range p.count() {
		if p.bucket(i) != nil {
			return w.bad("a bucket's page holds a bucket")
		}
	}
	return nil
}

// page reads page id with all that overflows from it, which nothing else may
// have reached.
func (w *walker) page(id uint64) ([]byte, error) {
	if id < 2 || id >= w.end {
		return nil, w.bad("page %d is beyond the file's pages", id)
	}
	head := make([]byte, pageHead)
	if _, err := w.f.ReadAt(head, int64(id*w.pageSize)); err != nil {
		return nil, err
	}
	run := uint64(binary.NativeEndian.Uint32(head[12:])) + 1
	if own := binary.NativeEndian.Uint64(head); own != id || run > w.end-id {
		return nil, w.bad("page %d says it is %d, %d pages long", id, own, run)
	}
	for i := id; i < id+run; i++ {
		if w.seen[i/64]&(1<<(i%64)) != 0 {
			return nil, w.bad("page %d is used twice", i)
		}
		w.seen[i/64] |= 1 << (i % 64)
	}
	page := make([]byte, run*w.pageSize)
	_, err := w.f.ReadAt(page, int64(id*w.pageSize))
	return page, err
}

// elements is a branch or leaf page, whose keys must be at least from and
// below to. The methods after check may only be called if it returns nil.
type elements struct {
	page     []byte
	from, to []byte
}

func (p elements) flags() uint16 { return binary.NativeEndian.Uint16(p.page[8:]) }
func (p elements) count() int    { return int(binary.NativeEndian.Uint16(p.page[10:])) }
func (p elements) branch() bool  { return p.flags() == flagBranch }

// element returns the i-th element and what follows it: positions count from
// its start.
func (p elements) element(i int) []byte { return p.page[pageHead+i*elementSize:] }

func (p elements) child(i int) uint64 { return binary.NativeEndian.Uint64(p.element(i)[8:]) }

// span returns where the key of element i begins and how long key and value
// are. A branch's element is position, length of key, page; a leaf's is flags,
// position, length of key, length of value.
func (p elements) span(i int) (at, key, value uint64) {
	e, le := p.element(i), binary.NativeEndian
	if p.branch() {
		return uint64(le.Uint32(e)), uint64(le.Uint32(e[4:])), 0
	}
	return uint64(le.Uint32(e[4:])), uint64(le.Uint32(e[8:])), uint64(le.Uint32(e[12:]))
}

func (p elements) key(i int) []byte {
	at, n, _ := p.span(i)
	return p.element(i)[at : at+n]
}

// bucket returns the value of element i if it is a bucket, else nil.
func (p elements) bucket(i int) []byte {
	if p.branch() || binary.NativeEndian.Uint32(p.element(i)) != bucketFlag {
		return nil
	}
	at, n, size := p.span(i)
	return p.element(i)[at+n : at+n+size]
}

func (p elements) check() error {
	if p.flags() != flagBranch && p.flags() != flagLeaf {
		return fmt.Errorf("flags %#x", p.flags())
	}
	if p.branch() && p.count() == 0 || pageHead+p.count()*elementSize > len(p.page) {
		return fmt.Errorf("%d elements", p.count())
	}
	least := p.from
	for i := range p.count() {
		at, n, size := p.span(i)
		table := uint64((p.count() - i) * elementSize)
		if n == 0 || at < table || at+n+size > uint64(len(p.element(i))) {
			return fmt.Errorf("element %d points beyond the page", i)
		}
		if !p.branch() {
			if flags := binary.NativeEndian.Uint32(p.element(i)); flags > bucketFlag || flags == bucketFlag && size < bucketHead {
				return fmt.Errorf("element %d has flags %#x and %d bytes", i, flags, size)
			}
		}
		k := p.key(i)
		if c := bytes.Compare(k, least); c < 0 || c == 0 && i > 0 || p.to != nil && bytes.Compare(k, p.to) >= 0 {
			return fmt.Errorf("element %d is out of order", i)
		}
		least = k
	}
	return nil
}
