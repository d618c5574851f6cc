package wal

// shelfBits is how many of a key's lower bits tell the records of one shelf apart.
// Records that are deleted together lie on one shelf.
const shelfBits = 40

// A loc is where the entry of a record is.
type loc struct {
	segment uint64
	page    uint32 // of the segment: the first of its frame
	at      uint32 // of the frame's payload
	size    uint32 // of the entry
}

// A table knows where the last entry of each key is. It takes about 60 bytes of
// memory for a record.
type table struct {
	shelves map[uint64]map[uint64]loc
	live    int64 // bytes of all entries
}

func (t *table) get(key uint64) (loc, bool) {
	is, ok := t.shelves[key>>shelfBits][key]
	return is, ok
}

func (t *table) set(key uint64, is loc) {
	if t.shelves == nil {
		t.shelves = map[uint64]map[uint64]loc{}
	}
	shelf := t.shelves[key>>shelfBits]
	if shelf == nil {
		shelf = map[uint64]loc{}
		t.shelves[key>>shelfBits] = shelf
	}
	t.live += int64(is.size) - int64(shelf[key].size)
	shelf[key] = is
}

// clear forgets the keys from first to last, and reports whether there were any.
func (t *table) clear(first, last uint64) (any bool) {
	for n, shelf := range t.shelves {
		if n < first>>shelfBits || n > last>>shelfBits {
			continue
		}
		any = t.clearShelf(shelf, first, last) || any
		if len(shelf) == 0 {
			delete(t.shelves, n)
		}
	}
	return any
}

func (t *table) clearShelf(shelf map[uint64]loc, first, last uint64) (any bool) {
	forget := func(key uint64) {
		if is, ok := shelf[key]; ok {
			t.live -= int64(is.size)
			delete(shelf, key)
			any = true
		}
	}
	if last-first < uint64(len(shelf)) {
		for key := first; ; key++ {
			if forget(key); key == last {
				return any
			}
		}
	}
	for key := range shelf {
		if first <= key && key <= last {
			forget(key)
		}
	}
	return any
}
