package replica

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// silent is a Transport to nobody.
type silent struct{}

func (silent) Send(synod.NodeID, Packet) {}

func alone(t *testing.T, disk Storage, voters int) *Host {
	h, err := NewHost(Config{
		Self:       1,
		Leader:     leader.Config{Self: 1, Incarnation: 1},
		Storage:    disk,
		Transport:  silent{},
		NewMachine: func(paxos.GroupID) Machine { return &journal{} },
		RetryAfter: time.Minute,
	}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Bootstrap(paxos.Main, first(voters)); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := alone(t, &memory{}, 1)
		ctx, cancel := context.WithCancelCause(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- h.Run(ctx) }()
		for i := range 10 {
			cmd := fmt.Sprint(i)
			if r, err := h.Propose(t.Context(), paxos.Main, []byte(cmd)); err != nil || string(r.Payload) != "did "+cmd {
				t.Fatalf("Propose(%q) = %q, %v", cmd, r.Payload, err)
			}
		}
		if slot, err := h.Barrier(t.Context(), paxos.Main); err != nil || slot < 11 {
			t.Errorf("Barrier = %d, %v; want at least slot 11", slot, err)
		}
		if a, err := h.Ask(t.Context(), paxos.Main, []byte("q")); err != nil || string(a) != "heard q" {
			t.Errorf("Ask = %q, %v", a, err)
		}
		cause := errors.New("enough")
		cancel(cause)
		if err := <-ended; !errors.Is(err, cause) {
			t.Errorf("Run = %v; want the cause", err)
		}
		if _, err := h.Propose(t.Context(), paxos.Main, nil); !errors.Is(err, paxos.ErrStopped) {
			t.Errorf("after the end: %v; want %v", err, paxos.ErrStopped)
		}
	})
}

func TestProposeTimeoutIsNotAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := alone(t, &memory{}, 3) // the others are not there: nobody can lead
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- h.Run(ctx) }()
		short, done := context.WithTimeout(t.Context(), 3*time.Second)
		defer done()
		start := time.Now()
		_, err := h.Propose(short, paxos.Main, []byte("acquire"))
		if !errors.Is(err, paxos.ErrUnknownOutcome) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("err = %v; want unknown outcome and deadline", err)
		}
		if got := time.Since(start); got != 3*time.Second {
			t.Errorf("waited %v; want exactly 3s", got)
		}
		cancel()
		<-ended
	})
}

// slow is a disk that takes 600 ms for every write.
type slow struct{ *memory }

func (s slow) Save(updates []paxos.Update) error {
	time.Sleep(600 * time.Millisecond)
	return s.memory.Save(updates)
}

func TestSlowDiskIsUnwell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := alone(t, &memory{}, 1)
		h.cfg.Storage = slow{h.cfg.Storage.(*memory)}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- h.Run(ctx) }()
		if _, err := h.Propose(t.Context(), paxos.Main, []byte("a")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		cancel()
		<-ended
		if h.well.Disk {
			t.Error("a disk that took 600 ms for a write counts as well a second later")
		}
	})
}

func TestRunEndsWhenTheDiskFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &memory{}
		h := alone(t, disk, 1)
		broken := errors.New("input/output error")
		disk.fail = broken
		ended := make(chan error, 1)
		go func() { ended <- h.Run(t.Context()) }()
		if _, err := h.Propose(t.Context(), paxos.Main, []byte("a")); err == nil {
			t.Error("a proposal succeeded on a broken disk")
		}
		if err := <-ended; !errors.Is(err, broken) {
			t.Errorf("Run = %v; want the disk's error", err)
		}
		if _, err := h.Poll(time.Hour); !errors.Is(err, broken) {
			t.Errorf("Poll = %v; want the disk's error for good", err)
		}
	})
}

// slowSnapshots is a disk that takes a minute for every snapshot, and counts the
// votes that it is told to drop at a time.
type slowSnapshots struct {
	*memory
	fail  error
	saved chan paxos.Slot
	most  paxos.Slot
	below paxos.Slot
}

func (s *slowSnapshots) SaveSnapshot(g paxos.GroupID, snap paxos.Snapshot) error {
	time.Sleep(time.Minute)
	if s.fail != nil {
		return s.fail
	}
	err := s.memory.SaveSnapshot(g, snap)
	s.saved <- snap.Slot
	return err
}

func (s *slowSnapshots) Trim(g paxos.GroupID, below paxos.Slot) error {
	s.most, s.below = max(s.most, below-s.below), below
	return s.memory.Trim(g, below)
}

// TestSnapshotsDoNotHoldUpTheLoop: while a snapshot is written commands go on, no
// other snapshot is begun, and what it makes superfluous is dropped bit by bit.
func TestSnapshotsDoNotHoldUpTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &slowSnapshots{memory: &memory{}, saved: make(chan paxos.Slot, 10), below: 2}
		h := alone(t, disk.memory, 1)
		h.cfg.Storage, h.cfg.SnapshotSlots, h.cfg.TailSlots = disk, 1000, 10
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- h.Run(ctx) }()
		const commands = 2500
		begin := time.Now()
		for range commands {
			if _, err := h.Propose(t.Context(), paxos.Main, []byte("a")); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begin); took > 30*time.Second {
			t.Errorf("%d commands took %v; want them not to wait for the snapshot", commands, took)
		}
		if slot := <-disk.saved; slot < 1000 || slot >= commands {
			t.Errorf("the first snapshot is of slot %d; want one in the middle", slot)
		}
		<-disk.saved // the next one, begun when the first was written
		time.Sleep(10 * time.Second)
		cancel()
		<-ended
		if disk.below < 2000 || disk.most > trimSlots {
			t.Errorf("trimmed below %d, up to %d at a time; want at least 2000 and at most %d", disk.below, disk.most, trimSlots)
		}
	})
}

// TestRunEndsWhenASnapshotFails: as after any other failed write.
func TestRunEndsWhenASnapshotFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("input/output error")
		disk := &slowSnapshots{memory: &memory{}, fail: broken}
		h := alone(t, disk.memory, 1)
		h.cfg.Storage, h.cfg.SnapshotSlots = disk, 10
		ended := make(chan error, 1)
		go func() { ended <- h.Run(t.Context()) }()
		for range 20 {
			if _, err := h.Propose(t.Context(), paxos.Main, []byte("a")); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-ended; !errors.Is(err, broken) {
			t.Errorf("Run = %v; want the disk's error", err)
		}
	})
}
