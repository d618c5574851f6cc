package fd

import (
	"encoding/binary"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/hashicorp/serf/coordinate"

	"github.com/prytany/prytany/synod"
)

// coordVersion leads every coordinate on the wire.
const coordVersion = 1

// errCoord says that a coordinate cannot be understood.
var errCoord = errors.New("fd: malformed coordinate")

// An Estimate is a round trip predicted from network coordinates (Dabek et
// al.: "Vivaldi", 2004).
type Estimate struct {
	RTT   time.Duration
	Error float64 // relative; the larger one of the two nodes. Below 0.3 is good, 1.5 knows nothing
}

// A plane is where this node and its peers lie in the space of round trips.
// It is safe for concurrent use.
type plane struct {
	client *coordinate.Client // has a lock of its own

	mu    sync.Mutex
	peers map[synod.NodeID]*coordinate.Coordinate // not changed once stored
}

func newPlane() (*plane, error) {
	c, err := coordinate.NewClient(coordinate.DefaultConfig())
	if err != nil {
		return nil, err
	}
	return &plane{client: c, peers: make(map[synod.NodeID]*coordinate.Coordinate)}, nil
}

// observe takes in a measured round trip to a peer that says it lies at payload.
func (p *plane) observe(id synod.NodeID, rtt time.Duration, payload []byte) error {
	c, err := decodeCoord(payload)
	if err != nil {
		return err
	}
	if _, err := p.client.Update(id.String(), c, rtt); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.peers[id] = c
	return nil
}

// forget drops a peer.
func (p *plane) forget(id synod.NodeID) {
	p.client.ForgetNode(id.String())
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.peers, id)
}

// estimate predicts the round trip to a peer.
func (p *plane) estimate(id synod.NodeID) (Estimate, bool) {
	p.mu.Lock()
	c := p.peers[id]
	p.mu.Unlock()
	if c == nil {
		return Estimate{}, false
	}
	return Estimate{p.client.DistanceTo(c), max(c.Error, p.client.GetCoordinate().Error)}, true
}

// known returns where a node lies, self or a peer: nil if it has not answered
// or has not found its place yet, and would seem to lie where everybody begins.
func (p *plane) known(id, self synod.NodeID) *coordinate.Coordinate {
	c := p.client.GetCoordinate()
	if id != self {
		p.mu.Lock()
		c = p.peers[id]
		p.mu.Unlock()
	}
	if c == nil || c.Error >= coordinate.DefaultConfig().VivaldiErrorMax {
		return nil
	}
	return c
}

// payload is where this node lies, for its peers.
func (p *plane) payload() []byte { return encodeCoord(p.client.GetCoordinate()) }

// encodeCoord writes version, dimensions, and all numbers as 8 bytes each.
func encodeCoord(c *coordinate.Coordinate) []byte {
	out := []byte{coordVersion, byte(len(c.Vec))}
	for _, f := range c.Vec {
		out = binary.BigEndian.AppendUint64(out, math.Float64bits(f))
	}
	for _, f := range [...]float64{c.Error, c.Adjustment, c.Height} {
		out = binary.BigEndian.AppendUint64(out, math.Float64bits(f))
	}
	return out
}

// decodeCoord is the inverse of encodeCoord. It refuses numbers that are not
// finite and another number of dimensions than ours.
func decodeCoord(in []byte) (*coordinate.Coordinate, error) {
	c := coordinate.NewCoordinate(coordinate.DefaultConfig())
	if len(in) != 2+8*(len(c.Vec)+3) || in[0] != coordVersion || int(in[1]) != len(c.Vec) {
		return nil, errCoord
	}
	in = in[2:]
	next := func() float64 {
		f := math.Float64frombits(binary.BigEndian.Uint64(in))
		in = in[8:]
		return f
	}
	for i := range c.Vec {
		c.Vec[i] = next()
	}
	c.Error, c.Adjustment, c.Height = next(), next(), next()
	if !c.IsValid() || c.Error < 0 || c.Height < 0 {
		return nil, errCoord
	}
	return c, nil
}
