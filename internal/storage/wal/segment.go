package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

const (
	suffix  = ".seg"
	partial = ".new" // of files that are being made

	magic   = "prytany log\n"
	version = 1

	// fillStep is zero-filled and synced at once. The making of a segment is ahead of
	// the writer by fillAhead, and goes on twice as fast as the segment before fills:
	// not faster, for each step makes the writes meanwhile wait.
	//
	// What is written at once, fillWrite, may share one folio in memory from then on,
	// and a kernel that writes a page of it again looks at every block of that folio.
	fillStep  = 256 << 10
	fillWrite = 16 << 10
	fillAhead = 1 << 20
	fillPace  = 2
)

// ErrVersion says that a log was written by a newer version.
var ErrVersion = errors.New("the log was written by a newer version")

// errClosed ends the making of a segment that nobody needs any more.
var errClosed = errors.New("the log is closed")

// A segment is one file of the log: a page that says what it is, and pages for
// frames. Its size never changes.
type segment struct {
	number uint64
	file   *os.File
	pages  int
}

func (s *segment) bytes() int64 { return int64(s.pages) * pageSize }

func segmentPath(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%016x%s", number, suffix))
}

// segmentsIn returns the numbers of the segments in dir, in order, and removes what
// was never finished.
func segmentsIn(dir string) (out []uint64, err error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name(), partial) {
			if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
				return nil, err
			}
			continue
		}
		digits, ok := strings.CutSuffix(f.Name(), suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 16, 64)
		if err != nil || n == 0 || segmentPath(dir, n) != filepath.Join(dir, f.Name()) {
			return nil, damagedf("%s is no name of a segment", f.Name())
		}
		out = append(out, n)
	}
	slices.Sort(out)
	return out, nil
}

// firstPage returns the page at the start of a segment.
func firstPage(id ID, number uint64, pages int) []byte {
	b := make([]byte, pageSize)
	n := copy(b, magic)
	b[n] = version
	copy(b[16:], id[:])
	binary.LittleEndian.PutUint64(b[32:], number)
	binary.LittleEndian.PutUint64(b[40:], uint64(pages))
	binary.LittleEndian.PutUint32(b[pageSize-4:], crc32.Checksum(b[:pageSize-4], castagnoli))
	return b
}

// openFirst reads what firstPage has made.
func openFirst(b []byte, number uint64) (id ID, pages uint64, err error) {
	if crc32.Checksum(b[:pageSize-4], castagnoli) != binary.LittleEndian.Uint32(b[pageSize-4:]) || !bytes.HasPrefix(b, []byte(magic)) {
		return id, 0, damagedf("segment %d: the checksum of its first page is wrong", number)
	}
	if b[len(magic)] != version {
		return id, 0, ErrVersion
	}
	copy(id[:], b[16:])
	if is := binary.LittleEndian.Uint64(b[32:]); is != number {
		return id, 0, damagedf("segment %d says that it is %d", number, is)
	}
	return id, binary.LittleEndian.Uint64(b[40:]), nil
}

// A maker makes segments.
type maker struct {
	dir   string
	id    ID
	quit  <-chan struct{} // closed: nobody needs it
	hurry <-chan struct{} // closed: somebody waits for it
	pace  *pace           // until then
}

// A pace tells a maker how far it may go.
type pace struct {
	bytes atomic.Int64
	wake  chan struct{} // has room for one
}

// set lets the maker go as far as the writer has come with its segment wants it.
func (p *pace) set(written int64) {
	p.bytes.Store(fillAhead + fillPace*written)
	select {
	case p.wake <- struct{}{}:
	default: // it is awake
	}
}

// make makes a segment: zero-filled, durable, and there under its name.
func (m maker) make(number uint64, pages int) (*segment, error) {
	path := segmentPath(m.dir, number)
	f, err := os.OpenFile(path+partial, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if err = m.fill(f, number, pages); err == nil {
		err = os.Rename(path+partial, path)
	}
	if err == nil {
		err = syncDir(m.dir)
	}
	if err != nil {
		_ = f.Close()
		_ = os.Remove(path + partial)
		return nil, err
	}
	return &segment{number, f, pages}, nil
}

func (m maker) fill(f *os.File, number uint64, pages int) error {
	zeros := make([]byte, fillWrite)
	for at, size := int64(0), int64(pages)*pageSize; at < size; {
		if err := m.wait(at); err != nil {
			return err
		}
		for end := min(at+fillStep, size); at < end; {
			n, err := f.WriteAt(zeros[:min(fillWrite, end-at)], at)
			if err != nil {
				return err
			}
			at += int64(n)
		}
		if err := syncMade(f); err != nil {
			return err
		}
	}
	if _, err := f.WriteAt(firstPage(m.id, number, pages), 0); err != nil {
		return err
	}
	return syncMade(f)
}

// wait waits until the maker may go on after so many bytes.
func (m maker) wait(at int64) error {
	for at >= m.pace.bytes.Load() {
		select {
		case <-m.quit:
			return errClosed
		case <-m.hurry:
			return nil
		case <-m.pace.wake:
		}
	}
	return nil
}

// openSegment opens a segment that is there. The bytes in memory are dropped first
// if they may not be on the disk.
func openSegment(dir string, number uint64, last bool) (s *segment, id ID, err error) {
	path := segmentPath(dir, number)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, id, damagedf("segment %d is missing", number)
	}
	if err != nil {
		return nil, id, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	if last {
		if err := errors.Join(syncFrame(f), forget(f)); err != nil {
			return nil, id, err
		}
	}
	st, err := f.Stat()
	if err != nil {
		return nil, id, err
	}
	b := make([]byte, pageSize)
	if st.Size() < pageSize {
		return nil, id, damagedf("segment %d has only %d bytes", number, st.Size())
	}
	if _, err := f.ReadAt(b, 0); err != nil {
		return nil, id, err
	}
	id, pages, err := openFirst(b, number)
	if err != nil {
		return nil, id, err
	}
	if pages != uint64(st.Size()/pageSize) || st.Size()%pageSize != 0 || pages < minPages {
		return nil, id, damagedf("segment %d has %d bytes, and should have %d pages", number, st.Size(), pages)
	}
	return &segment{number, f, int(pages)}, id, nil
}

func fsyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
