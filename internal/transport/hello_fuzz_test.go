package transport

import (
	"bytes"
	"testing"

	"github.com/prytany/prytany/internal/roster"
)

// FuzzHello reads anything as the first bytes of a connection: no byte too many is
// taken, and what is understood is written again as the same.
func FuzzHello(f *testing.F) {
	for _, h := range []hello{
		{protocol: protocol, node: 1, wanted: 2, incarnation: 3, nonce: 4, seen: roster.Sighting{Incarnation: 5, Nonce: 6, Position: 7}, cluster: "c0ffee"},
		{protocol: protocol, lane: lanes - 1, refused: true, able: true, node: 1, cookie: 9},
		{protocol: protocol + 1, node: 1},
	} {
		var b bytes.Buffer
		if err := h.write(&b); err != nil {
			f.Fatal(err)
		}
		f.Add(append(b.Bytes(), "and what follows"...))
	}
	f.Add([]byte("GET / HTTP/1.1\r\n"))
	ours := hello{protocol: protocol, node: 2, wanted: 1, cluster: "c0ffee"}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		h, err := readHello(r)
		if err != nil {
			return
		}
		why := h.mismatch(ours)
		if h.protocol != protocol {
			if why == "" || len(in)-r.Len() != helloFore {
				t.Fatalf("version %d: refused because of %q, %d bytes taken", h.protocol, why, len(in)-r.Len())
			}
			return
		}
		if why == "" && (h.node != 1 || h.wanted != 2 || h.cluster != "" && h.cluster != "c0ffee") {
			t.Fatalf("%+v is let in by %+v", h, ours)
		}
		var b bytes.Buffer
		if err := h.write(&b); err != nil {
			t.Fatal(err)
		}
		again, err := readHello(bytes.NewReader(b.Bytes()))
		if err != nil || again != h {
			t.Fatalf("%+v came back as %+v, %v", h, again, err)
		}
		if taken := len(in) - r.Len(); b.Len() > taken || h.cookie != 0 && b.Len() != taken {
			t.Fatalf("%d bytes were taken; written again it has %d", taken, b.Len())
		}
	})
}
