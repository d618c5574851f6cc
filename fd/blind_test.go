package fd

import (
	"errors"
	"fmt"
	"log"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/prytany/prytany/synod"
)

// settle is how long detectors probe each other before something happens.
const settle = 2 * time.Second

// A wires is a network without sockets, so that what runs over it can have a
// clock of its own. Packets take their time; streams take none.
type wires struct {
	delay func(from, to int) time.Duration // one way

	mu   sync.Mutex
	ends map[string]*wire // by address
	cut  func(from, to int) bool
	lost int // packets and streams
}

// A wire is what one detector has of it.
type wire struct {
	net     *wires
	at      int
	addr    *net.UDPAddr
	packets chan *memberlist.Packet
	streams chan net.Conn
}

// end gives the detector number at a part in the network.
func (n *wires) end(at int) *wire {
	w := &wire{
		net: n, at: at, addr: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: at + 1},
		packets: make(chan *memberlist.Packet, 1024), streams: make(chan net.Conn, 64),
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ends[w.addr.String()] = w
	return w
}

// to returns the end at addr; nil if it is gone, or what is sent there is lost.
func (w *wire) to(addr string) (end *wire, lost bool) {
	w.net.mu.Lock()
	defer w.net.mu.Unlock()
	end = w.net.ends[addr]
	if end != nil && w.net.cut != nil && w.net.cut(w.at, end.at) {
		w.net.lost++
		return nil, true
	}
	return end, false
}

func (w *wire) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return w.addr.IP, w.addr.Port, nil
}
func (w *wire) PacketCh() <-chan *memberlist.Packet { return w.packets }
func (w *wire) StreamCh() <-chan net.Conn           { return w.streams }
func (w *wire) WriteTo(b []byte, addr string) (time.Time, error) {
	return w.WriteToAddress(b, memberlist.Address{Addr: addr})
}

func (w *wire) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	end, _ := w.to(a.Addr)
	if end == nil {
		return time.Now(), nil
	}
	p := &memberlist.Packet{Buf: slices.Clone(b), From: w.addr}
	time.AfterFunc(w.net.delay(w.at, end.at), func() {
		p.Timestamp = time.Now()
		select {
		case end.packets <- p:
		default: // nobody reads any more
		}
	})
	return time.Now(), nil
}

func (w *wire) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return w.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

func (w *wire) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	end, lost := w.to(a.Addr)
	switch {
	case lost:
		time.Sleep(timeout)
		return nil, os.ErrDeadlineExceeded
	case end == nil:
		return nil, errors.New("connection refused")
	}
	here, there := net.Pipe()
	select {
	case end.streams <- there:
		return here, nil
	default:
		return nil, errors.New("connection refused")
	}
}

func (w *wire) IngestPacket(net.Conn, net.Addr, time.Time, bool) error {
	return errors.ErrUnsupported
}
func (w *wire) IngestStream(net.Conn) error { return errors.ErrUnsupported }

// Shutdown is the end of the process: nobody is there.
func (w *wire) Shutdown() error {
	w.net.mu.Lock()
	defer w.net.mu.Unlock()
	delete(w.net.ends, w.addr.String())
	return nil
}

// soon is the delay of a network in one room.
func soon(int, int) time.Duration { return 200 * time.Microsecond }

// meet starts n detectors on a network, waits until all see all, and for a
// moment more. It is called in a bubble; the detectors are closed in it.
func meet(t testing.TB, n int, net *wires, probeTimeout time.Duration) (ds []*Detector, closeAll func()) {
	t.Helper()
	net.ends = map[string]*wire{}
	for i := range n {
		d, err := New(Config{Self: node(synod.NodeID(i + 1)), Bind: "in this process", ProbeTimeout: probeTimeout, transport: net.end(i)})
		if err != nil {
			t.Fatal(err)
		}
		ds = append(ds, d)
		if i == 0 {
			continue
		}
		if _, err := d.list.Join([]string{ds[0].Addr()}); err != nil {
			t.Fatal(err)
		}
	}
	closeAll = func() {
		for _, d := range ds {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Minute) // until what has begun has timed out
	}
	// Rumours reach nearly everybody in half a second. Whom they miss learns it
	// from an exchange of everything, of which 50 nodes have one in ten seconds.
	for range 6000 {
		if !slices.ContainsFunc(ds, func(d *Detector) bool { return len(d.View().Nodes) < n }) {
			time.Sleep(settle)
			return ds, closeAll
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("they do not find each other")
	return nil, nil
}

// TestGossipIsBlind cuts one of three links for 25 s, in both directions, and
// wants gossip not to notice: SWIM asks the third node before it gives somebody
// up. That is its purpose, and the reason why leaders are not chosen by gossip:
// see docs/failure-detection.md.
func TestGossipIsBlind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &wires{delay: soon}
		ds, closeAll := meet(t, 3, net, 0)
		var before [3]uint64
		for i, d := range ds {
			before[i] = d.View().Version
		}
		net.mu.Lock()
		net.cut = func(from, to int) bool { return from+to == 2 && from != to } // between the first and the last
		net.mu.Unlock()
		time.Sleep(25 * time.Second)
		for i, d := range ds {
			v := d.View()
			if v.Version != before[i] {
				t.Errorf("node %d: the view was of version %d and is of %d; want no change", i+1, before[i], v.Version)
			}
			for _, n := range v.Nodes {
				if n.State != Alive {
					t.Errorf("node %d sees %s %v; want alive", i+1, n.Name, n.State)
				}
			}
		}
		net.mu.Lock()
		lost := net.lost
		net.mu.Unlock()
		if lost < 100 {
			t.Errorf("only %d packets and streams were lost: was the link cut?", lost)
		}
		t.Logf("%d packets and streams were lost; scores %d, %d, %d", lost, ds[0].HealthScore(), ds[1].HealthScore(), ds[2].HealthScore())
		closeAll()
	})
}

// TestCrashIsSeenAndHarmsNobody takes one of three and one and two of five away
// without a word, and wants gossip to notice, and the survivors of one crash not
// to think that they are unwell themselves: that would keep them from leading.
func TestCrashIsSeenAndHarmsNobody(t *testing.T) {
	for _, c := range []struct{ nodes, gone int }{{3, 1}, {5, 1}, {5, 2}} {
		t.Run(fmt.Sprintf("%d of %d", c.gone, c.nodes), func(t *testing.T) {
			all, peak := crashes(t, c.nodes, c.gone, 10)
			if c.gone == 1 && peak > 1 { // of two that are gone, one is asked about the other
				t.Errorf("a survivor scored itself %d; want at most 1", peak)
			}
			t.Logf("all survivors knew after %v at least, %v in the median, %v at most; peak score %d",
				all[0], all[len(all)/2], all[len(all)-1], peak)
		})
	}
}

// crashes returns in order after how long all survivors knew of crashes, and how
// badly the worst of them scored itself.
func crashes(t *testing.T, nodes, gone, runs int) (all []time.Duration, peak int) {
	for range runs {
		synctest.Test(t, func(t *testing.T) {
			ds, closeAll := meet(t, nodes, &wires{delay: soon}, 0)
			time.Sleep(rand.N(time.Second))
			start := time.Now()
			for _, d := range ds[:gone] {
				d.Close()
			}
			unaware := func(d *Detector) bool {
				return slices.ContainsFunc(d.View().Nodes[:gone], func(n Node) bool { return n.State != Dead })
			}
			for slices.ContainsFunc(ds[gone:], unaware) {
				if time.Since(start) > time.Minute {
					t.Fatal("not seen within a minute")
				}
				time.Sleep(5 * time.Millisecond)
				for _, d := range ds[gone:] {
					peak = max(peak, d.HealthScore())
				}
			}
			all = append(all, time.Since(start))
			closeAll()
		})
	}
	slices.Sort(all)
	return all, peak
}

// TestNackComesInTime wants a node that is asked to probe another to answer
// before who has asked stops waiting, with half of a timeout to spare for the way.
func TestNackComesInTime(t *testing.T) {
	for _, timeout := range []time.Duration{0, 400 * time.Millisecond} {
		c, err := Config{Self: node(1), Bind: "127.0.0.1:0", ProbeTimeout: timeout}.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		m := c.settings(log.Default())
		if spare := m.ProbeInterval - 2*m.ProbeTimeout; m.ProbeTimeout < timeout || m.ProbeTimeout <= 0 || spare < m.ProbeTimeout/2 {
			t.Errorf("interval %v, timeout %v: %v to spare", m.ProbeInterval, m.ProbeTimeout, spare)
		}
	}
}

// TestCoordinates has twelve nodes measure each other for a minute, in a network
// that is a plane and in ones that are not, and wants round trips to be predicted
// to some degree.
func TestCoordinates(t *testing.T) {
	for _, net := range []struct{ most, median float64 }{{1, 0.15}, {1.5, 0.25}} {
		t.Run(fmt.Sprintf("stretched up to %v", net.most), func(t *testing.T) {
			var errs []float64
			for seed := range uint64(2) {
				synctest.Test(t, func(t *testing.T) { errs = append(errs, predict(t, 12, net.most, seed)...) })
			}
			slices.Sort(errs)
			median, p90 := errs[len(errs)/2], errs[len(errs)*9/10]
			if all := 2 * 12 * 11; len(errs) < all*9/10 || median > net.median {
				t.Errorf("%d predictions of %d, relative error %.3f in the median; want nine in ten, %v", len(errs), all, median, net.median)
			}
			t.Logf("%d predictions; relative error: median %.1f %%, 90th percentile %.1f %%", len(errs), 100*median, 100*p90)
		})
	}
}

// predict returns the relative errors of all predictions after a minute between
// n places on a square of 50 ms by 50 ms, behind lines of up to 5 ms. Each way is
// stretched by a factor of its own, from 1 to most: of such no map can be drawn.
func predict(t *testing.T, n int, most float64, seed uint64) (errs []float64) {
	r := rand.New(rand.NewPCG(seed, 1))
	type point struct{ x, y, line float64 }
	at := make([]point, n)
	for i := range at {
		at[i] = point{r.Float64() * 50, r.Float64() * 50, r.Float64() * 5}
	}
	way := make([][]time.Duration, n)
	for i := range n {
		way[i] = make([]time.Duration, n)
		way[i][i] = time.Microsecond
		for j := range i {
			rtt := (math.Hypot(at[i].x-at[j].x, at[i].y-at[j].y) + at[i].line + at[j].line) * (1 + r.Float64()*(most-1))
			way[i][j] = time.Duration(rtt / 2 * float64(time.Millisecond))
			way[j][i] = way[i][j]
		}
	}
	ds, closeAll := meet(t, n, &wires{delay: func(from, to int) time.Duration { return way[from][to] }}, 150*time.Millisecond)
	time.Sleep(time.Minute)
	for i, d := range ds {
		for j := range ds {
			between(t, ds[(i+1)%n], i, j, way)
			if e, ok := d.RTT(synod.NodeID(j + 1)); ok && i != j {
				is := 2 * way[i][j]
				errs = append(errs, math.Abs(float64(e.RTT-is))/float64(is))
			}
		}
	}
	closeAll()
	return errs
}

// between wants d to predict the way between two other nodes about as well as
// they do: for a way of some length not wrong by three quarters.
func between(t *testing.T, d *Detector, i, j int, way [][]time.Duration) {
	t.Helper()
	got, ok := d.Distance(synod.NodeID(i+1), synod.NodeID(j+1))
	is := 2 * way[i][j]
	switch off := math.Abs(float64(got-is)) / float64(is); {
	case !ok:
		t.Errorf("no distance between %d and %d", i+1, j+1)
	case i == j && got != 0:
		t.Errorf("a node lies %v from itself", got)
	case i != j && is > 20*time.Millisecond && off > 0.75:
		t.Errorf("from %d to %d it predicts %v, and it is %v", i+1, j+1, got, is)
	}
}

// TestManyNodes has 50 nodes find each other; one crashes and comes back under
// its name with another identity. All see that, in seconds, and nobody else is
// taken for dead.
func TestManyNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("runs 50 detectors")
	}
	synctest.Test(t, func(t *testing.T) {
		const n = 50
		net := &wires{delay: soon}
		ds, closeAll := meet(t, n, net, 100*time.Millisecond)
		for _, d := range ds {
			d.Changes()
		}
		if err := ds[n-1].Close(); err != nil {
			t.Fatal(err)
		}
		all := func(what string, ok func(View) bool) {
			t.Helper()
			begin := time.Now()
			for slices.ContainsFunc(ds[:n-1], func(d *Detector) bool { return !ok(d.View()) }) {
				time.Sleep(10 * time.Millisecond)
				if time.Since(begin) > 10*time.Second {
					t.Fatalf("not in 10 s: %s", what)
				}
			}
			t.Logf("%s after %v", what, time.Since(begin))
		}
		all("the crash is seen", in(n, Dead))
		heir, err := New(Config{Self: Node{ID: 1000, Name: "n50"}, Bind: "in this process", transport: net.end(n)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := heir.list.Join([]string{ds[0].Addr()}); err != nil {
			t.Fatal(err)
		}
		all("its heir is seen", in(1000, Alive))
		for _, d := range ds[:n-1] {
			changes, missed := d.Changes()
			for _, c := range changes {
				if c.Node.ID != n && c.Node.ID != 1000 || c.Kind == Conflicted {
					t.Errorf("%v: %v %s", c.Node.ID, c.Kind, c.Reason)
				}
			}
			if missed != 0 {
				t.Errorf("%d changes missed", missed)
			}
		}
		if err := heir.Close(); err != nil {
			t.Error(err)
		}
		closeAll()
	})
}
