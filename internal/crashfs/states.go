package crashfs

import (
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

const (
	// FullPages is of how many changes that do not build on one another all parts are
	// tried; fullParts is how many those are.
	FullPages = 10
	fullParts = 1 << FullPages

	// drawn is how many parts are drawn where there are more.
	drawn = 200
)

// A State is what a crash may leave.
type State struct {
	Image Image
	// What says in words which changes it has, and which not.
	What func() string
}

// parts returns which changes there may be, each part as a list of their numbers, and
// whether those are all that are possible.
func (d *Disk) parts(r *rand.Rand) (all [][]int, full bool) {
	needs := d.needs()
	if all, full = closed(needs, fullParts); full {
		return all, true
	}
	n := len(needs)
	all = [][]int{nil, sequence(n)}
	for i := range n {
		all = append(all, d.part(needs, func(j int) bool { return j != i }), sequence(i))
	}
	for range drawn {
		keep := r.Float64()
		all = append(all, d.part(needs, func(int) bool { return r.Float64() < keep }))
	}
	return all, false
}

func sequence(n int) (all []int) {
	for i := range n {
		all = append(all, i)
	}
	return all
}

// needs lists for each change those that it builds on.
func (d *Disk) needs() [][]int {
	needs := make([][]int, len(d.pending))
	for i := range d.pending {
		for j := range i {
			if d.pending[i].on(&d.pending[j]) {
				needs[i] = append(needs[i], j)
			}
		}
	}
	return needs
}

// part returns the changes that want wants, as far as those that they build on are there.
func (d *Disk) part(needs [][]int, want func(int) bool) (part []int) {
	has := make([]bool, len(needs))
	for i := range needs {
		if want(i) && !slices.ContainsFunc(needs[i], func(j int) bool { return !has[j] }) {
			has[i] = true
			part = append(part, i)
		}
	}
	return part
}

// closed returns all parts in which each change has those that it builds on, unless
// there are more than most.
func closed(needs [][]int, most int) (all [][]int, full bool) {
	all = [][]int{nil}
	for i := range needs {
		for _, part := range all {
			if slices.ContainsFunc(needs[i], func(j int) bool { return !slices.Contains(part, j) }) {
				continue
			}
			if len(all) == most {
				return nil, false
			}
			all = append(all, append(part[:len(part):len(part)], i))
		}
	}
	return all, true
}

// States returns the states that a crash may leave now, and whether they are all that
// there are, torn pages aside: of every part the last page is torn after each of its
// sectors, and that and another page in any way. The states come one at a time and share
// what they do not change. The disk must not be used meanwhile.
func (d *Disk) States(r *rand.Rand) (states iter.Seq[State], full bool) {
	parts, full := d.parts(r)
	return func(yield func(State) bool) {
		for _, part := range parts {
			if !yield(d.state(part, tear{page: -1})) {
				return
			}
			for _, t := range d.tears(part, r) {
				if !yield(d.state(part, t)) {
					return
				}
			}
		}
	}, full
}

// A tear is that only some sectors of a page were written.
type tear struct {
	page int   // the number of its change, -1: none
	mask uint8 // the sectors that are new
	past bool  // the others are what is certain, and not of the change before
}

// tears returns some of the tears that there may be in part, each of which makes a
// difference.
func (d *Disk) tears(part []int, r *rand.Rand) (all []tear) {
	last := d.lastPages(part)
	if len(last) == 0 {
		return nil
	}
	add := func(page int, mask uint8, past bool) {
		differs := d.differs(part, page, past)
		t := tear{page, mask & differs, past}
		if t.mask != 0 && t.mask != differs && !slices.Contains(all, t) {
			all = append(all, t)
		}
	}
	newest := last[len(last)-1]
	for i := 1; i < sectors; i++ {
		add(newest, 1<<i-1, true)
	}
	for _, page := range []int{newest, last[r.IntN(len(last))]} {
		for _, past := range []bool{false, true} {
			add(page, uint8(r.Uint32()), past)
		}
	}
	return all
}

// differs returns the sectors in which the page of change number is is not what was
// there before it: in what is certain, if past is set, else by the changes of part.
func (d *Disk) differs(part []int, is int, past bool) (mask uint8) {
	c := &d.pending[is]
	old := d.safe.inodes[c.ino].page(c.at)
	for _, i := range part {
		if b := &d.pending[i]; i < is && !past && b.kind == changePage && b.ino == c.ino && b.at == c.at {
			old = b.page
		}
	}
	for s := range sectors {
		if from := s * SectorSize; [SectorSize]byte(old.data[from:]) != [SectorSize]byte(c.page.data[from:]) {
			mask |= 1 << s
		}
	}
	return mask
}

// lastPages returns the changes of part that are pages, and the last in their places.
func (d *Disk) lastPages(part []int) (all []int) {
	type place struct {
		ino Ino
		at  int64
	}
	seen := map[place]bool{}
	for _, i := range slices.Backward(part) {
		c := &d.pending[i]
		if is := (place{c.ino, c.at}); c.kind == changePage && !seen[is] {
			seen[is] = true
			all = append(all, i)
		}
	}
	slices.Reverse(all)
	return all
}

// state returns what is certain and part of the other changes, with a tear.
func (d *Disk) state(part []int, torn tear) State {
	m := Image{maps.Clone(d.safe.inodes)}
	own := map[Ino]bool{}
	for _, i := range part {
		c := d.pending[i]
		for _, ino := range c.touches() {
			if !own[ino] {
				own[ino], m.inodes[ino] = true, m.inodes[ino].clone()
			}
		}
		if i == torn.page {
			old := m.inodes[c.ino].page(c.at)
			if torn.past {
				old = d.safe.inodes[c.ino].page(c.at)
			}
			c.page = mixed(old, c.page, torn.mask)
		}
		c.apply(m)
	}
	for ino := range own { // what lies beyond the end was never there
		m.inodes[ino].cut(m.inodes[ino].size)
	}
	return State{m, func() string { return d.what(part, torn) }}
}

// mixed returns old with the sectors in mask of is.
func mixed(old, is *page, mask uint8) *page {
	data := old.data
	for s := range sectors {
		if mask>>s&1 == 1 {
			copy(data[s*SectorSize:(s+1)*SectorSize], is.data[s*SectorSize:])
		}
	}
	return newPage(&data)
}

// Draw returns one of the states that a crash may leave now.
func (d *Disk) Draw(r *rand.Rand) State {
	keep := []float64{0, 1, r.Float64()}[r.IntN(3)]
	part := d.part(d.needs(), func(int) bool { return r.Float64() < keep })
	if tears := d.tears(part, r); len(tears) > 0 && r.IntN(2) == 0 {
		return d.state(part, tears[r.IntN(len(tears))])
	}
	return d.state(part, tear{page: -1})
}

func (d *Disk) what(part []int, torn tear) string {
	has, not := []string{}, []string{}
	for i := range d.pending {
		text := d.pending[i].in(d.now)
		switch {
		case i == torn.page:
			has = append(has, fmt.Sprintf("sectors %08b of %s", torn.mask, text))
		case slices.Contains(part, i):
			has = append(has, text)
		default:
			not = append(not, text)
		}
	}
	return fmt.Sprintf("there: [%s]; not: [%s]", strings.Join(has, ", "), strings.Join(not, ", "))
}
