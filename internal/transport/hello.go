package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/prytany/prytany/internal/mutant"
	"github.com/prytany/prytany/internal/roster"
	"github.com/prytany/prytany/synod"
)

// protocol is the version of the hello and of what follows it. Nodes with
// different versions do not talk.
const protocol = 2

// A hello is the first thing on a connection, in each direction:
//
//	magic        "PRYT"
//	protocol     byte
//	lane         byte
//	flags        byte: 1 if the sender is about to close the connection, 2 if it
//	             can send datagrams, 4 if a cookie follows
//	cluster      byte: its length
//	node         uint64, little endian: the sender
//	wanted       uint64: whom the sender believes to talk to
//	incarnation  uint64: the sender's
//	nonce        uint64: drawn by the sender's process
//	seen         3 uint64: incarnation, nonce and position that the sender
//	             remembers of whom it talks to; 0 if it has never seen it
//	cluster      bytes
//	cookie       uint64: with it the other side may send datagrams to the sender
//
// A cookie is only in an answer to a hello with flag 2.
//
// Magic and protocol stay where they are in all versions, so that each can
// tell that it does not understand the other.
type hello struct {
	protocol     byte
	lane         lane
	refused      bool
	able         bool // to send datagrams
	node, wanted synod.NodeID
	incarnation  uint64
	nonce        uint64
	seen         roster.Sighting
	cluster      string
	cookie       uint64 // 0: none
}

const (
	magic     = "PRYT"
	helloHead = len(magic) + 4 + 7*8
	helloFore = len(magic) + 1 // what all versions share

	flagRefused, flagAble, flagCookie = 1, 2, 4
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
		incarnation: t.cfg.Incarnation, nonce: t.cfg.Nonce, seen: t.registry.seen(wanted), cluster: t.cfg.Cluster(),
	}
}

func (h hello) write(w io.Writer) error {
	if len(h.cluster) > 255 {
		return errCluster
	}
	b := append(make([]byte, 0, helloHead+len(h.cluster)), magic...)
	b = append(b, h.protocol, byte(h.lane), 0, byte(len(h.cluster)))
	flags := &b[helloFore+1]
	if h.refused {
		*flags |= flagRefused
	}
	if h.able {
		*flags |= flagAble
	}
	if h.cookie != 0 {
		*flags |= flagCookie
	}
	for _, n := range []uint64{
		uint64(h.node), uint64(h.wanted), h.incarnation, h.nonce, h.seen.Incarnation, h.seen.Nonce, h.seen.Position,
	} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	b = append(b, h.cluster...)
	if h.cookie != 0 {
		b = binary.LittleEndian.AppendUint64(b, h.cookie)
	}
	_, err := w.Write(b)
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
	flags, ids := b[helloFore+1], b[helloFore+3:]
	h.lane, h.refused, h.cluster = lane(b[helloFore]), flags&flagRefused != 0, string(cluster)
	h.able = flags&flagAble != 0
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(ids[8*i:]) }
	h.node, h.wanted, h.incarnation, h.nonce = synod.NodeID(word(0)), synod.NodeID(word(1)), word(2), word(3)
	h.seen = roster.Sighting{Incarnation: word(4), Nonce: word(5), Position: word(6)}
	if h.lane >= lanes || h.node == 0 {
		return hello{}, errNoHello
	}
	if flags&flagCookie != 0 {
		var c [8]byte
		if _, err := io.ReadFull(r, c[:]); err != nil {
			return hello{}, err
		}
		h.cookie = binary.LittleEndian.Uint64(c[:])
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
	case h.cluster != "" && ours.cluster != "" && h.cluster != ours.cluster && !mutant.On(mutant.AnyCluster):
		return fmt.Sprintf("it belongs to cluster %q, this node to %q", h.cluster, ours.cluster)
	}
	return ""
}
