// Package disk is the simulator's disk: a storage in memory that keeps what was
// synced, and nothing else, when its process ends.
package disk

import (
	"fmt"
	"hash/crc32"
	"maps"
	"slices"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
)

// maxSpread bounds the slots between the lowest and the highest vote on a
// disk; a vote beyond it can only be a bug.
const maxSpread = 1 << 20

// A Disk is one node's durable memory. What Save and SaveSnapshot wrote is
// there for good once they have returned; what Trim removed may come back in
// a crash, since nobody has promised that it is gone. The zero Disk is empty.
// Disk implements [replica.Storage].
type Disk struct {
	groups  map[paxos.GroupID]*Volume
	dropped map[paxos.GroupID]replica.Tombstone
	left    map[paxos.GroupID]paxos.ConfigID // of parts that were dropped; nobody reads it but checkers
}

// A Volume is what a Disk holds of one group.
type Volume struct {
	Header   paxos.Header
	Snapshot paxos.Slot // of the snapshot; 0 if there is none
	Saved    bool       // Save was called: without it a snapshot alone is no group

	base    paxos.Slot       // slot of votes[0]
	votes   []paxos.SlotVote // Slot 0 means no vote
	trimmed []paxos.SlotVote // removed since the last Save
	snap    paxos.Snapshot
}

// Volume returns what d holds of g, for looking at.
func (d *Disk) Volume(g paxos.GroupID) *Volume {
	v := d.groups[g]
	if v == nil {
		v = new(Volume)
		if d.groups == nil {
			d.groups = make(map[paxos.GroupID]*Volume)
		}
		d.groups[g] = v
	}
	return v
}

// Replaced returns the slot of the snapshot in whose place another comes. own says that the
// running process has saved one. One that stands alone, of a process that died before it made
// a group of it, nobody knows of any more.
func (v *Volume) Replaced(own bool) paxos.Slot {
	if !v.Saved && !own {
		return 0
	}
	return v.Snapshot
}

// Groups lists the groups that have anything saved, in order.
func (d *Disk) Groups() (out []paxos.GroupID, err error) {
	for _, g := range slices.Sorted(maps.Keys(d.groups)) {
		if d.groups[g].Saved {
			out = append(out, g)
		}
	}
	return out, nil
}

// Load returns what was saved for g.
func (d *Disk) Load(g paxos.GroupID) (paxos.Durable, error) {
	v := d.groups[g]
	if v == nil {
		return paxos.Durable{}, nil
	}
	out := paxos.Durable{Header: v.Header}
	for _, sv := range v.votes {
		if sv.Slot != 0 {
			out.Votes = append(out.Votes, sv)
		}
	}
	return out, nil
}

// Save makes updates durable.
func (d *Disk) Save(updates []paxos.Update) error {
	for _, u := range updates {
		if t, ok := d.dropped[u.Group]; ok && (!t.Swept || t.Floor == paxos.Forever || u.Header.Floor < t.Floor) {
			return fmt.Errorf("disk: save of group %d with floor %d, of which there is %+v", u.Group, u.Header.Floor, t)
		}
		delete(d.dropped, u.Group)
		v := d.Volume(u.Group)
		v.Saved = true
		if u.Dirty {
			v.Header = u.Header
			v.Header.Membership.Voters = slices.Clone(u.Header.Membership.Voters)
		}
		v.trimmed = v.trimmed[:0]
		for _, sv := range u.Votes {
			v.put(sv)
		}
	}
	return nil
}

// SaveSnapshot replaces g's snapshot.
func (d *Disk) SaveSnapshot(g paxos.GroupID, s paxos.Snapshot) error {
	if t, ok := d.dropped[g]; ok && !t.Swept {
		return fmt.Errorf("disk: snapshot of group %d, which was dropped", g)
	}
	v := d.Volume(g)
	v.snap, v.Snapshot = s, s.Slot
	v.snap.Data = slices.Clone(s.Data)
	v.snap.Membership.Voters = slices.Clone(s.Membership.Voters)
	return nil
}

// LoadSnapshot returns g's snapshot.
func (d *Disk) LoadSnapshot(g paxos.GroupID) (paxos.Snapshot, bool, error) {
	v := d.groups[g]
	if _, gone := d.dropped[g]; gone || v == nil || v.Snapshot == 0 {
		return paxos.Snapshot{}, false, nil
	}
	s := v.snap
	s.Data = slices.Clone(s.Data)
	return s, true, nil
}

// ReadSnapshot returns a part of g's snapshot.
func (d *Disk) ReadSnapshot(g paxos.GroupID, offset uint64, most int) (replica.SnapshotPart, bool, error) {
	v := d.groups[g]
	if v == nil || v.Snapshot == 0 {
		return replica.SnapshotPart{}, false, nil
	}
	data := v.snap.Data
	from := min(offset, uint64(len(data)))
	to := min(from+uint64(most), uint64(len(data)))
	return replica.SnapshotPart{
		Slot: v.snap.Slot, Membership: v.snap.Membership, Size: uint64(len(data)),
		Sum: crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)), Data: slices.Clone(data[from:to]),
	}, true, nil
}

// Trim drops g's votes below slot.
func (d *Disk) Trim(g paxos.GroupID, below paxos.Slot) error {
	v := d.Volume(g)
	n := 0
	for n < len(v.votes) && v.base+paxos.Slot(n) < below {
		if v.votes[n].Slot != 0 {
			v.trimmed = append(v.trimmed, v.votes[n])
		}
		n++
	}
	v.votes = slices.Delete(v.votes, 0, n)
	v.base = max(v.base, below)
	return nil
}

// Drop forgets g but for its floor.
func (d *Disk) Drop(g paxos.GroupID, floor paxos.ConfigID) error {
	if d.dropped == nil {
		d.dropped = make(map[paxos.GroupID]replica.Tombstone)
	}
	floor = max(floor, d.dropped[g].Floor)
	if v := d.groups[g]; v != nil {
		floor = max(floor, v.Header.Floor)
		if d.left == nil {
			d.left = make(map[paxos.GroupID]paxos.ConfigID)
		}
		d.left[g] = max(d.left[g], v.Header.Membership.ID)
	}
	d.dropped[g] = replica.Tombstone{Floor: floor}
	delete(d.groups, g)
	return nil
}

// Forget drops g without a trace: a known-bad variant of Drop.
func (d *Disk) Forget(g paxos.GroupID) error {
	delete(d.groups, g)
	return nil
}

// Left returns the last configuration that a part of g which was dropped here knew of.
func (d *Disk) Left(g paxos.GroupID) paxos.ConfigID { return d.left[g] }

// Dropped returns the tombstone of g.
func (d *Disk) Dropped(g paxos.GroupID) (t replica.Tombstone, ok bool, err error) {
	t, ok = d.dropped[g]
	return t, ok, nil
}

// Sweep has nothing to give back, but for what is said in tombstones.
func (d *Disk) Sweep() (more bool, err error) {
	for g, t := range d.dropped { //lint:ordered each by itself
		t.Swept = true
		d.dropped[g] = t
	}
	return false, nil
}

// Clone returns a copy that shares nothing that changes.
func (d *Disk) Clone() Disk {
	c := Disk{groups: make(map[paxos.GroupID]*Volume, len(d.groups)), dropped: maps.Clone(d.dropped), left: maps.Clone(d.left)}
	for _, g := range slices.Sorted(maps.Keys(d.groups)) {
		v := *d.groups[g]
		v.votes, v.trimmed = slices.Clone(v.votes), slices.Clone(v.trimmed)
		c.groups[g] = &v
	}
	return c
}

// Crash brings back what was trimmed and not yet followed by a Save, if
// revive is set.
func (d *Disk) Crash(revive bool) {
	for _, v := range d.groups {
		if revive {
			for _, sv := range v.trimmed {
				v.put(sv)
			}
		}
		v.trimmed = nil
	}
}

func (v *Volume) put(sv paxos.SlotVote) {
	if len(v.votes) == 0 {
		v.base = sv.Slot
	}
	if sv.Slot < v.base {
		pad := make([]paxos.SlotVote, v.base-sv.Slot, int(v.base-sv.Slot)+len(v.votes))
		v.votes, v.base = append(pad, v.votes...), sv.Slot
	}
	i := sv.Slot - v.base
	if i > maxSpread {
		panic(fmt.Sprintf("disk: a vote at slot %d, far beyond %d", sv.Slot, v.base))
	}
	for paxos.Slot(len(v.votes)) <= i {
		v.votes = append(v.votes, paxos.SlotVote{})
	}
	v.votes[i] = sv
}

// Vote returns the vote at slot s; its Slot is 0 if there is none.
func (v *Volume) Vote(s paxos.Slot) paxos.SlotVote {
	if s < v.base || s-v.base >= paxos.Slot(len(v.votes)) {
		return paxos.SlotVote{}
	}
	return v.votes[s-v.base]
}

// First returns the first slot that may hold a vote.
func (v *Volume) First() paxos.Slot { return v.base }

// End returns the slot after the last one that may hold a vote.
func (v *Volume) End() paxos.Slot { return v.base + paxos.Slot(len(v.votes)) }
