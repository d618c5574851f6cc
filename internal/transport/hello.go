package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/prytany/prytany/synod"
)

// protocol is the version of the hello and of what follows it. Nodes with
// different versions do not talk.
const protocol = 1

// A hello is the first thing on a connection, in each direction:
//
//	magic        "PRYT"
//	protocol     byte
//	lane         byte
//	refused      byte: 1 if the sender is about to close the connection
//	cluster      byte: its length
//	node         uint64, little endian: the sender
//	wanted       uint64: whom the sender believes to talk to
//	incarnation  uint64: the sender's
//	cluster      bytes
//
// Magic and protocol stay where they are in all versions, so that each can
// tell that it does not understand the other.
type hello struct {
	protocol     byte
	lane         lane
	refused      bool
	node, wanted synod.NodeID
	incarnation  uint64
	cluster      string
}

const (
	magic     = "PRYT"
	helloHead = len(magic) + 4 + 3*8
	helloFore = len(magic) + 1 // what all versions share
)

var (
	errNoHello = errors.New("transport: not a hello")
	errCluster = errors.New("transport: the cluster's name is longer than 255 bytes")
)

// A refusalError says why two nodes do not talk.
type refusalError struct{ why, addr string }

func (e *refusalError) Error() string { return "transport: refused " + e.addr + ": " + e.why }

// hello is what this node says to wanted.
func (t *Transport) hello(wanted synod.NodeID, l lane) hello {
	return hello{
		protocol: protocol, lane: l, node: t.cfg.Self, wanted: wanted,
		incarnation: t.cfg.Incarnation, cluster: t.cfg.Cluster(),
	}
}

func (h hello) write(w io.Writer) error {
	if len(h.cluster) > 255 {
		return errCluster
	}
	b := append(make([]byte, 0, helloHead+len(h.cluster)), magic...)
	b = append(b, h.protocol, byte(h.lane), 0, byte(len(h.cluster)))
	if h.refused {
		b[helloFore+1] = 1
	}
	for _, n := range []uint64{uint64(h.node), uint64(h.wanted), h.incarnation} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	_, err := w.Write(append(b, h.cluster...))
	return err
}

// readHello reads no byte more than the hello. Of a hello of another protocol
// it reads and returns only that.
func readHello(r io.Reader) (hello, error) {
	var b [helloHead]byte
	if _, err := io.ReadFull(r, b[:helloFore]); err != nil {
		return hello{}, err
	}
	h := hello{protocol: b[len(magic)]}
	if string(b[:len(magic)]) != magic {
		return hello{}, errNoHello
	}
	if h.protocol != protocol {
		return h, nil
	}
	if _, err := io.ReadFull(r, b[helloFore:]); err != nil {
		return hello{}, err
	}
	cluster := make([]byte, b[helloFore+2])
	if _, err := io.ReadFull(r, cluster); err != nil {
		return hello{}, err
	}
	ids := b[helloFore+3:]
	h.lane, h.refused, h.cluster = lane(b[helloFore]), b[helloFore+1] != 0, string(cluster)
	h.node = synod.NodeID(binary.LittleEndian.Uint64(ids))
	h.wanted = synod.NodeID(binary.LittleEndian.Uint64(ids[8:]))
	h.incarnation = binary.LittleEndian.Uint64(ids[16:])
	if h.lane >= lanes || h.node == 0 {
		return hello{}, errNoHello
	}
	return h, nil
}

// mismatch says why a node that says ours must not talk to one that says h; ""
// if it may. A node that belongs to no cluster yet may talk to all.
func (h hello) mismatch(ours hello) string {
	switch {
	case h.protocol != ours.protocol:
		return fmt.Sprintf("it speaks version %d of the protocol, this node %d", h.protocol, ours.protocol)
	case h.wanted != ours.node:
		return fmt.Sprintf("it wants to talk to node %v, this is node %v: an address is used again", h.wanted, ours.node)
	case h.node != ours.wanted:
		return fmt.Sprintf("it is node %v, not %v: an address is used again", h.node, ours.wanted)
	case h.cluster != "" && ours.cluster != "" && h.cluster != ours.cluster:
		return fmt.Sprintf("it belongs to cluster %q, this node to %q", h.cluster, ours.cluster)
	}
	return ""
}
