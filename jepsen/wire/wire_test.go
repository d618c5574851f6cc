package wire

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"
)

var (
	a = netip.MustParseAddr("10.0.0.1")
	b = netip.MustParseAddr("10.0.0.2")
)

// udp makes a packet with a number in it.
func udp(from, to netip.Addr, port uint16, n uint32) []byte {
	p := make([]byte, 32)
	p[0], p[9] = 0x45, 17
	copy(p[12:], from.AsSlice())
	copy(p[16:], to.AsSlice())
	binary.BigEndian.PutUint16(p[20:], 40000)
	binary.BigEndian.PutUint16(p[22:], port)
	binary.BigEndian.PutUint32(p[28:], n)
	return p
}

// A sink remembers what arrives.
type sink struct {
	mu   sync.Mutex
	nums []uint32
	at   []time.Time
}

func (s *sink) take(p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nums = append(s.nums, binary.BigEndian.Uint32(p[28:]))
	s.at = append(s.at, time.Now())
}

func (s *sink) got() []uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.nums)
}

// await waits until n have arrived.
func (s *sink) await(t *testing.T, n int) []uint32 {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if got := s.got(); len(got) >= n {
			return got
		}
	}
	t.Fatalf("%d of %d packets arrived", len(s.got()), n)
	return nil
}

func pair(t *testing.T, seed uint64, rules ...Rule) (*Switch, *sink) {
	sw, s := New(seed), &sink{}
	t.Cleanup(sw.Attach("a", a, func([]byte) {}))
	t.Cleanup(sw.Attach("b", b, s.take))
	sw.Set("test", rules...)
	return sw, s
}

func send(sw *Switch, n int) {
	for i := range n {
		sw.Send(udp(a, b, GossipPort, uint32(i)))
	}
}

func TestLossIsAsAskedForAndRepeats(t *testing.T) {
	const n = 5000
	var first []uint32
	for range 2 {
		sw, s := pair(t, 7, Rule{Drop: 0.3})
		send(sw, n)
		got := s.got() // nothing waits
		if len(got) < n*65/100 || len(got) > n*75/100 {
			t.Errorf("%d of %d arrived at a loss of 30 %%", len(got), n)
		}
		if first != nil && !slices.Equal(first, got) {
			t.Error("the same seed has lost other packets")
		}
		first = got
	}
	sw, s := pair(t, 8, Rule{Drop: 0.3})
	send(sw, n)
	if slices.Equal(first, s.got()) {
		t.Error("another seed has lost the same packets")
	}
}

func TestDelayKeepsTheOrder(t *testing.T) {
	const n, delay = 500, 20 * time.Millisecond
	sw, s := pair(t, 1, Rule{Delay: delay, Jitter: 30 * time.Millisecond})
	begin := time.Now()
	send(sw, n)
	got := s.await(t, n)
	if !slices.IsSorted(got) {
		t.Error("jitter has packets overtake each other")
	}
	if first := s.at[0].Sub(begin); first < delay {
		t.Errorf("the first came after %v; want at least %v", first, delay)
	}
	// When the rule is gone, nobody overtakes those that are still on their way.
	send(sw, n)
	sw.Heal()
	sw.Send(udp(a, b, GossipPort, n))
	if got := s.await(t, 2*n+1); got[2*n] != n {
		t.Error("a packet overtook others when the delay ended")
	}
}

func TestReorderAndDuplicate(t *testing.T) {
	const n = 1000
	sw, s := pair(t, 1, Rule{Reorder: 0.2, Hold: 5 * time.Millisecond})
	for i := range n {
		sw.Send(udp(a, b, GossipPort, uint32(i)))
		if i%50 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	got := s.await(t, n)
	if slices.IsSorted(got) {
		t.Error("nobody was overtaken")
	}
	slices.Sort(got)
	if len(slices.Compact(got)) != n {
		t.Error("packets are missing, or came twice")
	}
	sw, s = pair(t, 1, Rule{Duplicate: 0.5})
	send(sw, n)
	if got := len(s.got()); got < n*140/100 || got > n*160/100 {
		t.Errorf("%d of %d arrived with half of them doubled", got, n)
	}
}

func TestRulesChooseTheirPackets(t *testing.T) {
	back := udp(b, a, 40000, 0)
	for name, tt := range map[string]struct {
		rule   Rule
		packet []byte
		lost   bool
	}{
		"all":             {Rule{Drop: 1}, udp(a, b, 9, 1), true},
		"other direction": {Rule{From: []string{"b"}, Drop: 1}, udp(a, b, 9, 1), false},
		"from":            {Rule{From: []string{"a"}, Drop: 1}, udp(a, b, 9, 1), true},
		"to another":      {Rule{To: []string{"c"}, Drop: 1}, udp(a, b, 9, 1), false},
		"plane":           {Rule{Plane: Peers, Drop: 1}, udp(a, b, PeerPort, 1), true},
		"other plane":     {Rule{Plane: Peers, Drop: 1}, udp(a, b, GossipPort, 1), false},
		"answers too":     {Rule{Plane: Gossip, Drop: 1}, reverse(udp(a, b, GossipPort, 1)), true},
		"no plane":        {Rule{Plane: Gossip, Drop: 1}, back, false},
	} {
		sw, s := New(1), &sink{}
		stopA, stopB := sw.Attach("a", a, s.take), sw.Attach("b", b, s.take)
		sw.Set("x", tt.rule)
		sw.Send(tt.packet)
		if lost := len(s.got()) == 0; lost != tt.lost {
			t.Errorf("%s: lost: %t", name, lost)
		}
		sw.Heal()
		sw.Send(tt.packet)
		if len(s.got()) == 0 {
			t.Errorf("%s: lost after the switch was healed", name)
		}
		stopA()
		stopB()
	}
}

// reverse swaps the ends of a packet.
func reverse(p []byte) []byte {
	out := slices.Clone(p)
	copy(out[12:16], p[16:20])
	copy(out[16:20], p[12:16])
	copy(out[20:22], p[22:24])
	copy(out[22:24], p[20:22])
	return out
}

func TestRateLosesWhatWouldWaitTooLong(t *testing.T) {
	const n, rate = 2000, 10_000 // bytes a second: 300 packets of 32 bytes
	sw, s := pair(t, 1, Rule{Rate: rate})
	begin := time.Now()
	send(sw, n)
	took := time.Since(begin)
	most := int((took+maxBacklog).Seconds()*rate/32) + 2
	time.Sleep(2 * maxBacklog)
	if got := s.got(); len(got) == 0 || len(got) > most || !slices.IsSorted(got) {
		t.Errorf("%d packets arrived; want some, at most %d, in order", len(got), most)
	}
	if c := sw.Counts(); c.Lost+c.Held+c.Passed != n {
		t.Errorf("%+v do not add up to %d", c, n)
	}
}

func TestStrangePacketsDoNoHarm(t *testing.T) {
	sw := New(1)
	defer sw.Attach("b", b, func([]byte) {})()
	good := udp(a, b, 9, 1)
	for n := range good {
		sw.Send(good[:n])
	}
	six := slices.Clone(good)
	six[0] = 0x60
	sw.Send(six)
	long := slices.Clone(good)
	long[0] = 0x4f // its header would be longer than the packet
	sw.Send(long)
	sw.Send(udp(a, netip.MustParseAddr("10.0.0.9"), 9, 1))
}
