package replica

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica/internal/image"
	"github.com/prytany/prytany/synod"
)

// memory is a Storage that survives its host.
type memory struct {
	groups  map[paxos.GroupID]*memoryGroup
	dropped map[paxos.GroupID]*Tombstone
	fail    error // of the next Save
	saves   int
	sweeps  int // that find something to do yet
	swept   int
	snaps   sync.Mutex // of all groups: they are written and read beside the rest
}

type memoryGroup struct {
	header paxos.Header
	votes  map[paxos.Slot]paxos.SlotVote
	snap   paxos.Snapshot
	saved  bool // else there is no more than a snapshot
}

func (m *memory) group(g paxos.GroupID) *memoryGroup {
	if m.groups == nil {
		m.groups = map[paxos.GroupID]*memoryGroup{}
	}
	if m.groups[g] == nil {
		m.groups[g] = &memoryGroup{votes: map[paxos.Slot]paxos.SlotVote{}}
	}
	return m.groups[g]
}

func (m *memory) Groups() (ids []paxos.GroupID, err error) {
	for id, g := range m.groups {
		if g.saved {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

func (m *memory) Load(g paxos.GroupID) (paxos.Durable, error) {
	if m.groups[g] == nil {
		return paxos.Durable{}, nil
	}
	d := paxos.Durable{Header: m.groups[g].header}
	for _, v := range m.groups[g].votes {
		d.Votes = append(d.Votes, v)
	}
	slices.SortFunc(d.Votes, func(a, b paxos.SlotVote) int { return cmp.Compare(a.Slot, b.Slot) })
	return d, nil
}

func (m *memory) Save(updates []paxos.Update) error {
	if m.fail != nil {
		return m.fail
	}
	m.saves++
	for _, u := range updates {
		if t := m.dropped[u.Group]; t != nil && (!t.Swept || t.Floor == paxos.Forever || u.Header.Floor < t.Floor) {
			return fmt.Errorf("save of group %d with floor %d, of which there is %+v", u.Group, u.Header.Floor, t)
		}
		delete(m.dropped, u.Group)
	}
	for _, u := range updates {
		g := m.group(u.Group)
		g.saved, g.header = true, u.Header
		g.header.Membership.Voters = slices.Clone(u.Header.Membership.Voters)
		for _, v := range u.Votes {
			g.votes[v.Slot] = v
		}
	}
	return nil
}

func (m *memory) SaveSnapshot(g paxos.GroupID, s paxos.Snapshot) error {
	if t := m.dropped[g]; t != nil && !t.Swept {
		return fmt.Errorf("snapshot of group %d, which was dropped", g)
	}
	m.snaps.Lock()
	defer m.snaps.Unlock()
	if was := m.group(g).snap.Slot; s.Slot < was {
		return fmt.Errorf("the snapshot of slot %d takes the place of that of slot %d", s.Slot, was)
	}
	s.Data = bytes.Clone(s.Data)
	m.group(g).snap = s
	return nil
}

func (m *memory) LoadSnapshot(g paxos.GroupID) (paxos.Snapshot, bool, error) {
	if m.groups[g] == nil || m.groups[g].snap.Slot == 0 || m.dropped[g] != nil {
		return paxos.Snapshot{}, false, nil
	}
	return m.groups[g].snap, true, nil
}

func (m *memory) ReadSnapshot(g paxos.GroupID, offset uint64, most int) (SnapshotPart, bool, error) {
	m.snaps.Lock()
	defer m.snaps.Unlock()
	if m.groups[g] == nil || m.groups[g].snap.Slot == 0 {
		return SnapshotPart{}, false, nil
	}
	s := m.groups[g].snap
	from := min(offset, uint64(len(s.Data)))
	to := min(from+uint64(most), uint64(len(s.Data)))
	return SnapshotPart{
		Slot: s.Slot, Membership: s.Membership, Size: uint64(len(s.Data)), Sum: image.Checksum(s.Data), Data: s.Data[from:to],
	}, true, nil
}

func (m *memory) Trim(g paxos.GroupID, below paxos.Slot) error {
	if m.group(g).header.Trimmed < below {
		return fmt.Errorf("trim below %d before the header says so", below)
	}
	for s := range m.group(g).votes {
		if s < below {
			delete(m.group(g).votes, s)
		}
	}
	return nil
}

func (m *memory) Drop(g paxos.GroupID, floor paxos.ConfigID) error {
	if m.dropped == nil {
		m.dropped = map[paxos.GroupID]*Tombstone{}
	}
	if t := m.dropped[g]; t != nil {
		floor = max(floor, t.Floor)
	}
	if old := m.groups[g]; old != nil {
		floor = max(floor, old.header.Floor)
	}
	m.dropped[g] = &Tombstone{Floor: floor}
	m.sweeps++
	delete(m.groups, g)
	return nil
}

func (m *memory) Dropped(g paxos.GroupID) (t Tombstone, ok bool, err error) {
	if d := m.dropped[g]; d != nil {
		return *d, true, nil
	}
	return t, false, nil
}

func (m *memory) Sweep() (more bool, err error) {
	if m.sweeps > 0 {
		m.sweeps, m.swept = m.sweeps-1, m.swept+1
	}
	for _, t := range m.dropped {
		t.Swept = m.sweeps == 0
	}
	return m.sweeps > 0, nil
}

// journal is a Machine that remembers its commands.
type journal struct {
	commands []string
	applied  paxos.Slot
	led      int // calls of Lead since leadership began
	wish     []string
}

func (j *journal) Apply(_ paxos.Slot, cmd []byte, _ time.Duration) []byte {
	j.commands = append(j.commands, string(cmd))
	return fmt.Appendf(nil, "did %s", cmd)
}
func (j *journal) Applied(slot paxos.Slot) { j.applied = slot }
func (j *journal) Snapshot() func(io.Writer) error {
	data := []byte(strings.Join(j.commands, "\n"))
	return func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}
}

func (j *journal) Restore(data []byte) (install func(), err error) {
	return func() {
		j.commands = nil
		if len(data) > 0 {
			j.commands = strings.Split(string(data), "\n")
		}
	}, nil
}
func (j *journal) Lead(synod.Ballot, time.Duration) (cmds [][]byte) {
	j.led++
	for _, w := range j.wish {
		cmds = append(cmds, []byte(w))
	}
	j.wish = nil
	return cmds
}
func (j *journal) Follow() { j.led = 0 }
func (j *journal) Ask(req []byte, _ time.Duration) []byte {
	if j.led == 0 {
		return []byte("asked a follower")
	}
	return fmt.Appendf(nil, "heard %s", req)
}

// world is a cluster in one goroutine and virtual time.
type world struct {
	t      *testing.T
	now    time.Duration
	rand   *rand.Rand
	drop   float64 // share of packets that are lost
	repeat float64 // share of packets that come twice
	edit   func(*Config)
	lose   func(from, to synod.NodeID, p Packet) bool // nil: none is lost but by chance
	nodes  []*actor                                   // nodes[i] has ID i+1
	wires  []wire
	seq    int
	cut    map[[2]synod.NodeID]bool
	open   int // requests without an answer
}

type actor struct {
	id      synod.NodeID
	disk    *memory
	host    *Host // nil: stopped
	machine *journal
	lives   uint64
	next    time.Duration
}

type wire struct {
	at       time.Duration
	seq      int
	from, to synod.NodeID
	p        Packet
}

type port struct {
	w    *world
	from synod.NodeID
}

func (p port) Send(to synod.NodeID, pk Packet) {
	p.w.checkDurable(p.from, pk)
	p.w.send(p.from, to, pk)
}

// checkDurable fails if a node speaks of a turn that its disk does not hold.
// Accepts may be early.
func (w *world) checkDurable(from synod.NodeID, p Packet) {
	switch p.Msg.(type) {
	case paxos.Prepare, paxos.Promise, paxos.Accepted:
	default:
		return
	}
	a := w.nodes[from-1]
	save := &a.host.groups[p.Group].out.Save
	if !save.Dirty {
		return
	}
	disk := a.disk.group(p.Group)
	if !reflect.DeepEqual(disk.header, save.Header) {
		w.t.Errorf("node %d sends %T with %+v; durable is %+v", from, p.Msg, save.Header, disk.header)
	}
	for _, v := range save.Votes {
		if latest := disk.votes[v.Slot]; latest.Slot == 0 || latest.Vote.Ballot.Less(v.Vote.Ballot) {
			w.t.Errorf("node %d sends %T with %+v; durable is %+v", from, p.Msg, v, latest)
		}
	}
}

func (w *world) send(from, to synod.NodeID, p Packet) {
	if w.lose != nil && w.lose(from, to, p) {
		return
	}
	if w.rand.Float64() < w.drop || w.cut[[2]synod.NodeID{min(from, to), max(from, to)}] {
		return
	}
	w.seq++
	delay := 500*time.Microsecond + time.Duration(w.rand.IntN(1000))*time.Microsecond
	w.wires = append(w.wires, wire{w.now + delay, w.seq, from, to, p})
	if w.rand.Float64() < w.repeat {
		w.seq++
		delay += time.Duration(w.rand.IntN(100)) * time.Millisecond
		w.wires = append(w.wires, wire{w.now + delay, w.seq, from, to, p})
	}
}

// newWorld returns n nodes whose main group has the first voters of them.
func newWorld(t *testing.T, n, voters int, edit func(*Config)) *world {
	w := &world{t: t, rand: rand.New(rand.NewPCG(1, 2)), edit: edit, cut: map[[2]synod.NodeID]bool{}}
	for i := range n {
		w.nodes = append(w.nodes, &actor{id: synod.NodeID(i + 1), disk: &memory{}})
		w.start(i)
		if i < voters {
			if err := w.nodes[i].host.Bootstrap(paxos.Main, first(voters)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return w
}

// first returns the first configuration of nodes 1 to n.
func first(n int) paxos.Membership {
	m := paxos.Membership{ID: 1, Leader: 1, Next: synod.Ordinal(n + 1)}
	for i := range n {
		m.Voters = append(m.Voters, paxos.Member{Node: synod.NodeID(i + 1), Ordinal: synod.Ordinal(i + 1)})
	}
	return m
}

func (w *world) start(i int) {
	a := w.nodes[i]
	a.lives++
	cfg := Config{
		Self:      a.id,
		Leader:    leader.Config{Self: a.id, Incarnation: a.lives, Seed: uint64(a.id)},
		Storage:   a.disk,
		Transport: port{w, a.id},
		NewMachine: func(paxos.GroupID) Machine {
			a.machine = &journal{}
			return a.machine
		},
	}
	if w.edit != nil {
		w.edit(&cfg)
	}
	host, err := NewHost(cfg, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	a.host, a.next = host, w.now
}

// stop ends node i as a crash would; its callers are told, and its peers.
func (w *world) stop(i int) {
	a := w.nodes[i]
	a.host.Close()
	a.host = nil
	for _, b := range w.nodes {
		if b.host != nil {
			b.host.Disconnected(a.id)
		}
	}
}

// step goes to the next moment at which something happens.
func (w *world) step() {
	at := w.now + time.Second
	for _, x := range w.wires {
		at = min(at, x.at)
	}
	for _, a := range w.nodes {
		if a.host != nil {
			at = min(at, a.next)
		}
	}
	w.now = max(w.now, at)
	slices.SortFunc(w.wires, func(a, b wire) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.seq, b.seq)) })
	for len(w.wires) > 0 && w.wires[0].at <= w.now {
		x := w.wires[0]
		w.wires = w.wires[1:]
		if a := w.nodes[x.to-1]; a.host != nil {
			a.host.Deliver(x.from, x.p)
			a.next = w.now
		}
	}
	for _, a := range w.nodes {
		if a.host == nil || a.next > w.now {
			continue
		}
		next, err := a.host.Poll(w.now)
		if err != nil {
			w.t.Fatalf("node %d: %v", a.id, err)
		}
		a.next = next
	}
}

// run lets d pass.
func (w *world) run(d time.Duration) {
	for end := w.now + d; w.now < end; {
		w.step()
	}
}

// until lets time pass until ok, or fails after a minute of it.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for end := w.now + time.Minute; !ok(); {
		if w.now > end {
			for _, a := range w.nodes {
				if a.host != nil {
					groups, links := a.host.Status()
					w.t.Logf("node %d: %+v %+v", a.id, groups, links)
				}
			}
			w.t.Fatalf("not within a minute: %s", what)
		}
		w.step()
	}
}

// leader returns the index of a node whose machine leads, -1 if none does.
func (w *world) leader() int {
	return slices.IndexFunc(w.nodes, func(a *actor) bool { return a.host != nil && a.machine != nil && a.machine.led > 0 })
}

// settle waits for a leader that all running nodes know.
func (w *world) settle() int {
	w.t.Helper()
	w.until("a leader that all know", func() bool {
		l := w.leader()
		for _, a := range w.nodes {
			if a.host == nil || a.host.groups[paxos.Main] == nil {
				continue
			}
			if n, content := a.host.node.Leader(uint64(paxos.Main)); l < 0 || n != w.nodes[l].id || !content {
				return false
			}
		}
		return true
	})
	return w.leader()
}

// submit hands a request to node i; the result is there once its pointer is
// not nil.
func (w *world) submit(i int, k RequestKind, payload string) **Result {
	w.open++
	res := new(*Result)
	w.nodes[i].host.Submit(paxos.Main, k, []byte(payload), func(r Result) {
		if *res != nil {
			w.t.Errorf("%q ended twice: %+v, %+v", payload, **res, r)
		}
		w.open--
		*res = &r
	})
	w.nodes[i].next = w.now
	return res
}

// do waits for a request that must succeed, repeating it while it has
// certainly not happened.
func (w *world) do(i int, k RequestKind, payload string) Result {
	w.t.Helper()
	for range 100 {
		res := w.submit(i, k, payload)
		w.until("an answer to "+payload, func() bool { return *res != nil })
		var refused *paxos.NotLeaderError
		if r := **res; errors.As(r.Err, &refused) {
			w.run(10 * time.Millisecond)
			continue
		}
		if (*res).Err != nil {
			w.t.Fatalf("%q on node %d: %v", payload, i+1, (*res).Err)
		}
		return **res
	}
	w.t.Fatalf("%q on node %d is refused for ever", payload, i+1)
	return Result{}
}

// agree waits until all running members have applied the same commands, and
// returns them.
func (w *world) agree() []string {
	w.t.Helper()
	var first *journal
	w.until("all have applied the same", func() bool {
		first = nil
		for _, a := range w.nodes {
			if a.host == nil || a.machine == nil {
				continue
			}
			if first == nil {
				first = a.machine
			}
			if a.machine.applied != first.applied {
				return false
			}
		}
		return true
	})
	for _, a := range w.nodes {
		if a.host != nil && a.machine != nil && !slices.Equal(a.machine.commands, first.commands) {
			w.t.Fatalf("node %d has applied %d commands, another %d, or others", a.id, len(a.machine.commands), len(first.commands))
		}
	}
	return first.commands
}
