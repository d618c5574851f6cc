package transport

import (
	"io"
	"sync/atomic"
)

// A Traffic counts packets and the bytes of the frames or datagrams with them,
// hellos and headers of the network not included.
type Traffic struct{ SentPackets, SentBytes, ReceivedPackets, ReceivedBytes uint64 }

// Counts are what went over the network since the start, in both directions.
// Packets that Config.Allowed held back do not count as sent.
type Counts struct {
	Control, Bulk Traffic // the connections
	Datagrams     Traffic // a packet counts once for each datagram that carries it
}

// A meter counts one kind of traffic.
type meter struct{ sentPackets, sentBytes, receivedPackets, receivedBytes atomic.Uint64 }

// sent counts packets last: whoever sees them sees their bytes.
func (m *meter) sent(packets, bytes int) {
	m.sentBytes.Add(uint64(bytes))
	m.sentPackets.Add(uint64(packets))
}

func (m *meter) read() Traffic {
	return Traffic{m.sentPackets.Load(), m.sentBytes.Load(), m.receivedPackets.Load(), m.receivedBytes.Load()}
}

// Counts returns what went over the network since the start.
func (t *Transport) Counts() Counts {
	return Counts{t.meters[control].read(), t.meters[bulk].read(), t.datagrams.meter.read()}
}

// A metered reader counts what is read from r.
type metered struct {
	r io.Reader
	m *meter
}

func (r metered) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	r.m.receivedBytes.Add(uint64(max(n, 0)))
	return n, err
}
