package wal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/prytany/prytany/internal/mutant"
)

const (
	// segmentBytes is the size of a segment unless Options say otherwise.
	segmentBytes = 16 << 20

	// minPages is the least a segment can be: its first page, a frame, a seal.
	minPages = 3

	// keepFrames bounds the buffers kept between two writes, in bytes.
	keepFrames = 4 << 20
)

// How frames, and segments that are being made, get to the disk. Tests replace them.
var (
	syncFrame = Sync
	syncMade  = Sync
	syncDir   = fsyncDir
)

// Options refine [Open] and [Create]. The zero Options are usable.
type Options struct {
	// SegmentBytes is the size of segments that are made from now on, in bytes,
	// rounded up to pages. 0 means 16 MiB.
	SegmentBytes int64
}

// A Record is a key and its value.
type Record struct {
	Key   uint64
	Value []byte
}

// A Log is an open log. Its methods are called by one goroutine at a time; Size may be
// called by any.
type Log struct {
	dir  string
	opts Options
	id   ID

	segments map[uint64]*segment // from tail to the one that is written to
	head     *segment            // the one that is written to
	page     int                 // of head: the first without a frame
	seq      uint64              // of the last frame
	tail     uint64              // the oldest segment
	told     uint64              // the tail as the last frame says
	closed   int64               // bytes of the segments before head

	table   table
	deletes []byte // entries that are for the next frame
	sweep   sweep

	payload, pages []byte // buffers
	puts           []put  // of the frame that is being written

	next    chan made     // the segment after head, when it is there
	hurry   chan struct{} // see maker; one for each segment that is being made
	pace    *pace
	quit    chan struct{}
	working sync.WaitGroup // that makes and removes segments

	disk   atomic.Int64 // bytes of all segments
	failed error        // the first failure; sticks
}

// made is a segment that was made, or why not.
type made struct {
	segment *segment
	err     error
}

// A put is a record of the frame that is being written.
type put struct {
	key      uint64
	at, size int // of its entry in the payload
}

func (o Options) pages() int {
	n := o.SegmentBytes
	if n == 0 {
		n = segmentBytes
	}
	return int(max(minPages, (n+pageSize-1)/pageSize))
}

// ID returns what tells this log from all others.
func (l *Log) ID() ID { return l.id }

// Last returns the number of the last frame: how many writes are durable. It goes
// on over restarts.
func (l *Log) Last() uint64 { return l.seq }

// Size returns the bytes that the log's files take on the disk, those of the segment
// that is kept ready included.
func (l *Log) Size() int64 { return l.disk.Load() }

// Put makes records durable, in order and all or none, and with them the deletions
// since the last Put: one frame, written and synced once. Some of what the oldest
// segment still has goes along.
//
// After an error nothing is certain any more: it sticks.
func (l *Log) Put(records []Record) error {
	if l.failed != nil {
		return l.failed
	}
	if err := l.write(records); err != nil {
		l.failed = err
	}
	return l.failed
}

func (l *Log) write(records []Record) error {
	if err := l.unmade(); err != nil {
		return err
	}
	l.payload = append(l.payload[:0], l.deletes...)
	l.puts = l.puts[:0]
	own := len(l.deletes)
	for _, r := range records {
		own += len(r.Value) + 2*10 + 1
	}
	if own > maxOwn {
		return fmt.Errorf("%d bytes are too many for one write", own)
	}
	old, err := l.carry(pagesFor(own) * pageSize * carryFactor)
	if err != nil {
		return err
	}
	l.payload = slices.Grow(l.payload, own-len(l.deletes))
	for _, r := range records {
		at := len(l.payload)
		l.payload = appendPut(l.payload, r.Key, r.Value)
		l.puts = append(l.puts, put{r.Key, at, len(l.payload) - at})
	}
	if err := l.append(kindRecords); err != nil {
		return err
	}
	page := l.page - pagesFor(len(l.payload))
	for _, p := range l.puts {
		l.table.set(p.key, loc{segment: l.head.number, page: uint32(page), at: uint32(p.at), size: uint32(p.size)})
	}
	l.deletes = l.deletes[:0]
	l.pace.set(int64(l.page) * pageSize)
	l.remove(old)
	if cap(l.payload) > keepFrames {
		l.payload, l.pages = nil, nil
	}
	return nil
}

// append writes the payload as the next frame.
func (l *Log) append(kind byte) error {
	// A segment always has a page left for its seal.
	if n := pagesFor(len(l.payload)); kind == kindRecords && l.page+n > l.head.pages-1 {
		if err := l.advance(n); err != nil {
			return err
		}
	}
	h := head{kind: kind, size: len(l.payload), seq: l.seq + 1, tail: l.tail}
	if kind == kindSeal {
		h.tail = l.told // what the tail still has may be in the frame after the seal
	}
	if n := pagesFor(len(l.payload)) * pageSize; cap(l.pages) < n {
		l.pages = aligned(max(n, min(2*cap(l.pages), keepFrames)))
	}
	l.pages = appendFrame(l.pages[:0], place{l.id, l.head.number, l.page}, h, l.payload)
	if _, err := l.head.file.WriteAt(l.pages, int64(l.page)*pageSize); err != nil {
		return err
	}
	if lazy := mutant.On(mutant.SkipsSync) && h.seq%100 == 0; !lazy {
		if err := syncFrame(l.head.file); err != nil && (!mutant.On(mutant.SyncRetried) || syncFrame(l.head.file) != nil) {
			return err
		}
	}
	l.page += len(l.pages) / pageSize
	if kind == kindRecords {
		l.seq++
		l.told = l.tail
	}
	return nil
}

// advance goes on to the next segment, for a frame of n pages. The next segment is
// durable before this one says that it ends.
func (l *Log) advance(n int) error {
	close(l.hurry)
	is := <-l.next
	if err := spoilt(is.err); err != nil {
		return err
	}
	if is.err == nil && n+2 > is.segment.pages { // it is empty, and too small
		_ = is.segment.file.Close()
		l.disk.Add(-is.segment.bytes())
		is.segment = nil
	}
	if is.segment == nil { // or there was no room for it: now there may be
		is.segment, is.err = l.maker(l.hurry).make(l.head.number+1, max(l.opts.pages(), n+2))
		if is.err == nil {
			l.disk.Add(is.segment.bytes())
		}
	}
	if is.err != nil {
		return is.err
	}
	payload := l.payload
	l.payload = nil
	err := l.append(kindSeal)
	l.payload = payload
	if err != nil {
		_ = is.segment.file.Close()
		return err
	}
	l.closed += l.head.bytes()
	l.enter(is.segment, 1)
	l.prepare()
	return nil
}

// enter has frames written to s from page on.
func (l *Log) enter(s *segment, page int) {
	l.segments[s.number] = s
	l.head, l.page = s, page
}

func (l *Log) maker(hurry <-chan struct{}) maker {
	return maker{dir: l.dir, id: l.id, quit: l.quit, hurry: hurry, pace: l.pace}
}

// unmade returns why nothing may be written any more, if the next segment could not be
// made.
func (l *Log) unmade() error {
	select {
	case is := <-l.next:
		l.next <- is
		return spoilt(is.err)
	default: // it is being made
		return nil
	}
}

// spoilt returns err unless it is nil or about room: a disk that has none may have some
// when the segment is needed. One that has failed a write or a sync is not written to
// again, though nothing is in that segment yet.
func spoilt(err error) error {
	if err == nil || errors.Is(err, syscall.ENOSPC) {
		return nil
	}
	return fmt.Errorf("make the next segment: %w", err)
}

// prepare has the segment after head made beside the writer.
func (l *Log) prepare() {
	l.next, l.hurry = make(chan made, 1), make(chan struct{})
	l.pace.set(int64(l.page) * pageSize)
	m, number, next := l.maker(l.hurry), l.head.number+1, l.next
	l.working.Go(func() {
		s, err := m.make(number, l.opts.pages())
		if err == nil {
			l.disk.Add(s.bytes())
		}
		next <- made{s, err}
	})
}

// remove removes segments that no frame needs any more, beside the writer. Those
// that a crash leaves are removed when the log is opened.
func (l *Log) remove(old []*segment) {
	if len(old) == 0 {
		return
	}
	for _, s := range old {
		delete(l.segments, s.number)
		l.closed -= s.bytes()
	}
	l.working.Go(func() {
		for _, s := range old {
			_ = s.file.Close()
			if os.Remove(segmentPath(l.dir, s.number)) == nil {
				l.disk.Add(-s.bytes())
			}
		}
	})
}

// Delete forgets the records with keys from first to last. It is durable with the
// next Put: until then a crash brings them back.
func (l *Log) Delete(first, last uint64) {
	if l.table.clear(first, last) {
		l.deletes = appendDelete(l.deletes, first, last)
	}
}

// Get returns the value of key; nil and false if there is none. Error: ErrDamaged.
func (l *Log) Get(key uint64) (value []byte, ok bool, err error) {
	is, ok := l.table.get(key)
	if !ok {
		return nil, false, nil
	}
	s := l.segments[is.segment]
	if s == nil {
		return nil, false, damagedf("segment %d is missing", is.segment)
	}
	from, n := headSize+int(is.at), int(is.size)
	first := from / sectorRoom
	b := make([]byte, ((from+n-1)/sectorRoom-first+1)*sectorSize)
	if _, err := s.file.ReadAt(b, int64(is.page)*pageSize+int64(first)*sectorSize); err != nil {
		return nil, false, err
	}
	e, ok := openEntry(appendStream(make([]byte, 0, n), b, from-first*sectorRoom, n))
	if !ok || e.kind != entryPut || e.key != key || e.size != n {
		return nil, false, damagedf("segment %d page %d: another record is in the place of one", is.segment, is.page)
	}
	return e.value, true, nil
}

// Close closes the files. It does not write.
func (l *Log) Close() error {
	if l.quit == nil {
		return nil
	}
	close(l.quit)
	l.working.Wait()
	l.quit = nil
	if l.failed == nil {
		l.failed = errClosed
	}
	var err error
	select {
	case is := <-l.next:
		if is.segment != nil {
			err = is.segment.file.Close()
		}
	default:
	}
	for _, s := range l.segments {
		err = errors.Join(err, s.file.Close())
	}
	return err
}

// Create makes a log in dir, which must not exist, with records in its first frame,
// which has the number first. A crash leaves all of it or, under another name,
// nothing that counts.
func Create(dir string, opts Options, first uint64, records []Record) error {
	tmp := dir + partial
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	if err := os.Mkdir(tmp, 0o750); err != nil {
		return err
	}
	l, err := begin(tmp, opts, first)
	if err != nil {
		return err
	}
	if err := errors.Join(l.Put(records), l.Close(), syncDir(tmp)); err != nil {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}
