package fd

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/prytany/prytany/internal/leaktest"
	"github.com/prytany/prytany/internal/port"
	"github.com/prytany/prytany/synod"
)

func TestMain(m *testing.M) {
	leaktest.Main(m,
		// Memberlist's Shutdown does not wait for a probe, a sync or a stream
		// that has begun; each ends by a timeout of its own, of two seconds.
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probe"),
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).pushPull"),
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).handleConn"),
	)
}

// patience is how long a test waits for gossip on a slow machine.
const patience = 60 * time.Second

// keep returns an address of the loopback that nobody else gets before the test ends, also
// while no detector runs there.
func keep(t *testing.T) string {
	t.Helper()
	p, err := port.Keep()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Release)
	return p.Addr()
}

// start runs a detector on the loopback until the test ends, or stop is called.
func start(t *testing.T, cfg Config) (d *Detector, stop func()) {
	t.Helper()
	if cfg.Bind == "" {
		cfg.Bind = keep(t)
	}
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { d.Run(ctx) })
	stop = func() { cancel(); running.Wait() }
	t.Cleanup(stop)
	return d, stop
}

// wait waits until the view of d is as wanted.
func wait(t *testing.T, d *Detector, what string, ok func(View) bool) {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for !ok(d.View()) {
		select {
		case <-d.Changed():
		case <-limit.C:
			t.Fatalf("%s: not so after %v: %+v", what, patience, d.View())
		}
	}
}

// in reports whether the node with this id is in the state.
func in(id synod.NodeID, s State) func(View) bool {
	return func(v View) bool {
		n, ok := v.Find(id)
		return ok && n.State == s
	}
}

// node is a description with an id and a name.
func node(id synod.NodeID) Node { return Node{ID: id, Name: fmt.Sprintf("n%d", id)} }

func TestJoinDescribeLeave(t *testing.T) {
	self := full()
	self.ID, self.State = 1, Alive
	a, _ := start(t, Config{Self: self, Label: "x", SecretKey: make([]byte, 32)})
	b, stop := start(t, Config{Self: node(2), Join: []string{a.Addr()}, Label: "x", SecretKey: make([]byte, 32)})
	wait(t, b, "b sees a", in(1, Alive))
	wait(t, a, "a sees b", in(2, Alive))
	self.GossipAddr = a.Addr()
	if got, _ := b.View().Find(1); got != self {
		t.Errorf("b sees %+v; want %+v", got, self)
	}
	for range 2 {
		if err := b.SetMeta(func(n *Node) { n.Zone, n.ID = "z", 7 }); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, a, "a sees the zone of b", func(v View) bool { n, _ := v.Find(2); return n.Zone == "z" })
	if err := b.SetMeta(func(n *Node) { n.Zone = strings.Repeat("z", 256) }); err == nil {
		t.Error("SetMeta took a description that does not fit")
	}

	b.Leaving()
	wait(t, a, "a sees b leaving", in(2, Leaving))
	if err := b.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	wait(t, a, "a sees b gone", in(2, Dead))
	if addrs := a.missing(); len(addrs) != 0 {
		t.Errorf("a looks for %v; want nobody, b has left", addrs)
	}
	stop()
}

func TestSeedThatStartsLater(t *testing.T) {
	seed := keep(t)
	b, _ := start(t, Config{Self: node(2), Join: []string{seed}})
	if got := b.missing(); len(got) != 1 || got[0] != seed {
		t.Errorf("missing %v; want the seed", got)
	}
	start(t, Config{Self: node(1), Bind: seed})
	wait(t, b, "b sees the seed", in(1, Alive))
}

func TestSeedsAreContactedThoughTheyLive(t *testing.T) {
	a, _ := start(t, Config{Self: node(1)})
	b, _ := start(t, Config{Self: node(2), Join: []string{a.Addr()}})
	wait(t, b, "b sees a", in(1, Alive))
	if got := b.missing(); len(got) != 0 {
		t.Fatalf("b misses %v; want nobody", got)
	}
	if got := b.targets(nil, insist); len(got) != 1 || got[0] != a.Addr() {
		t.Errorf("b contacts %v; want a", got)
	}
	if got := b.targets(nil, insist+1); len(got) != 0 {
		t.Errorf("b contacts %v for ever; want nobody", got)
	}
}

func TestCrashAndReturn(t *testing.T) {
	a, _ := start(t, Config{Self: node(1)})
	b, crash := start(t, Config{Self: node(2), Join: []string{a.Addr()}})
	c, _ := start(t, Config{Self: node(3), Join: []string{a.Addr()}})
	for _, d := range []*Detector{a, c} {
		wait(t, d, "b is seen", in(2, Alive))
	}
	crash()
	for _, d := range []*Detector{a, c} {
		wait(t, d, "the crash is seen", in(2, Dead))
	}
	again := node(2)
	again.Incarnation = 1
	start(t, Config{Self: again, Bind: b.Addr(), Join: []string{a.Addr()}})
	wait(t, c, "the return is seen", func(v View) bool { n, _ := v.Find(2); return n.State == Alive && n.Incarnation == 1 })
}

func TestPartitionHeals(t *testing.T) {
	var cut atomic.Bool
	allowed := func(string) bool { return !cut.Load() }
	a, _ := start(t, Config{Self: node(1), Allowed: allowed})
	b, _ := start(t, Config{Self: node(2), Join: []string{a.Addr()}, Allowed: allowed})
	wait(t, a, "a sees b", in(2, Alive))
	wait(t, b, "b sees a", in(1, Alive))
	cut.Store(true)
	wait(t, a, "a loses b", in(2, Dead))
	wait(t, b, "b loses a", in(1, Dead))
	cut.Store(false)
	wait(t, a, "a finds b again", in(2, Alive))
	wait(t, b, "b finds a again", in(1, Alive))
}

func TestOtherClusterIsRefused(t *testing.T) {
	of := func(id synod.NodeID, cluster string) Node { return Node{ID: id, Cluster: cluster} }
	a, _ := start(t, Config{Self: of(1, "red")})
	b, _ := start(t, Config{Self: of(2, "blue"), Join: []string{a.Addr()}})
	c, _ := start(t, Config{Self: of(3, ""), Join: []string{a.Addr()}})
	wait(t, a, "a sees the newcomer", in(3, Alive))
	wait(t, c, "the newcomer sees a", in(1, Alive))
	if n, err := b.list.Join([]string{a.Addr()}); n != 0 || err == nil {
		t.Errorf("blue joined red: %d, %v", n, err)
	}
	for _, d := range []*Detector{a, c} {
		if n, ok := d.View().Find(2); ok {
			t.Errorf("sees a node of another cluster: %+v", n)
		}
	}
	if err := c.SetMeta(func(n *Node) { n.Cluster = "red" }); err != nil {
		t.Fatal(err)
	}
	wait(t, a, "a sees that the newcomer has joined", func(v View) bool { n, _ := v.Find(3); return n.Cluster == "red" })
}

// A diary keeps the lines of one text and above a level, and tells of each.
type diary struct {
	slog.Handler
	lines chan string
}

func newDiary() (*slog.Logger, <-chan string) {
	d := diary{slog.DiscardHandler, make(chan string, 100)}
	return slog.New(d), d.lines
}

func (d diary) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }
func (d diary) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	select {
	case d.lines <- line:
	default:
	}
	return nil
}

func wantLine(t *testing.T, lines <-chan string, text string) {
	t.Helper()
	select {
	case got := <-lines:
		if !strings.Contains(got, text) {
			t.Errorf("log says %q; want %q in it", got, text)
		}
	case <-time.After(patience):
		t.Fatalf("log says nothing of %q", text)
	}
}

func TestOtherClusterIsToldOfOnce(t *testing.T) {
	aLog, aLines := newDiary()
	bLog, bLines := newDiary()
	a, _ := start(t, Config{Self: Node{ID: 1, Cluster: "red"}, Log: aLog})
	b, _ := start(t, Config{Self: Node{ID: 2, Cluster: "blue"}, Log: bLog})
	for range 3 {
		if _, err := b.list.Join([]string{a.Addr()}); err == nil {
			t.Fatal("blue joined red")
		}
	}
	wantLine(t, bLines, "belongs to cluster red, this one to blue")
	wantLine(t, aLines, "belongs to cluster blue, this one to red")
	if n := len(aLines) + len(bLines); n != 0 {
		t.Errorf("%d more lines; want none", n)
	}
}

func TestForeignSeed(t *testing.T) {
	red, _ := start(t, Config{Self: Node{ID: 1, Cluster: "red"}})
	blue, _ := start(t, Config{Self: Node{ID: 2, Cluster: "blue"}})
	for i, c := range []struct {
		join, known []string
		want        string
	}{
		{[]string{red.Addr()}, nil, red.Addr()},
		{[]string{red.Addr()}, []string{blue.Addr()}, red.Addr()},
		{[]string{red.Addr(), blue.Addr()}, nil, ""},
		{[]string{blue.Addr()}, []string{red.Addr()}, ""},
		{nil, []string{red.Addr()}, ""},
	} {
		d, stop := start(t, Config{Self: Node{ID: synod.NodeID(10 + i), Cluster: "blue"}, Join: c.join, Known: c.known})
		wait(t, d, "all were tried", func(View) bool { d.mu.Lock(); defer d.mu.Unlock(); return d.tried })
		if got := d.ForeignSeed(); got != c.want {
			t.Errorf("join %v, known %v: %q; want %q", c.join, c.known, got, c.want)
		}
		stop()
	}
}

// TestSeedChangesHands gives the address of a dead member to another cluster.
func TestSeedChangesHands(t *testing.T) {
	a, stop := start(t, Config{Self: Node{ID: 1, Cluster: "red"}})
	log, lines := newDiary()
	b, _ := start(t, Config{Self: Node{ID: 2, Cluster: "red"}, Join: []string{a.Addr()}, Log: log})
	wait(t, b, "b sees a", in(1, Alive))
	stop()
	start(t, Config{Self: Node{ID: 3, Cluster: "blue"}, Bind: a.Addr()})
	wantLine(t, lines, "belongs to cluster blue")
	if got := b.ForeignSeed(); got != "" {
		t.Errorf("foreign seed %q; want none: it was not one at first", got)
	}
}

func TestNobodyAnswersIsToldOf(t *testing.T) {
	nobody := keep(t)
	log, lines := newDiary()
	start(t, Config{Self: node(1), Join: []string{nobody}, Log: log})
	wantLine(t, lines, "no other node answers")
}

func TestConflicts(t *testing.T) {
	a, _ := start(t, Config{Self: Node{ID: 1, Name: "same"}})
	b, _ := start(t, Config{Self: Node{ID: 2, Name: "same"}, Join: []string{a.Addr()}})
	wait(t, a, "a sees one name twice", func(v View) bool {
		return len(v.Conflicts) == 1 && sameConflict(v.Conflicts[0],
			Conflict{"same", []synod.NodeID{1, 2}, []string{a.Addr(), b.Addr()}})
	})
	copied, _ := start(t, Config{Self: Node{ID: 2}, Join: []string{a.Addr()}})
	wait(t, a, "a sees one identity twice", func(v View) bool {
		for _, c := range v.Conflicts {
			if sameConflict(c, Conflict{"same", []synod.NodeID{2}, []string{b.Addr(), copied.Addr()}}) {
				return true
			}
		}
		return false
	})
}

// TestAnHeirOfTheName: a node with an empty disk has the name of one that is
// dead, or is not known to be yet, and another identity. Gossip takes it in
// either way; only while both live are there two of one name.
func TestAnHeirOfTheName(t *testing.T) {
	a, _ := start(t, Config{Self: node(1)})
	old, crash := start(t, Config{Self: Node{ID: 2, Name: "n"}, Join: []string{a.Addr()}})
	wait(t, a, "a sees the old one", in(2, Alive))
	heir, stop := start(t, Config{Self: Node{ID: 3, Name: "n"}, Join: []string{a.Addr()}})
	for _, d := range []*Detector{a, heir, old} {
		wait(t, d, "all are seen, and the conflict is", func(v View) bool {
			return in(2, Alive)(v) && in(3, Alive)(v) && len(v.Conflicts) == 1 && v.Conflicts[0].Name == "n"
		})
	}
	stop()
	crash()
	wait(t, a, "a sees both dead", func(v View) bool { return in(2, Dead)(v) && in(3, Dead)(v) && len(v.Conflicts) == 0 })
	last, _ := start(t, Config{Self: Node{ID: 4, Name: "n"}, Bind: old.Addr(), Join: []string{a.Addr()}})
	for _, d := range []*Detector{a, last} {
		wait(t, d, "the heir is there, without a conflict", func(v View) bool { return in(4, Alive)(v) && len(v.Conflicts) == 0 })
	}
	wait(t, a, "a remembers the old one", in(2, Dead))
}

func TestRoundTripsAreEstimated(t *testing.T) {
	a, _ := start(t, Config{Self: node(1)})
	start(t, Config{Self: node(2), Join: []string{a.Addr()}})
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		if e, ok := a.RTT(2); ok {
			if e.RTT <= 0 || e.Error <= 0 {
				t.Errorf("estimate = %+v", e)
			}
			break
		}
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatal("no probe was answered")
		}
	}
	if s := a.HealthScore(); s < 0 {
		t.Errorf("health score %d", s)
	}
}

func TestNewRefuses(t *testing.T) {
	a, _ := start(t, Config{Self: node(1)})
	tests := []struct {
		name string
		cfg  Config
		want []string // in the text
	}{
		{"no id", Config{Bind: "127.0.0.1:0"}, []string{"Self.ID"}},
		{"no address", Config{Self: node(2)}, []string{"Bind"}},
		{"bad key", Config{Self: node(2), Bind: "127.0.0.1:0", SecretKey: []byte("short")}, []string{"16, 24 or 32"}},
		{"long label", Config{Self: node(2), Bind: "127.0.0.1:0", Label: strings.Repeat("x", 256)}, []string{"label", "255"}},
		{"port taken", Config{Self: node(2), Bind: a.Addr()}, []string{a.Addr(), "taken", "another port"}},
		{"not ours", Config{Self: node(2), Bind: "192.0.2.1:0"}, []string{"192.0.2.1:0", "address of this machine"}},
		{"not an address", Config{Self: node(2), Bind: "nonsense"}, []string{"nonsense"}},
		{"bad advertised port", Config{Self: node(2), Bind: "127.0.0.1:0", Advertise: "10.0.0.1:x"}, []string{"advertise", "10.0.0.1:x"}},
		{"every address", Config{Self: node(2), Bind: "[::]:0"}, []string{"[::]:0", "every address"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, err := New(tt.cfg)
			if err == nil {
				d.Close()
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

func TestAdvertise(t *testing.T) {
	d, err := New(Config{Self: node(1), Bind: "127.0.0.1:0", Advertise: "127.0.0.2"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if host, port, _ := net.SplitHostPort(d.Addr()); host != "127.0.0.2" || port == "0" {
		t.Errorf("Addr() = %s; want 127.0.0.2 and the port bound to", d.Addr())
	}
}
