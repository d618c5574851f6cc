// Package wire is a switch that joins hosts and breaks the ways between them: it
// loses, delays, reorders and doubles IPv4 packets by rules, one for each direction
// and plane. What a rule does to the n-th packet of a way follows from the seed
// alone. It knows nothing of devices: a Port is whatever takes a packet.
package wire

import (
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// A Plane is what a packet is for, by its port.
type Plane string

// The planes. All is every one of them.
const (
	All     Plane = ""
	Clients Plane = "clients"
	Peers   Plane = "peers"
	Gossip  Plane = "gossip"
)

// The ports of nodes.
const (
	HTTPPort   = 7480
	PeerPort   = 7481
	GossipPort = 7482
)

// A Rule is what happens to packets from one of From to one of To in Plane; no name
// means all. Rules add up.
type Rule struct {
	From, To  []string
	Plane     Plane
	Drop      float64       // the part that is lost; 1 is a cut
	Delay     time.Duration // of each
	Jitter    time.Duration // up to so much more, in order
	Reorder   float64       // the part that is held back, so that others overtake it
	Hold      time.Duration // how long those are held back
	Duplicate float64       // the part that comes twice
	Rate      int           // bytes a second and way; 0: no bound
}

// A Port takes packets for a host. It is called by one goroutine at a time and must
// not keep the packet.
type Port func(packet []byte)

const (
	// maxQueue bounds the packets that wait for one host. More are lost, as in any
	// switch.
	maxQueue = 4096
	// maxBacklog is how long a packet may wait for its turn under Rate; those that
	// would wait longer are lost.
	maxBacklog = 300 * time.Millisecond
)

// A Switch joins hosts. Its methods may be called by many at a time.
type Switch struct {
	mu    sync.RWMutex
	seed  uint64
	rules map[string][]Rule
	ports map[netip.Addr]*queue
	names map[netip.Addr]string
	ways  map[way]*lane
	count Counts
}

// Counts is what has become of packets.
type Counts struct{ Passed, Lost, Held, Doubled, Overflowed uint64 }

type way struct{ from, to string }

// A lane is the state of one direction between two hosts.
type lane struct {
	mu   sync.Mutex
	dice *rand.Rand
	last time.Time // at which the last packet in order is due
	free time.Time // at which the wire is free, under Rate
}

// New makes a switch without hosts.
func New(seed uint64) *Switch {
	return &Switch{seed: seed, rules: map[string][]Rule{}, ports: map[netip.Addr]*queue{}, names: map[netip.Addr]string{}, ways: map[way]*lane{}}
}

// Attach adds a host. stop ends its goroutine; packets that wait are lost.
func (s *Switch) Attach(name string, at netip.Addr, to Port) (stop func()) {
	q := newQueue(to)
	s.mu.Lock()
	s.ports[at], s.names[at] = q, name
	s.mu.Unlock()
	return func() {
		s.mu.Lock()
		delete(s.ports, at)
		s.mu.Unlock()
		q.stop()
	}
}

// Set puts rules in force under a name, instead of those it had.
func (s *Switch) Set(name string, rules ...Rule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(rules) == 0 {
		delete(s.rules, name)
		return
	}
	s.rules[name] = slices.Clone(rules)
}

// Heal removes all rules.
func (s *Switch) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.rules)
}

// Counts returns what has become of packets so far.
func (s *Switch) Counts() Counts {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.count
}

// Send takes a packet from a host. Whoever sends the packets of one host in order
// has them arrive in order, unless a rule says otherwise.
func (s *Switch) Send(packet []byte) {
	h, ok := parse(packet)
	if !ok {
		return // not IPv4: a host looking for routers, say
	}
	s.mu.Lock()
	from, to, port := s.names[h.from], s.names[h.to], s.ports[h.to]
	if port == nil {
		s.mu.Unlock()
		return
	}
	var hit Rule
	for _, list := range s.rules {
		for _, r := range list {
			if applies(r, from, to, h.plane) {
				hit = add(hit, r)
			}
		}
	}
	l := s.ways[way{from, to}]
	if l == nil {
		l = &lane{dice: rand.New(rand.NewPCG(s.seed, hash(from+">"+to)))}
		s.ways[way{from, to}] = l
	}
	due, twice, lost := l.fate(hit, len(packet), time.Now())
	switch {
	case lost:
		s.count.Lost++
	case !due.IsZero():
		s.count.Held++
	default:
		s.count.Passed++
	}
	if twice && !lost {
		s.count.Doubled++
	}
	s.mu.Unlock()
	if lost {
		return
	}
	full := !port.put(packet, due)
	if twice {
		full = !port.put(packet, due) || full
	}
	if full {
		s.mu.Lock()
		s.count.Overflowed++
		s.mu.Unlock()
	}
}

// fate draws what becomes of a packet. The zero due is: at once.
func (l *lane) fate(r Rule, size int, now time.Time) (due time.Time, twice, lost bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if lost = r.Drop > 0 && l.dice.Float64() < r.Drop; lost {
		return due, false, true
	}
	twice = r.Duplicate > 0 && l.dice.Float64() < r.Duplicate
	wait := r.Delay
	if r.Jitter > 0 {
		wait += time.Duration(l.dice.Int64N(int64(r.Jitter)))
	}
	held := r.Reorder > 0 && l.dice.Float64() < r.Reorder
	if r.Rate > 0 {
		if l.free.Before(now) {
			l.free = now
		}
		if l.free.Sub(now) > maxBacklog {
			return due, false, true
		}
		l.free = l.free.Add(time.Duration(size) * time.Second / time.Duration(r.Rate))
		wait += l.free.Sub(now)
	}
	due = now.Add(wait)
	switch {
	case held:
		return due.Add(r.Hold), twice, false
	case due.Before(l.last):
		due = l.last // in order
	case wait == 0:
		return time.Time{}, twice, false
	}
	l.last = due
	return due, twice, false
}

func applies(r Rule, from, to string, plane Plane) bool {
	return (r.Plane == All || r.Plane == plane) &&
		(len(r.From) == 0 || slices.Contains(r.From, from)) && (len(r.To) == 0 || slices.Contains(r.To, to))
}

func add(a, b Rule) Rule {
	a.Drop = 1 - (1-a.Drop)*(1-b.Drop)
	a.Delay += b.Delay
	a.Jitter += b.Jitter
	a.Reorder = 1 - (1-a.Reorder)*(1-b.Reorder)
	a.Hold = max(a.Hold, b.Hold)
	a.Duplicate = 1 - (1-a.Duplicate)*(1-b.Duplicate)
	if a.Rate == 0 || b.Rate > 0 && b.Rate < a.Rate {
		a.Rate = b.Rate
	}
	return a
}

func hash(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s))
	return h.Sum64()
}

type header struct {
	from, to netip.Addr
	plane    Plane
}

// parse reads what the switch needs of an IPv4 packet.
func parse(p []byte) (h header, ok bool) {
	const least, tcp, udp = 20, 6, 17
	if len(p) < least || p[0]>>4 != 4 {
		return h, false
	}
	h.from = netip.AddrFrom4([4]byte(p[12:16]))
	h.to = netip.AddrFrom4([4]byte(p[16:20]))
	at := int(p[0]&15) * 4
	first := binary.BigEndian.Uint16(p[6:8])&0x1fff == 0 // of the fragments
	if first && (p[9] == tcp || p[9] == udp) && at >= least && len(p) >= at+4 {
		for _, port := range []uint16{binary.BigEndian.Uint16(p[at : at+2]), binary.BigEndian.Uint16(p[at+2 : at+4])} {
			switch port {
			case HTTPPort:
				h.plane = Clients
			case PeerPort:
				h.plane = Peers
			case GossipPort:
				h.plane = Gossip
			}
		}
	}
	return h, true
}
