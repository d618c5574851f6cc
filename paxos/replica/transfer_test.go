package replica

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica/internal/image"
	"github.com/prytany/prytany/synod"
)

// gate is a disk and a machine that stand still in a snapshot until they are let on.
type gate struct {
	*memory
	saving, reading chan chan struct{} // each call sends what it waits for; nil: none waits
	saved           []paxos.Slot
	atOnce, most    int32
}

func (d *gate) SaveSnapshot(g paxos.GroupID, s paxos.Snapshot) error {
	d.stand(d.saving)
	d.saved = append(d.saved, s.Slot)
	return d.memory.SaveSnapshot(g, s)
}

func (d *gate) ReadSnapshot(g paxos.GroupID, offset uint64, most int) (SnapshotPart, bool, error) {
	if most > 0 {
		d.most = max(d.most, atomic.AddInt32(&d.atOnce, 1))
		d.stand(d.reading)
		atomic.AddInt32(&d.atOnce, -1)
	}
	return d.memory.ReadSnapshot(g, offset, most)
}

func (d *gate) stand(at chan chan struct{}) {
	if at != nil {
		on := make(chan struct{})
		at <- on
		<-on
	}
}

// sent is a Transport that keeps what is sent.
type sent struct{ packets []Packet }

func (s *sent) Send(_ synod.NodeID, p Packet) { s.packets = append(s.packets, p) }

// beside returns a host that has applied some commands, and works on snapshots
// beside its loop as under Run, while the test calls Poll.
func beside(t *testing.T, disk *gate, commands int) (*Host, *group) {
	h := alone(t, disk.memory, 1)
	h.cfg.Storage = disk
	begin := time.Now()
	h.clock = func() time.Duration { return time.Since(begin) }
	t.Cleanup(h.saves.Wait)
	t.Cleanup(h.Close)
	g := h.groups[paxos.Main]
	until(t, h, func() bool { return g.machine.(*journal).led > 0 })
	apply(t, h, g, commands)
	return h, g
}

// until polls h until ok.
func until(t *testing.T, h *Host, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if _, err := h.Poll(h.clock()); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(end) {
			t.Fatal("not in time")
		}
	}
}

// apply has so many commands applied, none of which may wait.
func apply(t *testing.T, h *Host, g *group, commands int) {
	t.Helper()
	want := len(g.machine.(*journal).commands) + commands
	for i := range commands {
		h.Submit(paxos.Main, KindPropose, fmt.Appendf(nil, "more %d", i), func(Result) {})
		until(t, h, func() bool { return len(g.machine.(*journal).commands) == want-commands+i+1 })
	}
}

// arrive has a snapshot of slot, with one command, arrive at g.
func arrive(g *group, slot paxos.Slot, command string) {
	s := paxos.Snapshot{Slot: slot, Membership: g.status.Membership, Data: []byte(command)}
	head := image.Head(s.Membership)
	size := uint64(len(head) + len(s.Data))
	g.arrived = &arrival{
		from:   2,
		first:  paxos.SnapshotChunk{Slot: slot, Size: size, Sum: image.Sum(head, image.Checksum(s.Data))},
		pieces: [][]byte{head, s.Data},
	}
}

// A snapshot that has arrived is read and written beside the loop. Meanwhile the
// group goes on, and takes none of its own.
func TestArrivalIsMadeBesideTheLoop(t *testing.T) {
	disk := &gate{memory: &memory{}, saving: make(chan chan struct{}, 1)}
	h, g := beside(t, disk, 5)
	arrive(g, g.applied+50, "from afar")
	h.touch(g)
	until(t, h, func() bool { return len(disk.saving) > 0 })
	h.cfg.SnapshotSlots = 1
	apply(t, h, g, 5)
	if len(g.machine.(*journal).commands) != 10 || !g.saving || len(disk.saved) > 0 {
		t.Fatalf("%d commands, saving %v, saved %v; want those of the log, and the snapshot under way", len(g.machine.(*journal).commands), g.saving, disk.saved)
	}
	h.cfg.SnapshotSlots = 1000
	want := g.arrived.first.Slot
	close(<-disk.saving)
	until(t, h, func() bool { return g.applied == want })
	if c := g.machine.(*journal).commands; !reflect.DeepEqual(c, []string{"from afar"}) || g.machine.(*journal).applied != want {
		t.Errorf("commands %q; want the snapshot's", c)
	}
	until(t, h, func() bool { return disk.group(paxos.Main).header.Snapshot == want })
}

// If the log has overtaken it by then, it is one more snapshot on the disk, and no
// new state. The next one of this node's own is written after it.
func TestArrivalIsOvertaken(t *testing.T) {
	disk := &gate{memory: &memory{}, saving: make(chan chan struct{}, 1)}
	h, g := beside(t, disk, 5)
	slot := g.applied + 3
	arrive(g, slot, "from afar")
	h.touch(g)
	until(t, h, func() bool { return len(disk.saving) > 0 })
	apply(t, h, g, 10)
	close(<-disk.saving)
	until(t, h, func() bool { return disk.group(paxos.Main).header.Snapshot == slot })
	h.cfg.SnapshotSlots = 5
	h.touch(g)
	until(t, h, func() bool { return len(disk.saving) > 0 })
	close(<-disk.saving)
	until(t, h, func() bool { return !g.saving })
	if len(g.machine.(*journal).commands) != 15 || len(disk.saved) != 2 || disk.saved[0] != slot || disk.saved[1] != g.applied {
		t.Errorf("%d commands, saved %v; want 15, the one of slot %d and then that of slot %d", len(g.machine.(*journal).commands), disk.saved, slot, g.applied)
	}
}

// A group that is gone when its snapshot is written is left alone.
func TestGroupGoesWhileItsSnapshotIsWritten(t *testing.T) {
	disk := &gate{memory: &memory{}, saving: make(chan chan struct{}, 1)}
	h, g := beside(t, disk, 5)
	h.cfg.SnapshotSlots = 5
	apply(t, h, g, 1)
	until(t, h, func() bool { return len(disk.saving) > 0 })
	h.drop(g.id, paxos.Forever, make(chan error, 1))
	g.core = nil // nobody may look at it
	close(<-disk.saving)
	until(t, h, func() bool { return !g.saving && !h.busy })
}

// A damaged snapshot is not made durable.
func TestDamagedArrivalIsRefused(t *testing.T) {
	disk := &gate{memory: &memory{}}
	h, g := beside(t, disk, 5)
	arrive(g, g.applied+50, "from afar")
	g.arrived.pieces[1] = []byte("from a far")[:9]
	h.touch(g)
	until(t, h, func() bool { return g.arrived == nil })
	if len(disk.saved) > 0 || len(g.machine.(*journal).commands) != 5 {
		t.Errorf("saved %v, %q; want nothing changed", disk.saved, g.machine.(*journal).commands)
	}
}

// Pieces for peers are read beside the loop, one at a time; of one peer only the
// last wish counts.
func TestPiecesAreReadBesideTheLoop(t *testing.T) {
	disk := &gate{memory: &memory{}, reading: make(chan chan struct{}, 1)}
	h, g := beside(t, disk, 5)
	out := &sent{}
	h.cfg.Transport = out
	for _, c := range []paxos.ChunkRequest{{To: 7}, {To: 8}, {To: 9}, {To: 8, Slot: 1, Offset: 3}} {
		if err := h.sendChunk(g, c); err != nil {
			t.Fatal(err)
		}
	}
	apply(t, h, g, 5) // nothing waits for the disk
	for range 3 {
		until(t, h, func() bool { return len(disk.reading) > 0 })
		close(<-disk.reading)
	}
	until(t, h, func() bool { return h.reading == nil })
	var offsets []uint64
	for _, p := range out.packets {
		if c, ok := p.Msg.(paxos.SnapshotChunk); ok {
			offsets = append(offsets, c.Offset)
		}
	}
	if !reflect.DeepEqual(offsets, []uint64{0, 3, 0}) || disk.most != 1 {
		t.Errorf("sent the pieces at %v, up to %d read at once; want 0, 3, 0, one at a time", offsets, disk.most)
	}
}

// TestWhenASnapshotIsDue: see Config.SnapshotSlots and SnapshotBytes.
func TestWhenASnapshotIsDue(t *testing.T) {
	const mib = 1 << 20
	for _, tt := range []struct {
		name               string
		slots, bytes, size int
		feeding, saving    bool
		want               bool
	}{
		{name: "little was applied", slots: 99, bytes: 9 * mib},
		{name: "many slots", slots: 100, want: true},
		{name: "many bytes", bytes: 10 * mib, want: true},
		{name: "being written", slots: 100, saving: true},
		{name: "many slots for a large state", slots: 100, bytes: 1 * mib, size: 9 * mib},
		{name: "enough bytes for a large state", slots: 100, bytes: 5 * mib, size: 9 * mib, want: true},
		{name: "very many slots", slots: 400, bytes: 1 * mib, size: 9 * mib, want: true},
		{name: "many bytes for a larger state", bytes: 10 * mib, size: 90 * mib},
		{name: "very many bytes", bytes: 40 * mib, size: 90 * mib, want: true},
		{name: "a peer fetches it", slots: 100, feeding: true},
		{name: "a peer fetches it for long", slots: 400, feeding: true, want: true},
	} {
		h := &Host{cfg: Config{Self: 1, SnapshotSlots: 100, SnapshotBytes: 10 * mib}, now: time.Minute}
		g := &group{applied: 5000, snapAt: paxos.Slot(5000 - tt.slots), logBytes: tt.bytes, stateBytes: tt.size, saving: tt.saving}
		g.feeding, g.fed = tt.feeding, h.now-feedFor/2
		if got := h.due(g); got != tt.want {
			t.Errorf("%s: due %v; want %v", tt.name, got, tt.want)
		}
		if h.now += feedFor; h.feeds(g) {
			t.Errorf("%s: a peer that is silent counts as fetching", tt.name)
		}
	}
}

// A transfer whose sender dies goes on with another member that has the same
// snapshot, where it was; with one that has another it begins anew.
func TestTransferGoesOnWithAnother(t *testing.T) {
	for _, same := range []bool{true, false} {
		t.Run(fmt.Sprintf("same=%v", same), func(t *testing.T) {
			w := newWorld(t, 4, 3, func(c *Config) {
				c.SnapshotSlots, c.TailSlots = 20, 5
				if c.Self == 3 && !same {
					c.SnapshotSlots = 21
				}
			})
			l := w.settle()
			big := strings.Repeat("x", 100<<10)
			for i := range 45 {
				w.do(l, KindPropose, fmt.Sprint(i, big))
			}
			w.agree()
			at := func(i int) paxos.Slot { return w.nodes[i].disk.group(paxos.Main).snap.Slot }
			if same != (at(1) == at(2)) {
				t.Fatalf("the snapshots are of slots %d and %d", at(1), at(2))
			}
			var first synod.NodeID
			bytes, again, begun := map[synod.NodeID]int{}, 0, 0
			w.lose = func(from, to synod.NodeID, p Packet) bool {
				c, ok := p.Msg.(paxos.SnapshotChunk)
				if !ok || to != 4 {
					return false
				}
				if from == 1 || first == from && bytes[from] > int(c.Size)/2 {
					return true // node 1 sends none at all
				}
				if first == 0 {
					first = from
				}
				if from != first && c.Offset == 0 {
					begun++
				}
				if from != first && c.Offset > 0 && bytes[from] == 0 {
					again++
				}
				if c.Offset > 0 {
					bytes[from] += len(c.Data)
				}
				return false
			}
			w.nodes[3].host.Learn(paxos.Main, []synod.NodeID{2, 3})
			w.nodes[3].next = w.now
			w.until("the learner has caught up", func() bool {
				return w.nodes[3].machine != nil && w.nodes[3].machine.applied == w.nodes[l].machine.applied
			})
			other := synod.NodeID(5) - first
			size := len(w.nodes[other-1].disk.group(paxos.Main).snap.Data)
			switch {
			case begun == 0 || again == 0 || bytes[first] == 0:
				t.Errorf("node %d sent %v; want half from it, the rest from %d", first, bytes, other)
			case same && bytes[other] > size*2/3:
				t.Errorf("node %d sent %d bytes of %d; want what was missing", other, bytes[other], size)
			case !same && bytes[other] < size*2/3:
				t.Errorf("node %d sent %d bytes of %d; want all of its own snapshot", other, bytes[other], size)
			}
		})
	}
}

// broken is a disk that cannot write snapshots.
type broken struct {
	*memory
	writes int
}

var errBroken = errors.New("input/output error")

func (d *broken) SaveSnapshot(paxos.GroupID, paxos.Snapshot) error {
	d.writes++
	return errBroken
}

// A node whose disk has failed writes nothing more, for other groups neither.
func TestNothingIsWrittenAfterAFailedArrival(t *testing.T) {
	disk := &broken{memory: &memory{}}
	h := alone(t, disk.memory, 1)
	if err := h.Bootstrap(paxos.Main+1, first(1)); err != nil {
		t.Fatal(err)
	}
	h.cfg.Storage = disk
	for _, g := range []*group{h.groups[paxos.Main], h.groups[paxos.Main+1]} {
		arrive(g, g.applied+50, "from afar")
		h.touch(g)
	}
	if _, err := h.Poll(time.Second); !errors.Is(err, errBroken) || disk.writes != 1 {
		t.Errorf("Poll = %v after %d writes; want %v after one", err, disk.writes, errBroken)
	}
}
