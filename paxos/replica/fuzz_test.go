package replica

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica/internal/image"
	"github.com/prytany/prytany/synod"
)

// learnerOf returns a host that learns group main, whose voters are elsewhere.
func learnerOf(t *testing.T, disk *memory) (*Host, *journal) {
	j := &journal{}
	h, err := NewHost(Config{
		Self: 4, Leader: leader.Config{Self: 4, Incarnation: 1}, Storage: disk, Transport: silent{},
		NewMachine: func(paxos.GroupID) Machine { return j }, RetryAfter: time.Minute,
	}, 0)
	if err != nil {
		t.Fatal(err)
	}
	h.Learn(paxos.Main, []synod.NodeID{1, 2, 3})
	return h, j
}

// FuzzInstall sends a learner the pieces of two snapshots, in any order, cut anywhere,
// repeated and changed, with values of the log between them: four bytes are a packet.
// What is installed is one of the snapshots, whole; what is damaged changes nothing; and
// the group starts again from what is on its disk.
func FuzzInstall(f *testing.F) {
	f.Add([]byte{0, 1, 0, 255, 3, 1, 0, 0})
	f.Add([]byte{0, 1, 0, 9, 0, 1, 9, 9, 0, 1, 18, 255, 4, 2, 41, 3, 1, 1, 0, 255})
	f.Add([]byte{0, 2, 0, 20, 2, 2, 20, 255, 0, 2, 20, 255, 5, 0, 0, 30, 0, 3, 0, 255})
	images := map[paxos.Slot][]byte{}
	sums := map[paxos.Slot]uint32{}
	states := map[paxos.Slot][]string{}
	members := first(3)
	for _, slot := range []paxos.Slot{40, 60} {
		for i := range int(slot) / 10 {
			states[slot] = append(states[slot], fmt.Sprint("command ", i))
		}
		data := []byte{}
		for i, c := range states[slot] {
			if i > 0 {
				data = append(data, '\n')
			}
			data = append(data, c...)
		}
		head := image.Head(members)
		images[slot], sums[slot] = append(bytes.Clone(head), data...), image.Sum(head, image.Checksum(data))
	}
	f.Fuzz(func(t *testing.T, steps []byte) {
		disk := &memory{}
		h, j := learnerOf(t, disk)
		defer h.Close()
		now := time.Duration(0)
		poll := func() {
			for range 4 {
				if _, err := h.Poll(now); err != nil {
					t.Fatal(err)
				}
			}
		}
		poll()
		for steps = steps[:min(len(steps), 4*64)]; len(steps) >= 4; steps = steps[4:] {
			from := synod.NodeID(1 + steps[1]%3)
			slot := []paxos.Slot{40, 60}[steps[1]>>7]
			whole := images[slot]
			at := int(steps[2]) % (len(whole) + 1)
			c := paxos.SnapshotChunk{
				Slot: slot, Offset: uint64(at), Size: uint64(len(whole)), Sum: sums[slot],
				Data: bytes.Clone(whole[at:min(at+int(steps[3]), len(whole))]),
			}
			was := j.applied
			switch op := steps[0] % 8; op {
			case 2: // damaged
				if len(c.Data) > 0 {
					c.Data[len(c.Data)/2] ^= 1
				}
			case 3: // with a size or a sum that lies
				c.Size, c.Sum = c.Size+uint64(steps[2]), c.Sum+uint32(steps[3])
			case 4:
				h.Deliver(from, Packet{paxos.Main, paxos.Learned{
					First: paxos.Slot(steps[2]), Values: []synod.Value{paxos.EncodeBatch(synod.Ballot{Round: 1, Member: 1}, [][]byte{{'x'}})}, Decided: paxos.Slot(steps[2]),
				}})
			case 5:
				now += time.Duration(steps[3]) * 10 * time.Millisecond
			case 6:
				c.Size = uint64(steps[3]) << 56
			}
			h.Deliver(from, Packet{paxos.Main, c})
			now += time.Millisecond
			poll()
			if j.applied < was {
				t.Fatalf("applied %d, and then %d", was, j.applied)
			}
			for slot, state := range states {
				if j.applied == slot && !slices.Equal(j.commands, state) && len(steps) > 0 && was < slot && steps[0]%8 != 4 {
					t.Fatalf("slot %d has the state %q; want %q", slot, j.commands, state)
				}
			}
		}
		if s := disk.group(paxos.Main).snap; s.Slot != 0 && !bytes.HasSuffix(images[s.Slot], s.Data) {
			t.Fatalf("the snapshot on disk is %+v", s)
		}
		again, k := learnerOf(t, disk)
		defer again.Close()
		if _, err := again.Poll(0); err != nil || k.applied < disk.group(paxos.Main).header.Snapshot || k.applied != j.applied {
			t.Fatalf("it starts with slot %d, %v; it had applied %d", k.applied, err, j.applied)
		}
	})
}
