package node

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prytany/prytany/internal/obs"
	"github.com/prytany/prytany/internal/storage"
	"github.com/prytany/prytany/paxos"
)

// refreshAge is how old the local state may seem before a stale read asks for
// news in the background.
const refreshAge = 500 * time.Millisecond

// groupLog is the log of one group as package locks wants it.
type groupLog struct {
	n *Node
	g paxos.GroupID

	fresh  atomic.Int64 // now() at the start of the latest barrier that succeeded, ns
	asking atomic.Bool  // a barrier is under way on behalf of stale reads
}

// Propose replicates cmd.
func (l *groupLog) Propose(ctx context.Context, cmd []byte) ([]byte, uint64, error) {
	r, err := l.n.host.Propose(ctx, l.g, cmd)
	return r.Payload, uint64(r.Slot), err
}

// Barrier waits until the local machine may be read.
func (l *groupLog) Barrier(ctx context.Context) error {
	begin := int64(now())
	_, err := l.n.host.Barrier(ctx, l.g)
	if err == nil {
		for old := l.fresh.Load(); old < begin && !l.fresh.CompareAndSwap(old, begin); {
			old = l.fresh.Load()
		}
	}
	return err
}

// Ask has the leader's machine answer req.
func (l *groupLog) Ask(ctx context.Context, req []byte) ([]byte, error) {
	return l.n.host.Ask(ctx, l.g, req)
}

// age bounds from above how old the local state is: everything that was chosen
// before the latest barrier began has been applied here. A node that serves
// stale reads keeps asking for barriers, so that the bound stays close while it
// can reach a quorum, and grows when it cannot.
func (l *groupLog) age() time.Duration {
	age := now() - time.Duration(l.fresh.Load())
	if age > refreshAge && l.asking.CompareAndSwap(false, true) {
		go func() {
			defer l.asking.Store(false)
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_ = l.Barrier(ctx)
		}()
	}
	return age
}

// A timedStore measures how long durable writes of the log take, and tells of
// each as it begins and ends. Of snapshots it does not: they are large, so that
// one may take long on a disk that is well. On one that hangs, the probe hangs
// too.
type timedStore struct {
	*storage.Store
	metrics *obs.Metrics
	vitals  *vitals
	wait    func() // while the disk hangs, as a test wants it
}

// Save implements replica.Storage.
func (s timedStore) Save(updates []paxos.Update) error {
	begin := time.Now()
	w := s.vitals.begin()
	s.wait()
	err := s.Store.Save(updates)
	s.vitals.end(w)
	s.metrics.ObserveFsync(time.Since(begin))
	return err
}
