package transport

import (
	"encoding/binary"
	"errors"

	"github.com/prytany/prytany/internal/codec"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

// A datagram, all little endian:
//
//	checksum     uint32: CRC32C of all that follows
//	version      byte: of this layout
//	codec        byte: the version of the packets' encoding
//	node         uint64: the sender
//	incarnation  uint64: the sender's
//	cookie       uint64: what the receiver's hello has given the sender
//	seq          uint64: grows by one with each datagram to this receiver
//	packets      each a uint16, its length, and its bytes; at least one
//
// The cookie stands for the receiver's incarnation too: each process draws its
// own.
type datagram struct {
	node        synod.NodeID
	incarnation uint64
	cookie, seq uint64
}

const (
	datagramVersion = 1
	datagramHead    = 4 + 2 + 4*8
	// maxDatagram fits one packet of any network, so that nothing is cut in
	// pieces of which each may be lost.
	maxDatagram = 1200
	// maxLight is the largest packet that a datagram carries.
	maxLight = maxDatagram - datagramHead - 2
)

var errDatagram = errors.New("transport: not a datagram of this version")

// appendDatagram appends one with as many of packets, from the first on, as
// fit, and returns how many those are: at least one, if none is longer than
// maxLight.
func appendDatagram(dst []byte, d datagram, packets [][]byte) ([]byte, int) {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, datagramVersion, codec.Version)
	for _, n := range []uint64{uint64(d.node), d.incarnation, d.cookie, d.seq} {
		dst = binary.LittleEndian.AppendUint64(dst, n)
	}
	n := 0
	for n < len(packets) && len(dst)-start+2+len(packets[n]) <= maxDatagram {
		dst = binary.LittleEndian.AppendUint16(dst, uint16(len(packets[n])))
		dst = append(dst, packets[n]...)
		n++
	}
	binary.LittleEndian.PutUint32(dst[start:], codec.Checksum(dst[start+4:]))
	return dst, n
}

// openDatagram returns who says that it sent b, and the packets, encoded.
func openDatagram(b []byte) (d datagram, packets []byte, err error) {
	if len(b) <= datagramHead || len(b) > maxDatagram || b[4] != datagramVersion || b[5] != codec.Version ||
		binary.LittleEndian.Uint32(b) != codec.Checksum(b[4:]) {
		return datagram{}, nil, errDatagram
	}
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(b[6+8*i:]) }
	return datagram{synod.NodeID(word(0)), word(1), word(2), word(3)}, b[datagramHead:], nil
}

// decodeLight decodes the packets of a datagram: all, or none.
func decodeLight(b []byte) ([]replica.Packet, error) {
	var ps []replica.Packet
	for len(b) > 0 {
		if len(b) < 2 {
			return nil, errDatagram
		}
		n := int(binary.LittleEndian.Uint16(b))
		if b = b[2:]; n > len(b) {
			return nil, errDatagram
		}
		p, err := codec.DecodePacket(b[:n])
		if err != nil {
			return nil, err
		}
		if !light(p) {
			return nil, errDatagram
		}
		ps, b = append(ps, p), b[n:]
	}
	return ps, nil
}
