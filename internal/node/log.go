package node

import (
	"context"

	"github.com/prytany/prytany/paxos"
)

// groupLog is the log of one group as package locks wants it.
type groupLog struct {
	n *Node
	g paxos.GroupID
}

// Propose replicates cmd.
func (l groupLog) Propose(ctx context.Context, cmd []byte) ([]byte, uint64, error) {
	r, err := l.n.host.Propose(ctx, l.g, cmd)
	return r.Payload, uint64(r.Slot), err
}

// Barrier waits until the local machine may be read.
func (l groupLog) Barrier(ctx context.Context) error {
	_, err := l.n.host.Barrier(ctx, l.g)
	return err
}

// Ask has the leader's machine answer req.
func (l groupLog) Ask(ctx context.Context, req []byte) ([]byte, error) {
	return l.n.host.Ask(ctx, l.g, req)
}
