package cluster

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"
)

// BenchmarkStop asks what it costs clients that a node is stopped as SIGTERM
// stops it: the longest time between two writes that succeed, one after the
// other, through a node that stays. No write may fail.
func BenchmarkStop(b *testing.B) {
	for _, what := range []string{"leader", "follower", "none"} {
		b.Run(what, func(b *testing.B) {
			c, err := Start(Config{Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Stop()
			var gaps []time.Duration
			for b.Loop() {
				gaps = append(gaps, stopOne(b, c, what))
			}
			slices.Sort(gaps)
			ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
			b.ReportMetric(ms(gaps[len(gaps)/2]), "median-gap-ms")
			b.ReportMetric(ms(gaps[len(gaps)-1]), "worst-gap-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// stopOne stops the leader, or a follower, or none, to compare, while a client
// writes through another follower, and starts it again.
func stopOne(b *testing.B, c *Cluster, what string) (longest time.Duration) {
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	if err := c.Ready(ctx); err != nil {
		b.Fatal(err)
	}
	var victim, url string
	for leaders := 0; leaders != 1 || victim == ""; time.Sleep(20 * time.Millisecond) {
		leaders, victim, url = 0, "", ""
		for _, s := range c.States() {
			if s.Leader {
				leaders++
			}
			switch {
			case s.Leader == (what == "leader") && victim == "":
				victim = s.Name
			case !s.Leader:
				url = s.URL
			}
		}
		if ctx.Err() != nil {
			b.Fatalf("not one leader: %+v", c.States())
		}
	}
	time.Sleep(1200 * time.Millisecond) // links and leases are settled
	client := &http.Client{}
	put := func(during time.Duration) {
		longest = 0
		for end := time.Now().Add(during); time.Now().Before(end); {
			begin := time.Now()
			do(b, client, http.MethodPut, url+"/v1/config/k", []byte("v"))
			longest = max(longest, time.Since(begin))
		}
	}
	put(200 * time.Millisecond)
	if what == "none" {
		put(1500 * time.Millisecond)
		return longest
	}
	stopped := make(chan struct{})
	go c.stop(victim, stopped)
	put(1500 * time.Millisecond)
	<-stopped
	if err := c.Restart(victim); err != nil {
		b.Fatal(err)
	}
	return longest
}

// stop ends a node politely.
func (c *Cluster) stop(name string, done chan struct{}) {
	defer close(done)
	_ = c.with(name, func(m *member) error {
		m.cancel()
		<-m.end.done
		m.node = nil
		return nil
	})
}
