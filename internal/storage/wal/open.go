package wal

import (
	"crypto/rand"
	"os"
)

// begin makes the first segment of a new log in dir.
func begin(dir string, opts Options, first uint64) (*Log, error) {
	l := blankLog(dir, opts)
	_, _ = rand.Read(l.id[:]) // never fails
	hurry := make(chan struct{})
	close(hurry)
	s, err := l.maker(hurry).make(1, l.opts.pages())
	if err != nil {
		return nil, err
	}
	l.disk.Add(s.bytes())
	l.seq, l.tail, l.told = first-1, 1, 1
	l.enter(s, 1)
	l.next = make(chan made) // none is made: this log is closed at once
	l.hurry = make(chan struct{})
	return l, nil
}

func blankLog(dir string, opts Options) *Log {
	return &Log{dir: dir, opts: opts, segments: map[uint64]*segment{}, quit: make(chan struct{}), pace: &pace{wake: make(chan struct{}, 1)}}
}

// Open opens the log in dir, reads all of it, and makes away with what a crash has
// left: a write that was cut off, and files that nobody needs. It needs memory for the
// largest segment besides the table. Errors: ErrDamaged, ErrVersion, and those of the
// file system.
func Open(dir string, opts Options) (*Log, error) {
	l := blankLog(dir, opts)
	if err := l.open(); err != nil {
		_ = l.Close() // nothing was written
		return nil, err
	}
	return l, nil
}

func (l *Log) open() error {
	numbers, err := segmentsIn(l.dir)
	if err != nil {
		return err
	}
	if len(numbers) == 0 {
		return damagedf("it has no segments")
	}
	last := numbers[len(numbers)-1]
	if l.tail, err = l.oldest(numbers); err != nil {
		return err
	}
	e, err := l.replayAll(last)
	if err != nil {
		return err
	}
	// All is well. Until here nothing was changed.
	for _, n := range numbers {
		if n < l.tail { // given back, but a crash came before it was removed
			if err := os.Remove(segmentPath(l.dir, n)); err != nil {
				return err
			}
		}
	}
	if e.torn {
		if err := l.clean(); err != nil {
			return err
		}
	}
	if l.next == nil {
		l.prepare()
	}
	return nil
}

// replayAll reads the segments from the tail to the last one that is there, and
// returns where the log ends.
func (l *Log) replayAll(last uint64) (e end, err error) {
	for n := l.tail; n <= last; n++ {
		if n > l.tail && !e.sealed {
			return e, l.ready(n, last)
		}
		if e, err = l.replay(n, n+1 >= last, e); err != nil {
			return e, err
		}
	}
	if e.sealed {
		return e, damagedf("segment %d is missing", last+1)
	}
	return e, nil
}

// oldest returns the number of the oldest segment that is needed, which the last
// frame says. Whether that is in order is for replay.
func (l *Log) oldest(numbers []uint64) (uint64, error) {
	// The newest may be one that was kept ready, and the one before it may have no
	// whole frame yet.
	for i := len(numbers) - 1; i >= max(0, len(numbers)-3); i-- {
		s, id, err := openSegment(l.dir, numbers[i], true)
		if err != nil {
			return 0, err
		}
		b, err := s.read()
		_ = s.file.Close()
		if err != nil {
			return 0, err
		}
		w := walker{id: id, number: s.number, b: b}
		if e, err := w.walk(); e.tail > 0 || err != nil && i == 0 {
			return e.tail, err
		}
	}
	return 0, damagedf("it has no frames")
}

func (s *segment) read() ([]byte, error) {
	b := make([]byte, s.bytes())
	_, err := s.file.ReadAt(b, 0)
	return b, err
}

// replay reads segment number, which goes on where before has ended.
func (l *Log) replay(number uint64, last bool, before end) (e end, err error) {
	s, id, err := openSegment(l.dir, number, last)
	if err != nil {
		return e, err
	}
	l.segments[number] = s
	l.disk.Add(s.bytes())
	if number == l.tail {
		l.id = id
	} else if id != l.id {
		return e, damagedf("segment %d is of another log", number)
	}
	b, err := s.read()
	if err != nil {
		return e, err
	}
	w := walker{id: id, number: number, b: b, seq: before.seq, each: func(h head, page int, payload []byte) error {
		return l.table.apply(number, page, payload)
	}}
	if e, err = w.walk(); err != nil {
		return e, err
	}
	e.tail = max(e.tail, before.tail)
	if e.sealed {
		l.closed += s.bytes()
		return e, nil
	}
	if e.tail != l.tail {
		return e, damagedf("segment %d is the oldest that is there, and %d the oldest that is needed", l.tail, e.tail)
	}
	l.seq, l.told = e.seq-1, e.tail
	l.enter(s, e.page)
	return e, nil
}

// apply takes note of the entries of a frame.
func (t *table) apply(number uint64, page int, payload []byte) error {
	for at := 0; at < len(payload); {
		e, ok := openEntry(payload[at:])
		if !ok {
			return damagedf("segment %d page %d: an entry makes no sense", number, page)
		}
		if e.kind == entryDelete {
			t.clear(e.key, e.last)
		} else {
			t.set(e.key, loc{segment: number, page: uint32(page), at: uint32(at), size: uint32(e.size)})
		}
		at += e.size
	}
	return nil
}

// clean empties the pages of a write that was cut off, so that nothing of it can be
// taken for a part of the next frame.
func (l *Log) clean() error {
	b, err := l.head.read()
	if err != nil {
		return err
	}
	for page := l.page; page < l.head.pages; page++ {
		if blank(b[page*pageSize : (page+1)*pageSize]) {
			continue
		}
		if _, err := l.head.file.WriteAt(blankPage, int64(page)*pageSize); err != nil {
			return err
		}
	}
	return syncFrame(l.head.file)
}

// ready takes segment number as the next one. It was kept ready: nothing may be in
// it, and none come after it.
func (l *Log) ready(number, last uint64) error {
	s, id, err := openSegment(l.dir, number, true)
	if err != nil {
		return err
	}
	l.disk.Add(s.bytes())
	l.next, l.hurry = make(chan made, 1), make(chan struct{})
	l.next <- made{segment: s}
	b, err := s.read()
	switch {
	case err != nil:
		return err
	case number != last || id != l.id || !blank(b[pageSize:]):
		return damagedf("segment %d does not end, but the next has begun", number-1)
	}
	return nil
}
