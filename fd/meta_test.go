package fd

import (
	"bytes"
	"errors"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/serf/coordinate"

	"github.com/prytany/prytany/synod"
)

// full is a description with every text set.
func full() Node {
	return Node{Name: "n1", HTTPAddr: "10.0.0.1:7480", PeerAddr: "10.0.0.1:7481", Zone: "a",
		Version: "1.2.3", Cluster: "c0ffee", Incarnation: 300, State: Leaving}
}

func TestMetaRoundTrip(t *testing.T) {
	for _, want := range []Node{{}, full(), {Incarnation: math.MaxUint64}, {Name: strings.Repeat("x", 255)}} {
		in, err := encodeMeta(want)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decodeMeta(in); got != want || err != nil {
			t.Errorf("decodeMeta(encodeMeta(%+v)) = %+v, %v", want, got, err)
		}
		if got, err := decodeMeta(append(in, "of a later program"...)); got != want || err != nil {
			t.Errorf("with a later field: %+v, %v; want %+v", got, err, want)
		}
		for n := range in {
			if got, err := decodeMeta(in[:n]); !errors.Is(err, errMeta) || got != (Node{}) {
				t.Fatalf("first %d of %d bytes: %+v, %v; want refusal", n, len(in), got, err)
			}
		}
	}
}

func TestMetaRefuses(t *testing.T) {
	long := strings.Repeat("x", 200)
	for _, n := range []Node{{Name: strings.Repeat("x", 256)}, {Zone: "\xff"}, {Name: long, Zone: long, Version: long}} {
		if out, err := encodeMeta(n); err == nil {
			t.Errorf("encodeMeta(%+v) = %d bytes; want an error", n, len(out))
		}
	}
	good, _ := encodeMeta(full())
	later := bytes.Clone(good)
	later[0]++
	if _, err := decodeMeta(later); err == nil || errors.Is(err, errMeta) {
		t.Errorf("a later version: %v; want an error that says so", err)
	}
	if _, err := decodeMeta(append(good, make([]byte, 512)...)); !errors.Is(err, errMeta) {
		t.Errorf("too long: %v; want %v", err, errMeta)
	}
}

func FuzzMeta(f *testing.F) {
	good, _ := encodeMeta(full())
	f.Add(good)
	f.Add([]byte{1, 0, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		n, err := decodeMeta(in)
		if err != nil {
			return
		}
		out, err := encodeMeta(n)
		if err != nil {
			t.Fatalf("%+v was decoded but cannot be encoded: %v", n, err)
		}
		if again, err := decodeMeta(out); again != n || err != nil {
			t.Fatalf("%+v came back as %+v, %v", n, again, err)
		}
	})
}

func TestParseID(t *testing.T) {
	for name, ok := range map[string]bool{"0000000000000abc": true, "abc": false, "0000000000000000": false,
		"0000000000000ABC": false, "+000000000000abc": false, "": false, "host-1": false} {
		if _, err := parseID(name); (err == nil) != ok {
			t.Errorf("parseID(%q): %v; want ok %v", name, err, ok)
		}
	}
}

func FuzzCoordinate(f *testing.F) {
	f.Add(encodeCoord(coordinate.NewCoordinate(coordinate.DefaultConfig())))
	f.Fuzz(func(t *testing.T, in []byte) {
		if c, err := decodeCoord(in); err == nil && !bytes.Equal(encodeCoord(c), in) {
			t.Fatalf("%x came back as %x", in, encodeCoord(c))
		}
	})
}

func TestCoordinateRefuses(t *testing.T) {
	good := encodeCoord(coordinate.NewCoordinate(coordinate.DefaultConfig()))
	for n := range good {
		if _, err := decodeCoord(good[:n]); !errors.Is(err, errCoord) {
			t.Fatalf("first %d bytes: %v; want refusal", n, err)
		}
	}
	bad := coordinate.NewCoordinate(coordinate.DefaultConfig())
	bad.Height = math.Inf(1)
	if _, err := decodeCoord(encodeCoord(bad)); !errors.Is(err, errCoord) {
		t.Errorf("infinite height: %v; want refusal", err)
	}
}

// TestPlanePredicts lets two planes measure 20 ms between them.
func TestPlanePredicts(t *testing.T) {
	a, errA := newPlane()
	b, errB := newPlane()
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	if _, ok := a.estimate(2); ok {
		t.Error("an estimate before any measurement")
	}
	if a.known(1, 1) != nil {
		t.Error("a place before any measurement")
	}
	for range 200 {
		if err := errors.Join(a.observe(2, 20*time.Millisecond, b.payload()), b.observe(1, 20*time.Millisecond, a.payload())); err != nil {
			t.Fatal(err)
		}
	}
	if a.known(2, 1) == nil || a.known(1, 1) == nil || a.known(3, 1) != nil {
		t.Error("both places are known, and no third one")
	}
	if e, ok := a.estimate(2); !ok || e.RTT < 15*time.Millisecond || e.RTT > 25*time.Millisecond || e.Error > 0.3 {
		t.Errorf("estimate = %+v, %v; want about 20ms", e, ok)
	}
	a.forget(2)
	if _, ok := a.estimate(2); ok {
		t.Error("an estimate of a forgotten node")
	}
}

func TestTable(t *testing.T) {
	tb := table{members: make(map[synod.NodeID]member)}
	start := time.Unix(1000, 0)
	tb.put(Node{ID: 2, Name: "b", GossipAddr: "two"}, start)
	tb.put(Node{ID: 1, Name: "a", GossipAddr: "one"}, start)
	tb.put(Node{ID: 3, Name: "b", GossipAddr: "three"}, start)
	if want := []Conflict{{"b", []synod.NodeID{2, 3}, []string{"two", "three"}}}; !slices.EqualFunc(tb.view.Conflicts, want, sameConflict) {
		t.Errorf("conflicts = %+v; want %+v", tb.view.Conflicts, want)
	}
	old := tb.view
	tb.dead(3, start)
	if n, ok := old.Find(3); !ok || n.State != Alive {
		t.Errorf("an old view has changed: %+v", n)
	}
	if n, ok := tb.view.Find(3); !ok || n.State != Dead || len(tb.view.Conflicts) != 0 {
		t.Errorf("after a death: %+v, %+v; want Dead and no conflict", n, tb.view.Conflicts)
	}
	if !tb.clash(1, "four", start) || tb.clash(1, "four", start) {
		t.Error("a clash must be news once")
	}
	if want := []Conflict{{"a", []synod.NodeID{1}, []string{"one", "four"}}}; !slices.EqualFunc(tb.view.Conflicts, want, sameConflict) {
		t.Errorf("conflicts = %+v; want %+v", tb.view.Conflicts, want)
	}
	version := tb.view.Version
	if tb.forget(start, 0) || tb.view.Version != version {
		t.Error("forgot a node that died at the limit")
	}
	if !tb.forget(start.Add(1), 0) || tb.view.Version != version+1 || len(tb.view.Nodes) != 2 {
		t.Errorf("view = %+v; want two nodes and one change", tb.view)
	}
	if _, ok := tb.view.Find(3); ok {
		t.Error("found a forgotten node")
	}
}

func sameConflict(a, b Conflict) bool {
	return a.Name == b.Name && slices.Equal(a.Nodes, b.Nodes) && slices.Equal(a.Addrs, b.Addrs)
}

func TestLogWriter(t *testing.T) {
	var out bytes.Buffer
	plain := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	w := &logWriter{log: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: plain}))}
	for _, line := range []string{"[ERR] memberlist: no route\n", "[ERR] memberlist: no route\n", "[DEBUG] memberlist: sync\n", "[INFO] x\n", "odd\n"} {
		if n, err := w.Write([]byte(line)); n != len(line) || err != nil {
			t.Errorf("Write(%q) = %d, %v", line, n, err)
		}
	}
	want := `level=INFO msg="gossip: no route"
level=DEBUG msg="gossip: no route"
level=DEBUG msg="gossip: sync"
level=DEBUG msg="gossip: x"
level=DEBUG msg="gossip: odd"
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", &out, want)
	}
}
