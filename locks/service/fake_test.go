package service

import (
	"bytes"
	"context"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// A fakeLog applies commands to one machine, on a clock that starts with the
// log, and leads it. It fails as told.
type fakeLog struct {
	mu      sync.Mutex
	m       *locks.Machine
	start   time.Time
	slot    paxos.Slot
	propose func(n int, apply func()) error // decides the fate of the n-th Propose
	n       int
	barrier error
	askErr  error
	answer  []byte // if set: instead of applying

	asks  int
	delay func() time.Duration // of a question, and again of its answer

	follower *locks.Machine // if set: applies what is in behind later
	behind   []func(*locks.Machine)
}

func b(round uint64) synod.Ballot { return synod.Ballot{Round: round, Member: 1} }

func newFakeLog() *fakeLog {
	l := &fakeLog{m: locks.NewMachine(), start: time.Now()}
	l.lead()
	return l
}

func (l *fakeLog) now() time.Duration { return time.Since(l.start) }

func (l *fakeLog) apply(cmd []byte) []byte {
	l.slot++
	slot, now := l.slot, l.now()
	res := l.m.Apply(slot, cmd, now)
	l.m.Applied(slot)
	if l.follower != nil {
		l.behind = append(l.behind, func(m *locks.Machine) {
			m.Apply(slot, cmd, now)
			m.Applied(slot)
		})
	}
	return res
}

// follow returns another node's machine, which applies what is applied from now
// on only with catchUp.
func (l *fakeLog) follow(t testing.TB) *locks.Machine {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.follower = locks.NewMachine()
	restore(t, l.follower, l.m)
	return l.follower
}

// restore installs a snapshot of from in to.
func restore(t testing.TB, to, from *locks.Machine) {
	t.Helper()
	data, err := encoded(from.Snapshot())
	if err == nil {
		err = install(to, data)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// catchUp lets the follower apply everything.
func (l *fakeLog) catchUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, apply := range l.behind {
		apply(l.follower)
	}
	l.behind = nil
}

func (l *fakeLog) lead() { l.leadAs(b(1)) }

func (l *fakeLog) leadAs(b synod.Ballot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, cmd := range l.m.Lead(b, l.now()) {
		l.apply(cmd)
	}
}

// pass lets time pass, in which the leader ends what runs out.
func (l *fakeLog) pass(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(min(50*time.Millisecond, time.Until(end)))
		l.lead()
	}
	synctest.Wait()
}

func (l *fakeLog) Propose(ctx context.Context, cmd []byte) (res []byte, slot uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	if l.propose != nil {
		if err := l.propose(l.n, func() { l.apply(cmd) }); err != nil {
			return nil, 0, err
		}
	}
	if l.answer != nil {
		return l.answer, uint64(l.slot), nil
	}
	res = l.apply(cmd)
	return res, uint64(l.slot), nil
}

func (l *fakeLog) Barrier(context.Context) error { return l.barrier }

func (l *fakeLog) Ask(ctx context.Context, req []byte) ([]byte, error) {
	travel := func() error {
		if l.delay == nil {
			return nil
		}
		t := time.NewTimer(l.delay())
		defer t.Stop()
		select {
		case <-t.C:
			return nil
		case <-ctx.Done():
			return paxos.ErrUnknownOutcome
		}
	}
	if err := travel(); err != nil {
		return nil, err
	}
	a, err := l.answerTo(req)
	if err == nil {
		err = travel()
	}
	return a, err
}

func (l *fakeLog) answerTo(req []byte) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asks++
	if l.askErr != nil {
		return nil, l.askErr
	}
	return l.m.Ask(req, l.now()), nil
}

// lock returns what the machine knows of a lock.
func (l *fakeLog) lock(name string) (lk locks.Lock) {
	l.m.View(func(v locks.View) { lk, _ = v.Lock(name, 0) })
	return lk
}

// order applies a command as if another node had proposed it.
func (l *fakeLog) order(cmd locks.Command) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.apply(locks.Encode(cmd))
}

// open makes a session that lives for an hour.
func open(t testing.TB, s *Service, name string) string {
	t.Helper()
	x, _, err := s.CreateSession(t.Context(), CreateSession{Name: name, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return x.ID
}

func put(t testing.TB, s *Service, key string) (revision uint64) {
	t.Helper()
	e, _, _, err := s.Put(t.Context(), Put{Key: key, Value: []byte("v")})
	if err != nil {
		t.Fatal(err)
	}
	return e.Revision
}

// An acquired is the answer to one acquire.
type acquired struct {
	locks.Grant
	err error
}

// acquire asks for a lock, in the background if that takes time.
func acquire(t testing.TB, s *Service, r Acquire) <-chan acquired {
	got := make(chan acquired, 1)
	go func() {
		g, _, err := s.Acquire(t.Context(), r)
		got <- acquired{g, err}
	}()
	synctest.Wait()
	return got
}

// waits reports whether an acquire has no answer yet.
func waits(got <-chan acquired) bool {
	synctest.Wait()
	return len(got) == 0
}

// lose makes the n-th change from now on take effect unheard.
func (l *fakeLog) lose() {
	first := l.n + 1
	l.propose = func(n int, apply func()) error {
		if n == first {
			apply()
			return paxos.ErrUnknownOutcome
		}
		if n < first+1000 {
			return &paxos.NotLeaderError{}
		}
		return nil
	}
}

// install makes data the state of m.
func install(m *locks.Machine, data []byte) error {
	become, err := m.Restore(data)
	if err == nil {
		become()
	}
	return err
}

// encoded returns what encode writes.
func encoded(encode func(io.Writer) error) ([]byte, error) {
	var b bytes.Buffer
	err := encode(&b)
	return b.Bytes(), err
}
