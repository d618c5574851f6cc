package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	stateMiB  = flag.Int("state", 256, "MiB of state that snapshots are taken of")
	stateFor  = flag.Duration("state-for", 20*time.Second, "how long writes are measured, with snapshots and without")
	stateRate = flag.Int("state-rate", 400, "writes a second")
	stateDue  = flag.Int("state-due", 2000, "slots between snapshots; a large state waits four times as many")
	statePush = flag.Bool("state-push", false, "take one snapshot right after another, too")
)

// BenchmarkSnapshot asks what writes wait for while snapshots of a large state are
// taken on all three nodes, which share processors and a disk: the same writes at the
// same rate, first without snapshots, then while they are taken as they fall due, after
// the same slots on all nodes. Those writes are counted apart during which any node took
// one. A write is timed from when it was due. With -state-push snapshots are then taken
// one right after another. It prints rows of a table in Markdown:
//
//	| state | snapshots | writes | p50 | p99 | max |
func BenchmarkSnapshot(b *testing.B) {
	for _, state := range []struct {
		name string
		fill func(b *testing.B, c *http.Client, url string, bytes int)
	}{
		{"config of 1 KiB", fillConfig(1 << 10)},
		{"config of 64 KiB", fillConfig(64 << 10)},
		{"sessions and locks", fillLocks},
	} {
		b.Run(strings.ReplaceAll(state.name, " ", "-"), func(b *testing.B) {
			for b.Loop() {
				benchSnapshots(b, state.name, state.fill)
			}
		})
	}
}

func benchSnapshots(b *testing.B, name string, fill func(*testing.B, *http.Client, string, int)) {
	taken := &spans{}
	cfg := Config{Dir: b.TempDir(), Log: slog.New(spanHandler{spans: taken})}
	cfg.Node.SnapshotSlots = 1 << 30
	c, err := Start(cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Stop()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	url := lead(b, c)
	fill(b, client, url, *stateMiB<<20)
	size := fmt.Sprintf("%d MiB, %s", *stateMiB, name)
	time.Sleep(10 * time.Second) // what the filling has set going ends
	runtime.GC()
	url = lead(b, c)
	without := times(putAtRate(b, client, url, forSoLong))
	b.Logf("| %s | none | %s |", size, row(without))

	restart(b, c, *stateDue)
	taken.forget()
	from := time.Now()
	during, between := taken.split(putAtRate(b, client, lead(b, c), func(d time.Duration) bool {
		return forSoLong(d) && (taken.many() >= len(c.members) || d > 5*time.Minute)
	}))
	if len(during) == 0 {
		b.Fatal("no snapshot was taken")
	}
	share, n, mean := taken.share(from, time.Now())
	b.Logf("| %s | while any of %d is taken, in %v on average, %.0f %% of the time | %s |", size, n, mean.Round(time.Millisecond), 100*share, row(during))
	if len(between) > 0 {
		b.Logf("| %s | between them | %s |", size, row(between))
	}
	if *statePush {
		restart(b, c, 100)
		b.Logf("| %s | one right after another | %s |", size, row(times(putAtRate(b, client, lead(b, c), forSoLong))))
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(at(during, 0.99)-at(without, 0.99)), "added-p99-ms")
	b.ReportMetric(ms(at(without, 0.99)), "p99-ms")
	b.ReportMetric(0, "ns/op")
	if err := c.Failed(); err != nil {
		b.Fatal(err)
	}
}

// restart starts all nodes again, one by one, to take a snapshot after so many slots.
func restart(b *testing.B, c *Cluster, slots int) {
	for _, m := range c.members {
		m.cfg.SnapshotSlots = slots
		if err := c.Restart(m.name); err != nil {
			b.Fatal(err)
		}
		lead(b, c)
	}
}

// lead waits for a leader and returns its URL.
func lead(b *testing.B, c *Cluster) string {
	ctx, cancel := context.WithTimeout(b.Context(), 2*time.Minute)
	defer cancel()
	if err := c.Ready(ctx); err != nil {
		b.Fatal(err)
	}
	for {
		name := c.Leader()
		for _, s := range c.States() {
			if s.Name == name {
				return s.URL
			}
		}
		if ctx.Err() != nil {
			b.Fatal("nobody leads")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// at returns a quantile of what is in order.
func at(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(int(float64(len(sorted))*q), len(sorted)-1)]
}

func row(d []time.Duration) string {
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
	return fmt.Sprintf("%d | %s | %s | %s", len(d), ms(at(d, 0.5)), ms(at(d, 0.99)), ms(d[len(d)-1]))
}

// A put is a write: when it was due, and how long after that it was acknowledged.
type put struct {
	due  time.Time
	took time.Duration
}

// times returns how long puts took, in order.
func times(puts []put) (took []time.Duration) {
	for _, p := range puts {
		took = append(took, p.took)
	}
	slices.Sort(took)
	return took
}

// forSoLong is the least time that writes are measured.
func forSoLong(d time.Duration) bool { return d > *stateFor }

// putAtRate writes small values until enough says, after a time, that it is.
func putAtRate(b *testing.B, c *http.Client, url string, enough func(time.Duration) bool) (puts []put) {
	value := bytes.Repeat([]byte("v"), 256)
	var mu sync.Mutex
	var open sync.WaitGroup
	free := make(chan struct{}, 256) // what is beyond waits, and is timed
	start, every := time.Now(), time.Second/time.Duration(*stateRate)
	for i := 0; ; i++ {
		due := start.Add(time.Duration(i) * every)
		if enough(due.Sub(start)) {
			break
		}
		time.Sleep(time.Until(due))
		free <- struct{}{}
		open.Go(func() {
			do(b, c, http.MethodPut, fmt.Sprintf("%s/v1/config/small/%d", url, i%100), value)
			<-free
			mu.Lock()
			puts = append(puts, put{due, time.Since(due)})
			mu.Unlock()
		})
	}
	open.Wait()
	return puts
}

// fillConfig returns what makes config entries of size bytes.
func fillConfig(size int) func(*testing.B, *http.Client, string, int) {
	return func(b *testing.B, c *http.Client, url string, total int) {
		value := strings.Repeat("x", size)
		var ops []map[string]string
		for i := range total / size {
			ops = append(ops, map[string]string{"put": fmt.Sprintf("large/%07d", i), "value": value})
			if len(ops) == 120 || len(ops)*size >= 256<<10 || i == total/size-1 {
				post(b, c, url+"/v1/transactions", map[string]any{"then": ops}, nil)
				ops = nil
			}
		}
	}
}

// fillLocks makes sessions with names of 1 KiB, and each holds locks with notes
// of 1 KiB.
func fillLocks(b *testing.B, c *http.Client, url string, total int) {
	text := strings.Repeat("x", 1000)
	const each = 120
	for i := range total / (each + 1) / 1024 {
		var s struct {
			ID string `json:"id"`
		}
		post(b, c, url+"/v1/sessions", map[string]any{"ttl": "12h", "name": text}, &s)
		var names []string
		for j := range each {
			names = append(names, fmt.Sprintf("locks/%07d/%d", i, j))
		}
		post(b, c, url+"/v1/locks:acquire", map[string]any{"session": s.ID, "names": names, "note": text}, nil)
	}
}

// post sends one request that must succeed, and may do so twice.
func post(b *testing.B, c *http.Client, url string, in, out any) {
	body, err := json.Marshal(in)
	if err != nil {
		b.Fatal(err)
	}
	var resp *http.Response
	var answer []byte
	for range 10 { // a machine that is slow to fill may be measured all the same
		if resp, err = c.Post(url, "application/json", bytes.NewReader(body)); err != nil {
			b.Fatal(err)
		}
		answer, _ = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode < 500 {
			break
		}
		time.Sleep(time.Second)
	}
	if resp.StatusCode >= 300 {
		b.Fatalf("%s: %s: %.200s", url, resp.Status, answer)
	}
	if out != nil {
		if err := json.Unmarshal(answer, out); err != nil {
			b.Fatal(err)
		}
	}
}
