// Package doctor looks at a cluster from outside and says what is wrong with it
// and what to do.
package doctor

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prytany/prytany/internal/api"
)

// A Check is one line of the list.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Hint   string `json:"hint,omitempty"` // what to do, unless OK
}

// What is not good any more.
const (
	maxDrift  = 2 * time.Second // Date has whole seconds
	maxFsync  = 50 * time.Millisecond
	minFree   = 1 << 30
	askWithin = 3 * time.Second
	mostReply = 8 << 20
)

// A node is what one address answered.
type node struct {
	url     string
	err     error
	status  api.Status
	members []api.Member
	drift   time.Duration // of its clock against this one's
	dated   bool
	fsync   time.Duration // mean since it started
	synced  bool
}

// Examine asks the given URLs, and every node that they know of.
func Examine(ctx context.Context, hc *http.Client, urls []string) []Check {
	nodes := askAll(ctx, hc, urls)
	var more []string
	for _, n := range nodes {
		for _, m := range n.members {
			known := slices.ContainsFunc(nodes, func(o *node) bool { return o.url == m.HTTP || o.err == nil && o.status.ID == m.ID })
			if m.HTTP != "" && m.Gossip != "leaving" && !m.Removed && !known && !slices.Contains(more, m.HTTP) {
				more = append(more, m.HTTP)
			}
		}
	}
	nodes = append(nodes, askAll(ctx, hc, more)...)
	checks := reachable(nodes)
	var alive []*node
	for _, n := range nodes {
		same := func(o *node) bool { return o.status.ID == n.status.ID }
		if n.err == nil && !slices.ContainsFunc(alive, same) {
			alive = append(alive, n)
		}
	}
	if len(alive) == 0 {
		return checks
	}
	sort.Slice(alive, func(i, k int) bool { return alive[i].status.Name < alive[k].status.Name })
	checks = append(checks, clusters(alive))
	checks = append(checks, quorums(alive)...)
	all, err := allGroups(ctx, hc, alive)
	return append(checks, groups(all, err), agreement(alive, all), clocks(alive), disks(alive), syncs(alive), versions(alive))
}

func askAll(ctx context.Context, hc *http.Client, urls []string) []*node {
	nodes := make([]*node, len(urls))
	var wg sync.WaitGroup
	for i, u := range urls {
		wg.Go(func() { nodes[i] = ask(ctx, hc, u) })
	}
	wg.Wait()
	return nodes
}

// ask asks one node all there is to ask.
func ask(ctx context.Context, hc *http.Client, url string) *node {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	n := &node{url: url}
	begin := time.Now()
	h, body, err := get(ctx, hc, url+"/v1/status")
	took := time.Since(begin)
	if err == nil {
		err = json.Unmarshal(body, &n.status)
	}
	if err != nil {
		n.err = err
		return n
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		// The node rounds down: on average half a second is missing.
		n.drift, n.dated = date.Add(500*time.Millisecond).Sub(begin.Add(took/2)), true
	}
	if _, body, err = get(ctx, hc, url+"/v1/members"); err == nil {
		var m api.Members
		if json.Unmarshal(body, &m) == nil {
			n.members = m.Members
		}
	}
	if _, body, err = get(ctx, hc, url+"/metrics"); err == nil {
		n.fsync, n.synced = meanFsync(string(body))
	}
	return n
}

func get(ctx context.Context, hc *http.Client, url string) (http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, nil, err
	}
	resp, err := hc.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostReply))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s says %s", url, resp.Status)
	}
	return resp.Header, body, err
}

// meanFsync reads how long the disk took on average from a node's metrics.
func meanFsync(text string) (time.Duration, bool) {
	var sum, count float64
	for in := bufio.NewScanner(strings.NewReader(text)); in.Scan(); {
		name, value, _ := strings.Cut(in.Text(), " ")
		v, err := strconv.ParseFloat(value, 64)
		switch {
		case err != nil:
		case strings.HasSuffix(name, "fsync_duration_seconds_sum"):
			sum = v
		case strings.HasSuffix(name, "fsync_duration_seconds_count"):
			count = v
		}
	}
	if count == 0 || math.IsNaN(sum) {
		return 0, false
	}
	return time.Duration(sum / count * float64(time.Second)), true
}

func reachable(nodes []*node) (checks []Check) {
	for _, n := range nodes {
		c := Check{Name: "reach " + n.url, OK: n.err == nil}
		if c.OK {
			c.Detail = fmt.Sprintf("node %s, up %s", n.status.Name, (time.Duration(n.status.UptimeMS) * time.Millisecond).Round(time.Second))
		} else {
			c.Detail = cause(n.err).Error()
			c.Hint = "is the node running, and may this machine connect to it? prytany members says what the others think of it"
		}
		checks = append(checks, c)
	}
	return checks
}

func cause(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok || u.Unwrap() == nil {
			return err
		}
		err = u.Unwrap()
	}
}

func clusters(alive []*node) Check {
	c := Check{Name: "cluster", OK: true, Detail: "all nodes belong to " + alive[0].status.Cluster}
	for _, n := range alive {
		switch {
		case n.status.Cluster == "":
			return Check{Name: "cluster", Detail: n.status.Name + " has not joined yet", Hint: "serve --join wants the gossip address of a living node"}
		case n.status.Cluster != alive[0].status.Cluster:
			return Check{Name: "cluster", Detail: fmt.Sprintf("%s belongs to %s, %s to %s", alive[0].status.Name, alive[0].status.Cluster, n.status.Name, n.status.Cluster),
				Hint: "name the nodes of one cluster with --addr"}
		}
	}
	return c
}

// quorums says for each group whether it can decide, and what it survives.
func quorums(alive []*node) (checks []Check) {
	seen := map[string]api.GroupStatus{} // by what the node with the newest configuration says
	leads := map[string]bool{}
	for _, n := range alive {
		for _, g := range n.status.Groups {
			if old, ok := seen[g.Group]; !ok || g.Config > old.Config {
				seen[g.Group] = g
			}
			leads[g.Group] = leads[g.Group] || g.Role == api.RoleLeader
		}
	}
	names := make([]string, 0, len(seen))
	for name := range seen {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		g := seen[name]
		up := 0
		var gone []string
		for _, v := range g.Voters {
			if slices.ContainsFunc(alive, func(n *node) bool { return n.status.Name == v }) {
				up++
			} else {
				gone = append(gone, v)
			}
		}
		checks = append(checks, quorum(name, g, up, gone, leads[name]))
	}
	return checks
}

func quorum(name string, g api.GroupStatus, up int, gone []string, led bool) Check {
	spare := up - (len(g.Voters)/2 + 1)
	c := Check{Name: "quorum of " + name, OK: true, Detail: fmt.Sprintf("%d of %d voters answer; it survives %d more %s", up, len(g.Voters), max(spare, 0), failures(spare))}
	switch {
	case spare < 0:
		c.OK, c.Hint = false, "start "+strings.Join(gone, " or ")+" again: without a majority nothing is decided"
	case !led && g.Leader == "":
		c.OK, c.Detail, c.Hint = false, c.Detail+"; nobody leads", "wait a second and ask again; if that lasts, look at the links: prytany members"
	case len(gone) > 0:
		c.OK, c.Hint = false, "start "+strings.Join(gone, " and ")+" again; what is gone for good, prytany member replace takes out"
	case len(g.Voters) < 3:
		c.OK, c.Hint = false, "add nodes: with fewer than three voters the loss of one stops the group"
	}
	return c
}

func failures(n int) string {
	if n == 1 {
		return "failure"
	}
	return "failures"
}

// agreement compares what gossip, links and groups say of the same nodes.
func agreement(alive []*node, all []api.Group) Check {
	for _, n := range alive {
		for _, m := range n.members {
			if m.Removed {
				continue
			}
			voter := false
			for _, r := range m.Roles {
				voter = voter || r == api.RoleLeader || r == api.RoleCandidate || r == api.RoleFollower
			}
			switch {
			case voter && m.Gossip == "dead" && m.Link == "up":
				return Check{Name: "gossip and links agree", Detail: fmt.Sprintf("%s hears %s, but gossip says it is dead", n.status.Name, m.Name),
					Hint: "let UDP and TCP pass to the gossip port of " + m.Name}
			case m.Gossip == "alive" && m.Link == "down" && together(all, n.status.ID, m.ID):
				return Check{Name: "gossip and links agree", Detail: fmt.Sprintf("gossip says %s is alive, but %s has no link to it", m.Name, n.status.Name),
					Hint: "let TCP pass to the peer port of " + m.Name}
			case voter && m.Gossip != "alive":
				return Check{Name: "gossip and links agree", Detail: fmt.Sprintf("%s has a vote, and for %s gossip says %s", m.Name, n.status.Name, m.Gossip),
					Hint: "start it again; if it is gone for good: prytany member replace " + m.Name}
			}
		}
	}
	return Check{Name: "gossip and links agree", OK: true, Detail: fmt.Sprintf("%d nodes see each other", len(alive))}
}

func clocks(alive []*node) Check {
	low, high, any := time.Duration(math.MaxInt64), time.Duration(math.MinInt64), false
	who := ""
	for _, n := range alive {
		if !n.dated {
			continue
		}
		if low, any = min(low, n.drift), true; n.drift > high {
			high = n.drift
		}
		if n.drift.Abs() > maxDrift {
			who = n.status.Name
		}
	}
	c := Check{Name: "clocks", OK: who == "" && high-low <= maxDrift}
	switch {
	case !any:
		return Check{Name: "clocks", OK: true, Detail: "no node tells its time"}
	case c.OK:
		c.Detail = "all are within two seconds of this machine's"
	default:
		c.Detail = fmt.Sprintf("%s apart, %s off from here", (high - low).Round(time.Second), max(high.Abs(), low.Abs()).Round(time.Second))
		c.Hint = "run NTP. Leases do not depend on it, but logs are read side by side"
	}
	return c
}

func disks(alive []*node) Check {
	c := Check{Name: "disks", OK: true, Detail: "all take writes"}
	for _, n := range alive {
		d := n.status.Disk
		switch {
		case !d.Healthy:
			return Check{Name: "disks", Detail: "the disk of " + n.status.Name + " fails", Hint: "look at its log; replace the node if the disk is broken"}
		case d.FreeBytes > 0 && d.FreeBytes < minFree:
			return Check{Name: "disks", Detail: fmt.Sprintf("%s has %d MiB left", n.status.Name, d.FreeBytes>>20), Hint: "make room on its data directory's file system"}
		}
	}
	return c
}

func syncs(alive []*node) Check {
	c := Check{Name: "fsync", OK: true, Detail: "no node tells its metrics"}
	var worst time.Duration
	for _, n := range alive {
		if n.synced && n.fsync >= worst {
			worst = n.fsync
			c.Detail = fmt.Sprintf("the slowest disk takes %s for a durable write, on average (%s)", worst.Round(10*time.Microsecond), n.status.Name)
		}
	}
	if worst > maxFsync {
		c.OK, c.Hint = false, "every change waits for it: use a local SSD"
	}
	return c
}

func versions(alive []*node) Check {
	byVersion := map[string][]string{}
	for _, n := range alive {
		byVersion[n.status.Version] = append(byVersion[n.status.Version], n.status.Name)
	}
	if len(byVersion) == 1 {
		return Check{Name: "versions", OK: true, Detail: "all run " + alive[0].status.Version}
	}
	var list []string
	for v, names := range byVersion {
		list = append(list, v+": "+strings.Join(names, ", "))
	}
	slices.Sort(list)
	return Check{Name: "versions", Detail: strings.Join(list, "; "), Hint: "finish the upgrade"}
}
