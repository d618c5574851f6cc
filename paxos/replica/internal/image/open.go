package image

import (
	"errors"

	"github.com/prytany/prytany/paxos"
)

// Open makes a snapshot of its pieces, and has restore read it, for a group in
// configuration config. It returns what makes it the state, or why it is refused, which
// is its sender's fault, or what has failed, which is this node's. It forgets the pieces.
func Open(first paxos.SnapshotChunk, pieces [][]byte, config paxos.ConfigID, restore func([]byte) (func(), error)) (
	s paxos.Snapshot, become func(), refused, failed error,
) {
	if s, refused = Join(first, pieces); refused != nil {
		return s, nil, refused, nil
	}
	if s.Membership.ID < config || s.Membership.Start > s.Slot {
		return s, nil, errors.New("its configuration makes no sense here"), nil
	}
	become, failed = restore(s.Data)
	return s, become, nil, failed
}
