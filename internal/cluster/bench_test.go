package cluster

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// benchCluster runs three nodes for a benchmark and returns the leader's URL
// and a client with so many connections.
func benchCluster(b *testing.B, clients int) (string, *http.Client) {
	b.Helper()
	c, err := Start(Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Stop)
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	if err := c.Ready(ctx); err != nil {
		b.Fatal(err)
	}
	for _, s := range c.States() {
		if s.Leader {
			return s.URL, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
		}
	}
	b.Fatal("nobody leads")
	return "", nil
}

// do sends one request that must succeed.
func do(b *testing.B, c *http.Client, method, url string, body []byte) {
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		b.Error(err)
		return
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode >= 300 {
		b.Errorf("%s %s: %s", method, url, resp.Status)
	}
}

// BenchmarkPut and BenchmarkGet drive three complete nodes in this process, real
// disks and sockets, through HTTP: clients, nodes and kernel share the cores.
func BenchmarkPut(b *testing.B) {
	value := bytes.Repeat([]byte("x"), 256)
	run(b, func(c *http.Client, url string, worker, _ int) {
		do(b, c, http.MethodPut, fmt.Sprintf("%s/v1/config/k%d", url, worker), value)
	})
}

func BenchmarkGet(b *testing.B) {
	run(b, func(c *http.Client, url string, worker, i int) {
		if i == 0 {
			do(b, c, http.MethodPut, fmt.Sprintf("%s/v1/config/k%d", url, worker), []byte("v"))
			return
		}
		do(b, c, http.MethodGet, fmt.Sprintf("%s/v1/config/k%d", url, worker), nil)
	})
}

func run(b *testing.B, op func(c *http.Client, url string, worker, i int)) {
	for _, clients := range []int{1, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			url, c := benchCluster(b, clients)
			var workers atomic.Int64
			b.ReportAllocs()
			b.SetParallelism(max(clients/2, 1)) // times GOMAXPROCS, which is 2 on the machines we compare
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				worker := int(workers.Add(1))
				for i := 0; pb.Next(); i++ {
					op(c, url, worker, i)
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
		})
	}
}
