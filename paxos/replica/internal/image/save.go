package image

import (
	"bytes"
	"io"

	"github.com/prytany/prytany/internal/mutant"
	"github.com/prytany/prytany/paxos"
)

// Save saves what encode writes as the Data of s, and returns its length: as it is
// written, if st is a replica.Streamer.
func Save(st interface {
	SaveSnapshot(g paxos.GroupID, s paxos.Snapshot) error
}, g paxos.GroupID, s paxos.Snapshot, encode func(io.Writer) error) (size int, err error) {
	if mutant.On(mutant.CutsFirst) {
		return 0, nil
	}
	if mutant.On(mutant.SnapshotBehind) {
		s.Slot--
	}
	if st, ok := st.(interface {
		StreamSnapshot(g paxos.GroupID, s paxos.Snapshot, encode func(io.Writer) error) (size int, err error)
	}); ok {
		return st.StreamSnapshot(g, s, encode)
	}
	if s.Data, err = Encoded(encode); err != nil {
		return 0, err
	}
	return len(s.Data), st.SaveSnapshot(g, s)
}

// Encoded returns what encode writes.
func Encoded(encode func(io.Writer) error) ([]byte, error) {
	var b bytes.Buffer
	err := encode(&b)
	return b.Bytes(), err
}
