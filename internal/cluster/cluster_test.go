package cluster

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/node"
)

// start runs a cluster of n nodes for a test.
func start(t *testing.T, n int) *Cluster {
	t.Helper()
	c, err := Start(Config{Nodes: n, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	ready(t, c)
	return c
}

func ready(t *testing.T, c *Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.Ready(ctx); err != nil {
		t.Fatal(err)
	}
}

// url returns the API of a node.
func url(t *testing.T, c *Cluster, name string) string {
	t.Helper()
	for _, s := range c.States() {
		if s.Name == name {
			return s.URL
		}
	}
	t.Fatalf("no node %s", name)
	return ""
}

// call sends one request and returns status and body.
func call(t *testing.T, method, url, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(b)
}

// again reports whether an answer, or none, asks to send the request once more: nothing has
// come of it, or there is a key by which a repetition is known.
func again(status int, body string) bool {
	var p api.Problem
	return status == 0 || json.Unmarshal([]byte(body), &p) == nil && p.Retryable
}

// must is call that wants a status. What the answer says may be sent again is sent again: a
// node that has just come up may have to find its leader first, or the others.
func must(t *testing.T, want int, method, url, body string, header ...string) string {
	t.Helper()
	if method != http.MethodGet && !slices.Contains(header, api.HeaderIdempotencyKey) {
		header = append(header, api.HeaderIdempotencyKey, rand.Text())
	}
	for end := time.Now().Add(time.Minute); ; {
		status, got := call(t, method, url, body, header...)
		if status == want {
			return got
		}
		if !again(status, got) || time.Now().After(end) {
			t.Fatalf("%s %s: %d %s; want %d", method, url, status, got, want)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// leader waits until somebody leads and returns its name.
func leader(t *testing.T, c *Cluster) string {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if l := c.Leader(); l != "" {
			return l
		}
	}
	t.Fatal("nobody leads")
	return ""
}

func others(c *Cluster, name string) (out []string) {
	for _, s := range c.States() {
		if s.Name != name {
			out = append(out, s.Name)
		}
	}
	return out
}

func TestTheLeaderGoesAndNothingIsLost(t *testing.T) {
	c := start(t, 3)
	lead := leader(t, c)
	rest := others(c, lead)
	must(t, 201, "PUT", url(t, c, lead)+"/v1/config/k", "v")
	var grant api.Grant
	if err := json.Unmarshal([]byte(must(t, 200, "PUT", url(t, c, rest[0])+"/v1/locks/l", `{"ttl":"60s"}`)), &grant); err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(lead); err != nil {
		t.Fatal(err)
	}
	for _, name := range rest {
		if got := must(t, 200, "GET", url(t, c, name)+"/v1/config/k", ""); got != "v" {
			t.Errorf("%s says %q; want v", name, got)
		}
		must(t, 409, "PUT", url(t, c, name)+"/v1/locks/l", `{"ttl":"30s"}`)
		must(t, 204, "GET", fmt.Sprintf("%s/v1/locks/l?fence=%d", url(t, c, name), grant.Fence), "")
	}
	if err := c.Restart(lead); err != nil {
		t.Fatal(err)
	}
	ready(t, c)
	if got := must(t, 200, "GET", url(t, c, lead)+"/v1/config/k", ""); got != "v" {
		t.Errorf("%s says %q after its restart; want v", lead, got)
	}
}

func TestAllGoAtOnceAndNothingIsLost(t *testing.T) {
	c := start(t, 3)
	for i := range 50 {
		must(t, 201, "PUT", fmt.Sprintf("%s/v1/config/k%d", url(t, c, "n1"), i), fmt.Sprint(i))
	}
	for _, s := range c.States() {
		if err := c.Kill(s.Name); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range c.States() {
		if err := c.Restart(s.Name); err != nil {
			t.Fatal(err)
		}
	}
	ready(t, c)
	for i := range 50 {
		for _, s := range c.States() {
			if got := must(t, 200, "GET", fmt.Sprintf("%s/v1/config/k%d", s.URL, i), ""); got != fmt.Sprint(i) {
				t.Fatalf("%s: k%d is %q", s.Name, i, got)
			}
		}
	}
}

// TestOneBrokenLinkChangesNoLeader is the topology of Cloudflare's incident of
// November 2020: a follower cannot reach the leader, both reach the third node.
func TestOneBrokenLinkChangesNoLeader(t *testing.T) {
	c := start(t, 3)
	lead := leader(t, c)
	before := c.Node(lead).Standing()
	rest := others(c, lead)
	cutOff, third := rest[0], rest[1]
	since := []uint64{told(t, c, lead).Next, told(t, c, third).Next}
	if err := c.Cut(lead, cutOff); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if got := must(t, 201, "PUT", fmt.Sprintf("%s/v1/config/x%d", url(t, c, cutOff), i), "v"); !strings.Contains(got, "revision") {
			t.Fatal(got)
		}
		must(t, 200, "GET", fmt.Sprintf("%s/v1/config/x%d", url(t, c, cutOff), i), "")
		time.Sleep(10 * time.Millisecond) // long enough for the link to count as down
	}
	after := c.Node(lead).Standing()
	if after == before {
		return
	}
	// The lead may move when the machine stands still for too long: then its disk, its loop or
	// its link to the third node was the reason, and one of the two has said so.
	var seen strings.Builder
	for i, name := range []string{lead, third} {
		for _, e := range told(t, c, name).Events {
			switch {
			case e.ID < since[i]:
				continue
			case name == lead && (e.Kind == "unfit" || e.Kind == "disk-slow"), e.Kind == "link-down" && e.Peer != cutOff:
				t.Logf("the lead has moved for a reason: %s", e.Text)
				return
			}
			fmt.Fprintln(&seen, e.Time, e.Text)
		}
	}
	t.Errorf("the leader stood at %+v and stands at %+v, and nothing but the cut link was the matter:\n%s", before, after, seen.String())
}

// told returns what a node tells that it has seen.
func told(t *testing.T, c *Cluster, name string) (out api.NodeEvents) {
	t.Helper()
	if err := json.Unmarshal([]byte(must(t, 200, "GET", url(t, c, name)+"/v1/events?limit=1000", "")), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAMinorityAnswersNothingAndLosesNothing(t *testing.T) {
	c := start(t, 3)
	lead := leader(t, c)
	rest := others(c, lead)
	must(t, 201, "PUT", url(t, c, lead)+"/v1/config/k", "old")
	if err := c.Partition([]string{lead}, rest); err != nil {
		t.Fatal(err)
	}
	must(t, 200, "PUT", url(t, c, rest[0])+"/v1/config/k", "new")
	if status, body := call(t, "GET", url(t, c, lead)+"/v1/config/k", ""); status == 200 {
		t.Errorf("the cut-off leader answered a linearizable read: %q", body)
	}
	if status, body := call(t, "GET", url(t, c, lead)+"/v1/config/k?consistency=stale", ""); status != 200 || body != "old" {
		t.Errorf("stale read at the cut-off leader: %d %q; want 200 old", status, body)
	}
	c.Heal()
	if got := must(t, 200, "GET", url(t, c, lead)+"/v1/config/k", ""); got != "new" {
		t.Errorf("after healing: %q; want new", got)
	}
}

func TestAPausedLeaderIsReplaced(t *testing.T) {
	c := start(t, 3)
	lead := leader(t, c)
	rest := others(c, lead)
	if err := c.Pause(lead); err != nil {
		t.Fatal(err)
	}
	must(t, 201, "PUT", url(t, c, rest[0])+"/v1/config/k", "v")
	if err := c.Resume(lead); err != nil {
		t.Fatal(err)
	}
	if got := must(t, 200, "GET", url(t, c, lead)+"/v1/config/k", ""); got != "v" {
		t.Errorf("after resuming: %q; want v", got)
	}
}

func TestClustersOfOtherSizes(t *testing.T) {
	for _, n := range []int{1, 2, 5} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			c := start(t, n)
			must(t, 201, "PUT", url(t, c, "n1")+"/v1/config/k", "v")
			for _, s := range c.States() {
				if got := must(t, 200, "GET", s.URL+"/v1/config/k", ""); got != "v" {
					t.Errorf("%s: %q", s.Name, got)
				}
			}
		})
	}
}

func TestOrdersToUnknownNodes(t *testing.T) {
	c := start(t, 1)
	for name, err := range map[string]error{
		"kill": c.Kill("n9"), "restart": c.Restart("n9"), "pause": c.Pause("n9"), "resume": c.Resume("n9"), "cut": c.Cut("n1", "n9"),
		"partition": c.Partition([]string{"n1"}, []string{"n9"}),
	} {
		if !errors.Is(err, ErrNoNode) {
			t.Errorf("%s: %v; want ErrNoNode", name, err)
		}
	}
	if c.Cut("n1", "n1") == nil || c.Partition([]string{"n1"}, []string{"n1"}) == nil || c.Resume("n1") == nil {
		t.Error("orders that make no sense were accepted")
	}
}

// TestForeignDirectory joins a cluster with the directory of another one.
func TestForeignDirectory(t *testing.T) {
	a, b := start(t, 1), start(t, 1)
	dir := t.TempDir()
	cfg := node.Config{
		Name: "x", DataDir: dir, HTTP: "127.0.0.1:0", Peer: "127.0.0.1:0", Gossip: "127.0.0.1:0",
		Join: []string{a.Node("n1").GossipAddr()}, Voters: 1,
	}
	x := runUntilReady(t, cfg)
	x()
	cfg.Join = []string{b.Node("n1").GossipAddr()}
	n, err := node.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	before := id(t, dir)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = n.Run(ctx)
	if ctx.Err() != nil {
		t.Fatal("the node runs on, in the cluster that it knows: the other one has not answered its first attempt to join")
	}
	if err == nil || !strings.Contains(err.Error(), "another cluster") || strings.Contains(err.Error(), "\n") {
		t.Errorf("Run = %v; want one line about another cluster", err)
	}
	if after := id(t, dir); after != before {
		t.Errorf("the directory's cluster was %q and is %q", before, after)
	}
}

// runUntilReady runs a node and returns what stops it.
func runUntilReady(t *testing.T, cfg node.Config) (stop func()) {
	t.Helper()
	n, err := node.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	for end := time.Now().Add(time.Minute); !n.Ready(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the node does not get ready")
		}
	}
	return func() {
		n.Kill()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// id returns the cluster id in a directory that nobody has open.
func id(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(dir + "/node.db")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), `"cluster":"`)
	cluster, _, _ := strings.Cut(rest, `"`)
	return cluster
}
