package fd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/hashicorp/memberlist"

	"github.com/prytany/prytany/synod"
)

// metaVersion leads every description. A later program may add fields at the
// end, which this one skips; it changes the version only if this one could no
// longer understand the rest.
const metaVersion = 1

// flagLeaving says that the node is about to go.
const flagLeaving = 1

// errMeta says that a description cannot be understood.
var errMeta = errors.New("fd: malformed node description")

// texts are the texts of a description, in the order in which they are
// encoded. Only ever append.
func (n *Node) texts() []*string {
	return []*string{&n.Name, &n.HTTPAddr, &n.PeerAddr, &n.Zone, &n.Version, &n.Cluster}
}

// encodeMeta returns n for others to read: version, flags, incarnation, texts.
// ID and GossipAddr travel outside. It fails if they would not fit.
func encodeMeta(n Node) ([]byte, error) {
	out := []byte{metaVersion, 0}
	if n.State == Leaving {
		out[1] |= flagLeaving
	}
	out = binary.AppendUvarint(out, n.Incarnation)
	for _, s := range n.texts() {
		if len(*s) > 255 || !utf8.ValidString(*s) {
			return nil, fmt.Errorf("fd: %q: want at most 255 bytes of valid UTF-8", *s)
		}
		out = append(append(out, byte(len(*s))), *s...)
	}
	if len(out) > memberlist.MetaMaxSize {
		return nil, fmt.Errorf("fd: name, addresses, zone, version and cluster take %d bytes together; at most %d fit", len(out), memberlist.MetaMaxSize)
	}
	return out, nil
}

// decodeMeta is the inverse of encodeMeta. It never trusts a length.
func decodeMeta(in []byte) (n Node, err error) {
	if len(in) < 2 || len(in) > memberlist.MetaMaxSize {
		return Node{}, errMeta
	}
	if in[0] != metaVersion {
		return Node{}, fmt.Errorf("fd: node description of version %d; this program reads %d", in[0], metaVersion)
	}
	if in[1]&flagLeaving != 0 {
		n.State = Leaving
	}
	in = in[2:]
	var used int
	if n.Incarnation, used = binary.Uvarint(in); used <= 0 {
		return Node{}, errMeta
	}
	in = in[used:]
	for _, s := range n.texts() {
		if len(in) == 0 {
			return Node{}, errMeta
		}
		end := 1 + int(in[0])
		if len(in) < end {
			return Node{}, errMeta
		}
		*s, in = string(in[1:end]), in[end:]
		if !utf8.ValidString(*s) {
			return Node{}, errMeta
		}
	}
	return n, nil
}

// parseID is the inverse of NodeID.String.
func parseID(name string) (synod.NodeID, error) {
	n, err := strconv.ParseUint(name, 16, 64)
	if id := synod.NodeID(n); err == nil && n != 0 && id.String() == name {
		return id, nil
	}
	return 0, fmt.Errorf("fd: %q is not a node id", name)
}
