package directory

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// A snapshot is magic, a version byte, the length of the directory in four bytes, the
// directory, the CRC32C of all that, and the snapshot of the inner machine, which has
// its own. One that does not begin with magic is of the inner machine alone.
const (
	magic           = "\xd1PDIR"
	snapshotVersion = 1
	headBytes       = len(magic) + 1 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Snapshot implements [replica.Machine]. While the directory is as it was at the start
// the bytes are those of the inner machine, as before there was a directory.
func (m *Machine) Snapshot() (encode func(w io.Writer) error) {
	m.mu.Lock()
	v, err := m.view, m.unsupported
	m.shared = true
	m.mu.Unlock()
	if err != nil {
		return func(io.Writer) error { return err }
	}
	inner := m.inner.Snapshot()
	return func(w io.Writer) error {
		if v.Version > 0 {
			if _, err := w.Write(head(v.encode())); err != nil {
				return err
			}
			return inner(w)
		}
		o := &opener{to: w, dir: v}
		if err := inner(o); err != nil {
			return err
		}
		return o.end()
	}
}

// An opener passes on what an inner machine writes, with the directory dir before it
// if it begins with magic.
type opener struct {
	to    io.Writer
	dir   *View
	begun []byte // what is kept until it is as long as magic
	open  bool   // nothing is kept any more
}

func (o *opener) Write(p []byte) (int, error) {
	if o.open {
		return o.to.Write(p)
	}
	if o.begun = append(o.begun, p...); len(o.begun) < len(magic) {
		return len(p), nil
	}
	return len(p), o.end()
}

// end passes on what is kept.
func (o *opener) end() error {
	if o.open {
		return nil
	}
	o.open = true
	b := o.begun
	if bytes.HasPrefix(b, []byte(magic)) {
		b = append(head(o.dir.encode()), b...)
	}
	_, err := o.to.Write(b)
	return err
}

// head returns what comes before the bytes of an inner machine: the directory dir.
func head(dir []byte) []byte {
	b := make([]byte, 0, headBytes+len(dir)+4)
	b = append(append(b, magic...), snapshotVersion)
	b = binary.BigEndian.AppendUint32(b, uint32(len(dir)))
	b = append(b, dir...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// unwrap is the inverse. dir is nil if the bytes are of an inner machine alone.
func unwrap(data []byte) (dir, inner []byte, err error) {
	if !bytes.HasPrefix(data, []byte(magic)) {
		return nil, data, nil
	}
	if len(data) < headBytes {
		return nil, nil, errors.New("directory: restore: the snapshot is cut short")
	}
	if v := data[len(magic)]; v != snapshotVersion {
		return nil, nil, fmt.Errorf("directory: restore: the snapshot has version %d; this program reads %d", v, snapshotVersion)
	}
	n := uint64(binary.BigEndian.Uint32(data[headBytes-4:]))
	if uint64(len(data)) < uint64(headBytes)+n+4 {
		return nil, nil, errors.New("directory: restore: the snapshot is cut short")
	}
	end := headBytes + int(n)
	if crc32.Checksum(data[:end], castagnoli) != binary.BigEndian.Uint32(data[end:]) {
		return nil, nil, errors.New("directory: restore: the directory's checksum is wrong")
	}
	return data[headBytes:end], data[end+4:], nil
}

// Restore implements [replica.Machine].
func (m *Machine) Restore(data []byte) (install func(), err error) {
	dir, in, err := unwrap(data)
	if err != nil {
		return nil, err
	}
	v := start()
	if dir != nil {
		if v, err = decodeView(dir); err != nil {
			return nil, err
		}
	}
	inner, err := m.inner.Restore(in)
	if err != nil {
		return nil, err
	}
	return func() {
		m.mu.Lock()
		m.become(v)
		m.mu.Unlock()
		inner()
	}, nil
}

// clone returns a copy of v whose lists of groups can be changed. The other lists only
// ever grow at their ends, or are replaced.
func (v *View) clone() *View {
	next := *v
	next.byID, next.order = slices.Clone(v.byID), slices.Clone(v.order)
	return &next
}

// encode returns the bytes of v. Equal states have equal bytes.
func (v *View) encode() []byte {
	c := coder{buf: make([]byte, 0, 256*len(v.byID)+1024)}
	v.wire(&c)
	return c.buf
}

// decodeView is the inverse of encode. What commands cannot make of a directory is
// malformed.
func decodeView(b []byte) (*View, error) {
	v := &View{}
	c := coder{buf: b, reading: true}
	v.wire(&c)
	if err := c.end(); err != nil {
		return nil, fmt.Errorf("directory: restore: %w", err)
	}
	if err := v.sound(); err != nil {
		return nil, fmt.Errorf("directory: restore: %w", err)
	}
	return v, nil
}

func (v *View) wire(c *coder) {
	c.long(&v.Version)
	c.group(&v.next)
	c.long(&v.plans)
	list(c, &v.byID, func(p **Group) {
		if c.reading {
			*p = &Group{}
		}
		c.entry(*p)
	})
	list(c, &v.removed, func(r *Removed) {
		c.node(&r.Node)
		c.text(&r.Name)
		c.node(&r.By)
	})
	c.nodes(&v.gone)
	list(c, &v.past, func(d *deleted) {
		c.group(&d.id)
		c.text(&d.made)
		c.text(&d.gone)
		c.long(&d.version)
	})
	if c.reading {
		v.order = slices.SortedFunc(slices.Values(v.byID), func(a, b *Group) int { return strings.Compare(a.Name, b.Name) })
	}
}

// sound returns an error if v is none that commands can make.
func (v *View) sound() error {
	if len(v.byID) == 0 || v.byID[0].ID != paxos.Main || v.byID[0].Name != MainName || len(v.byID) > MaxGroups {
		return fmt.Errorf("%d groups, or main is not the first", len(v.byID))
	}
	requests := map[string]bool{}
	for i, g := range v.byID {
		if i > 0 && (g.ID <= v.byID[i-1].ID || v.order[i].Name == v.order[i-1].Name) || g.ID >= v.next {
			return fmt.Errorf("group %d: ids or names are not in order", g.ID)
		}
		if g.Request != "" && requests[g.Request] {
			return fmt.Errorf("group %d: its request made another one too", g.ID)
		}
		requests[g.Request] = true
		if err := v.soundGroup(g); err != nil {
			return fmt.Errorf("group %d: %w", g.ID, err)
		}
	}
	if len(v.removed) > MaxRemoved || len(v.gone) > MaxGone || len(v.removed) != min(MaxRemoved, len(v.gone)) ||
		!slices.IsSorted(v.gone) || len(slices.Compact(slices.Clone(v.gone))) != len(v.gone) {
		return fmt.Errorf("%d removed nodes with names, %d in all", len(v.removed), len(v.gone))
	}
	seen := map[synod.NodeID]bool{}
	for _, r := range v.removed {
		_, gone := slices.BinarySearch(v.gone, r.Node)
		if err := (*Remove)(&r).check(); err != nil || !gone || seen[r.Node] {
			return fmt.Errorf("removed node %v: %w", r.Node, cmp.Or(err, errMalformed))
		}
		seen[r.Node] = true
	}
	return v.soundPast()
}

// soundPast checks the deleted groups.
func (v *View) soundPast() error {
	if len(v.past) > MaxDeleted {
		return fmt.Errorf("%d deleted groups", len(v.past))
	}
	for i, d := range v.past {
		if !v.Deleted(d.id) || d.version == 0 || d.version > v.Version || i > 0 && d.version <= v.past[i-1].version ||
			checkText("", d.made) != nil || checkText("", d.gone) != nil {
			return fmt.Errorf("deleted group %d: %w", d.id, errMalformed)
		}
	}
	return nil
}

// soundGroup checks one group.
func (v *View) soundGroup(g *Group) error {
	if err := cmp.Or(CheckName(g.Name), checkWish(g.Zones, g.Near), checkText("request", g.Request)); err != nil {
		return err
	}
	main := g.ID == paxos.Main
	if !main || g.Replicas != 0 {
		if err := checkReplicas(g.Replicas); err != nil {
			return err
		}
	}
	if !main || g.Config != 0 {
		if err := checkMembers(g.Members, MaxReplicas+1); err != nil {
			return err
		}
	}
	switch {
	case main && (g.First.ID != 0 || g.First.Voters != nil || g.Config == 0 && (g.Members != nil || g.Plan.ID != 0)):
		return errors.New("main has a first configuration, or members or a plan before it has reported")
	case !main && (g.Config == 0 || g.First.ID != 1 || g.First.Check() != nil || checkMembers(g.First.Voters, MaxReplicas) != nil):
		return errors.New("its configurations are none")
	case g.Plan.ID > v.plans:
		return fmt.Errorf("plan %d of %d", g.Plan.ID, v.plans)
	}
	if g.Plan == (Plan{}) {
		return nil
	}
	if p := g.Plan; p.ID == 0 || p.Add.Ordinal != 0 || checkText("", p.Why) != nil ||
		p.Add == (paxos.Member{}) && p.Remove == 0 || p.Add != (paxos.Member{}) && checkMember(p.Add) != nil {
		return fmt.Errorf("plan %d: %w", p.ID, errMalformed)
	}
	return nil
}
