package client

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/multiplex"
)

// BenchmarkClient is one put and one get, of 256 bytes, by so many goroutines at once,
// at a node that answers at once: what the client costs, its connection and the other
// end of that.
func BenchmarkClient(b *testing.B) {
	value := make([]byte, 256)
	node := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["Prytany-Revision"], h["Prytany-Slot"], h["Etag"] = []string{"7"}, []string{"9"}, []string{`"7"`}
		h["Prytany-Request-Id"], h["Content-Type"] = []string{"AAAAAAAAAAAAAAAAAAAAAAAAAA"}, []string{api.TypeBytes}
		if r.Method == http.MethodGet {
			h[api.HeaderVersion], h[api.HeaderCreated] = []string{"3"}, []string{"5"}
			_, _ = w.Write(value)
			return
		}
		_, _ = w.Write([]byte(`{"key":"k","revision":7,"version":3,"created":false}`))
	})
	shared := multiplex.NewServer(multiplex.ServerConfig{Handler: node})
	srv := httptest.NewServer(shared)
	defer srv.Close()
	defer shared.Close()
	for what, do := range map[string]func(c *Client) error{
		"put": func(c *Client) error { _, err := c.Put(b.Context(), "bench/k", value); return err },
		"get": func(c *Client) error { _, err := c.Get(b.Context(), "bench/k"); return err },
	} {
		for _, n := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s, %d at once", what, n), func(b *testing.B) {
				c, err := New(Config{Endpoints: []string{srv.URL}})
				if err != nil {
					b.Fatal(err)
				}
				defer func() { _ = c.Close() }()
				b.ReportAllocs()
				var left atomic.Int64
				left.Store(int64(b.N))
				var all sync.WaitGroup
				for range n {
					all.Go(func() {
						for left.Add(-1) >= 0 {
							if err := do(c); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				all.Wait()
			})
		}
	}
}
