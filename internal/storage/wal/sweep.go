package wal

const (
	// carryFactor is how many bytes of the oldest segment are looked through for
	// each that is written: a frame grows by as much at most, if all of it is live.
	carryFactor = 4

	// The log is swept while its closed segments are more than spareSegments and
	// more than wasteFactor times what is live.
	wasteFactor   = 3
	spareSegments = 2
)

// A sweep goes through the oldest segment, the tail.
type sweep struct {
	active  bool
	page    int    // of the next frame
	payload []byte // of the frame before it
	at      int    // the next entry of the payload
	first   int    // the page of the payload's frame
}

// worth reports whether the oldest segment is to be given back, when gone bytes of
// those before it are.
func (l *Log) worth(gone int64) bool {
	spare := int64(l.opts.pages()) * pageSize * spareSegments
	return l.tail < l.head.number && l.closed-gone > spare+wasteFactor*l.table.live
}

// carry appends live entries of the oldest segment to the payload: it looks through
// about most bytes. It returns the segments that are of no use any more when the
// payload is durable.
func (l *Log) carry(most int) (old []*segment, err error) {
	s := &l.sweep
	gone := int64(0)
	for most > 0 {
		if !s.active {
			if !l.worth(gone) {
				return old, nil
			}
			*s = sweep{active: true, page: 1}
			_ = foresee(l.segments[l.tail].file) // a hint
		}
		if s.at < len(s.payload) {
			n, err := l.carryEntry()
			if err != nil {
				return old, err
			}
			most -= n
			continue
		}
		from := l.segments[l.tail]
		h, pages, err := l.readFrame(from, s.page)
		if err != nil {
			return old, err
		}
		if h.kind == kindSeal {
			old = append(old, from)
			gone += from.bytes()
			l.tail++
			s.active, s.payload, s.at = false, nil, 0
			continue
		}
		s.payload = appendStream(make([]byte, 0, h.size), pages, headSize, h.size)
		s.at, s.first, s.page = 0, s.page, s.page+len(pages)/pageSize
		most -= len(pages) - h.size
	}
	return old, nil
}

// carryEntry looks at one entry, and returns its size.
func (l *Log) carryEntry() (n int, err error) {
	s := &l.sweep
	e, ok := openEntry(s.payload[s.at:])
	if !ok {
		return 0, damagedf("segment %d page %d: an entry makes no sense", l.tail, s.first)
	}
	here := loc{segment: l.tail, page: uint32(s.first), at: uint32(s.at), size: uint32(e.size)}
	if is, ok := l.table.get(e.key); e.kind == entryPut && ok && is == here {
		l.puts = append(l.puts, put{e.key, len(l.payload), e.size})
		l.payload = append(l.payload, s.payload[s.at:s.at+e.size]...)
	}
	s.at += e.size
	return e.size, nil
}

// readFrame reads and checks the frame at a page of a segment that is closed.
func (l *Log) readFrame(s *segment, page int) (h head, pages []byte, err error) {
	p := place{l.id, s.number, page}
	pages = make([]byte, pageSize)
	if page >= s.pages {
		return h, nil, damagedf("segment %d has no end", s.number)
	}
	if _, err := s.file.ReadAt(pages, int64(page)*pageSize); err != nil {
		return h, nil, err
	}
	if h, err = openHead(pages, p); err != nil {
		return h, nil, err
	}
	n := pagesFor(h.size)
	if n > s.pages-page {
		return h, nil, damagedf("segment %d page %d: frame %d is longer than the segment", s.number, page, h.seq)
	}
	if n > 1 {
		pages = make([]byte, n*pageSize)
		if _, err := s.file.ReadAt(pages, int64(page)*pageSize); err != nil {
			return h, nil, err
		}
	}
	return h, pages, h.check(pages, p)
}
