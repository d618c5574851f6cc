package crashfs

import (
	"fmt"
	"slices"
)

// The kinds of changes.
type changeKind int

const (
	changePage  changeKind = iota // at is its number in the file
	changeSize                    // at is the size
	changeCut                     // at is the size, and less than it was
	changeNames                   // names
)

// A change is the least that may be on the disk or not.
type change struct {
	kind  changeKind
	ino   Ino
	at    int64
	page  *page
	names []named
}

// named says what a name in a directory stands for; 0 is nothing.
type named struct {
	dir  Ino
	name string
	is   Ino
}

// on reports whether c builds on b, which came before.
func (c *change) on(b *change) bool {
	if c.kind == changeNames || b.kind == changeNames {
		return slices.ContainsFunc(c.names, func(n named) bool {
			return slices.ContainsFunc(b.names, func(o named) bool { return n.dir == o.dir && n.name == o.name })
		})
	}
	switch {
	case c.ino != b.ino:
		return false
	case c.kind == changeCut || b.kind == changeCut:
		return true
	}
	return c.kind == b.kind && (c.kind == changeSize || c.at == b.at)
}

// apply makes c in an image whose files it may change.
func (c *change) apply(m Image) {
	if c.kind == changeNames {
		for _, n := range c.names {
			if n.is == 0 {
				delete(m.inodes[n.dir].entries, n.name)
			} else {
				m.inodes[n.dir].entries[n.name] = n.is
			}
		}
		return
	}
	n := m.inodes[c.ino]
	switch c.kind {
	case changePage:
		n.put(c.at, c.page)
	case changeCut:
		n.size = c.at
		n.cut(c.at)
	case changeSize:
		n.size = c.at
	}
}

// touches lists the files and directories that c changes.
func (c *change) touches() (all []Ino) {
	if c.kind != changeNames {
		return []Ino{c.ino}
	}
	for _, n := range c.names {
		all = append(all, n.dir)
	}
	return all
}

// in says what c is, with the names that m has.
func (c *change) in(m Image) string {
	switch c.kind {
	case changePage:
		return fmt.Sprintf("page %d of %s", c.at, m.name(c.ino))
	case changeNames:
		text := "names"
		for _, n := range c.names {
			text += fmt.Sprintf(" %s/%s=%d", m.name(n.dir), n.name, n.is)
		}
		return text
	case changeCut:
		return fmt.Sprintf("%s cut to %d bytes", m.name(c.ino), c.at)
	}
	return fmt.Sprintf("%s has %d bytes", m.name(c.ino), c.at)
}
