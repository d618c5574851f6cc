// Package disk is the simulator's disk: a storage in memory that keeps what was
// synced, and nothing else, when its process ends.
package disk

import (
	"fmt"
	"maps"
	"slices"

	"github.com/prytany/prytany/paxos"
)

// maxSpread bounds the slots between the lowest and the highest vote on a
// disk; a vote beyond it can only be a bug.
const maxSpread = 1 << 20

// A Disk is one node's durable memory. What Save and SaveSnapshot wrote is
// there for good once they have returned; what Trim removed may come back in
// a crash, since nobody has promised that it is gone. The zero Disk is empty.
// Disk implements [replica.Storage].
type Disk struct {
	groups map[paxos.GroupID]*Volume
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
	v := d.Volume(g)
	v.snap, v.Snapshot = s, s.Slot
	v.snap.Data = slices.Clone(s.Data)
	v.snap.Membership.Voters = slices.Clone(s.Membership.Voters)
	return nil
}

// LoadSnapshot returns g's snapshot.
func (d *Disk) LoadSnapshot(g paxos.GroupID) (paxos.Snapshot, bool, error) {
	v := d.groups[g]
	if v == nil || v.Snapshot == 0 {
		return paxos.Snapshot{}, false, nil
	}
	s := v.snap
	s.Data = slices.Clone(s.Data)
	return s, true, nil
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
