//go:build unix

package storage_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/storage"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

// null is a machine without a state that never wants to lead anything.
type null struct{}

func (null) Apply(paxos.Slot, []byte, time.Duration) []byte      { return nil }
func (null) Applied(paxos.Slot)                                  {}
func (null) Snapshot() func(io.Writer) error                     { return func(io.Writer) error { return nil } }
func (null) Restore([]byte) (func(), error)                      { return func() {}, nil }
func (null) Lead(synod.Ballot, time.Duration) [][]byte           { return nil }
func (null) Follow()                                             {}
func (null) Ask([]byte, time.Duration) []byte                    { return nil }
func (null) Next(time.Duration) (at time.Duration, someDay bool) { return 0, false }

// A net brings packets to hosts in this process.
type net struct{ hosts []*replica.Host }

type port struct {
	net  *net
	from synod.NodeID
}

func (p port) Send(to synod.NodeID, pk replica.Packet) { p.net.hosts[to-1].Deliver(p.from, pk) }

func config(s replica.Storage, self synod.NodeID, via replica.Transport) replica.Config {
	cfg := replica.Config{Self: self, Storage: s, Transport: via, NewMachine: func(paxos.GroupID) replica.Machine { return null{} }}
	cfg.Leader.Self, cfg.Leader.Incarnation, cfg.Leader.Seed = self, 1, uint64(self)
	return cfg
}

// voters returns the first configuration of nodes 1 to n.
func voters(n int) paxos.Membership {
	m := paxos.Membership{ID: 1, Leader: 1, Next: synod.Ordinal(n + 1)}
	for i := range n {
		m.Voters = append(m.Voters, paxos.Member{Node: synod.NodeID(i + 1), Ordinal: synod.Ordinal(i + 1)})
	}
	return m
}

// spent returns the processor time of this process: unlike the clock it does not count
// what others do.
func spent(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestAThousandGroupsStart: a node with many groups is ready soon after a restart,
// and has written nothing for it but what opening the files takes.
func TestAThousandGroupsStart(t *testing.T) { both(t, aThousandGroupsStart) }

func aThousandGroupsStart(t *testing.T) {
	const groups, slots = 1000, 100
	dir := t.TempDir()
	s := open(t, dir)
	begin, updates := []replica.Beginning{}, []paxos.Update{}
	for g := range paxos.GroupID(groups) {
		h := paxos.Header{Membership: voters(3), Decided: 1, Snapshot: 1, Trimmed: 2}
		begin = append(begin, replica.Beginning{Group: g + 1, Header: h, Snapshot: paxos.Snapshot{Slot: 1, Membership: h.Membership}})
		h.Promised = synod.Ballot{Round: 1, Member: 1}
		u := paxos.Update{Group: g + 1, Dirty: true, Header: h}
		for slot := range paxos.Slot(slots) {
			v := synod.Vote{Ballot: h.Promised, Value: paxos.EncodeBatch(h.Promised, [][]byte{[]byte("command")})}
			u.Votes = append(u.Votes, paxos.SlotVote{Slot: slot + 2, Config: 1, Vote: v})
		}
		u.Header.Decided = slots + 1
		updates = append(updates, u)
	}
	if err := s.Begin(begin); err != nil {
		t.Fatal(err)
	}
	if names := snapshotFiles(t, dir); len(names) > 0 {
		t.Errorf("small snapshots have %d files", len(names))
	}
	if err := s.Save(updates); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	start := spent(t)
	s = open(t, dir)
	opened := spent(t)
	before := read(t, dir)
	h, err := replica.NewHost(config(s, 1, port{&net{}, 1}), 0)
	if err != nil {
		t.Fatal(err)
	}
	loaded := spent(t)
	t.Logf("%d groups of %d slots: open %v, load %v of processor time", groups, slots, opened-start, loaded-opened)
	if loaded-start > 10*time.Second {
		t.Errorf("ready after %v; want 10 s at most", loaded-start)
	}
	after := read(t, dir)
	for name, b := range before { // an append-only log may have got another empty segment
		if !bytes.Equal(after[name], b) {
			t.Error("loading the groups has written something into", name)
		}
	}
	if all, _ := h.Status(); len(all) != groups || all[groups-1].Decided != slots+1 {
		t.Errorf("%d groups are there", len(all))
	}
}

// TestAKillWhileGroupsComeAndGo copies the files after each step of creating,
// dropping and sweeping, and opens the copy: a group is there as a whole, or not at
// all, or dropped.
func TestAKillWhileGroupsComeAndGo(t *testing.T) { both(t, aKillWhileGroupsComeAndGo) }

func aKillWhileGroupsComeAndGo(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	big := paxos.Snapshot{Slot: 1, Membership: voters(3), Data: bytes.Repeat([]byte("x"), 17<<20)}
	small := paxos.Snapshot{Slot: 1, Membership: voters(3), Data: []byte("x")}
	h := paxos.Header{Membership: voters(3), Decided: 1, Snapshot: 1, Trimmed: 2, Promised: synod.Ballot{Round: 1, Member: 1}}
	var votes []paxos.SlotVote
	for slot := range paxos.Slot(2200) {
		votes = append(votes, paxos.SlotVote{Slot: slot + 2, Config: 1, Vote: synod.Vote{Ballot: h.Promised, Value: "v"}})
	}
	floors := map[paxos.GroupID]paxos.ConfigID{} // of what is dropped
	there := map[paxos.GroupID]int{}             // groups and how many votes they have
	check := func(step string) {
		t.Helper()
		copied := filepath.Join(t.TempDir(), "copy")
		read(t, dir).write(t, copied)
		c := open(t, copied)
		defer func() { _ = c.Close() }()
		ids, err := c.Groups()
		if err != nil || len(ids) != len(there) {
			t.Fatalf("after %s: groups %v, %v; want %v", step, ids, err, there)
		}
		for _, g := range []paxos.GroupID{1, 2, 3} {
			is, gone, err := c.Dropped(g)
			if floor, want := floors[g]; err != nil || gone != want || is.Floor != floor {
				t.Fatalf("after %s: Dropped(%d) = %+v, %v, %v; want floor %d, %v", step, g, is, gone, err, floor, want)
			}
			d, err := c.Load(g)
			if err != nil || len(d.Votes) != there[g] {
				t.Fatalf("after %s: group %d has %d votes, %v; want %d", step, g, len(d.Votes), err, there[g])
			}
			if _, ok, err := c.LoadSnapshot(g); err != nil || gone && ok || !ok && d.Header.Snapshot > 0 {
				t.Fatalf("after %s: snapshot of group %d: %v, %v", step, g, ok, err)
			}
		}
		for i := 0; ; i++ { // and it can be swept to the end
			if more, err := c.Sweep(); err != nil || i > 20 {
				t.Fatalf("after %s: Sweep: %v", step, err)
			} else if !more {
				break
			}
		}
	}
	must := func(step string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", step, err)
		}
		check(step)
	}
	there[1], there[2] = 0, 0
	must("begin", s.Begin([]replica.Beginning{{Group: 1, Snapshot: big, Header: h}, {Group: 2, Snapshot: small, Header: h}}))
	there[1], there[2] = len(votes), 1
	must("save", s.Save([]paxos.Update{{Group: 1, Dirty: true, Header: h, Votes: votes}, {Group: 2, Dirty: true, Header: h, Votes: votes[:1]}}))
	delete(there, 1)
	sweep := func() {
		for more := true; more; {
			var err error
			if more, err = s.Sweep(); err != nil {
				t.Fatal(err)
			}
			check("sweep")
		}
	}
	floors[1] = 1
	must("drop", s.Drop(1, 1))
	floors[3] = paxos.Forever
	must("drop of an unknown one", s.Drop(3, paxos.Forever))
	if names := snapshotFiles(t, dir); len(names) != 1 {
		t.Fatalf("files of snapshots: %v; want that of the dropped group", names)
	}
	sweep()
	if names := snapshotFiles(t, dir); len(names) > 0 {
		t.Fatalf("files of snapshots: %v; want none after the sweep", names)
	}
	must("first snapshot of the new part", s.SaveSnapshot(1, big))
	delete(floors, 1)
	there[1] = 5
	low := h
	low.Floor = 1
	must("header of the new part", s.Save([]paxos.Update{{Group: 1, Dirty: true, Header: low, Votes: votes[:5]}}))
	delete(there, 1)
	floors[1] = 2
	must("second drop", s.Drop(1, 2))
	floors[1] = 4
	must("third drop", s.Drop(1, 4))
	sweep()
	must("save of another", s.Save([]paxos.Update{{Group: 2, Dirty: true, Header: h}}))
}

// BenchmarkGroups is what 64 clients get through that use one group, or 16 of them.
func BenchmarkGroups(b *testing.B) {
	for _, n := range []int{1, 16} {
		for _, kind := range []string{storage.LogBolt, storage.LogAppend} {
			b.Run(fmt.Sprintf("groups=%d/%s", n, kind), func(b *testing.B) { busy(b, n, kind) })
		}
	}
}

func busy(b *testing.B, groups int, kind string) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	x := &net{}
	for i := range 3 {
		s, err := openB(b.TempDir(), kind)
		if err != nil {
			b.Fatal(err)
		}
		h, err := replica.NewHost(config(s, synod.NodeID(i+1), port{x, synod.NodeID(i + 1)}), 0)
		if err != nil {
			b.Fatal(err)
		}
		for g := range paxos.GroupID(groups) {
			if err := h.Bootstrap(g+1, voters(3)); err != nil {
				b.Fatal(err)
			}
		}
		x.hosts = append(x.hosts, h)
		defer func(s *storage.Store) { running.Wait(); _ = s.Close() }(s)
	}
	for _, h := range x.hosts {
		running.Go(func() { _ = h.Run(ctx) })
	}
	cmd := bytes.Repeat([]byte("c"), 100)
	propose := func(client int) {
		for ctx.Err() == nil {
			if _, err := x.hosts[0].Propose(ctx, paxos.GroupID(client%groups+1), cmd); err == nil {
				return
			}
		}
	}
	for g := range groups {
		propose(g) // there is a leader
	}
	var left atomic.Int64
	var clients sync.WaitGroup
	left.Store(int64(b.N))
	before := spent(b)
	b.ResetTimer()
	for c := range 64 {
		clients.Go(func() {
			for left.Add(-1) >= 0 {
				propose(c)
			}
		})
	}
	clients.Wait()
	b.StopTimer()
	b.ReportMetric(float64(spent(b)-before)/float64(b.N), "cpu-ns/op")
	cancel()
}
