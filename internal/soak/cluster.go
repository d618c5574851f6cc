package main

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/scale/fleet"
)

// A node is one process after another.
type node struct {
	*fleet.Process
	dir   string
	probe *http.Client // for looks at it: clients' connections do not count among them

	mu   sync.Mutex
	pid  int
	life int
	born time.Time
	down bool
}

// A cluster is the nodes of one part.
type cluster struct {
	fleet *fleet.Cluster
	nodes []*node
}

// start starts n nodes. Stop must be called, unless it fails.
func start(ctx context.Context, binary string, n int) (*cluster, error) {
	f, err := fleet.Start(ctx, binary, n)
	if err != nil {
		return nil, err
	}
	c := &cluster{fleet: f}
	for _, p := range f.Nodes {
		c.nodes = append(c.nodes, &node{
			Process: p, dir: f.Dir(p), pid: p.PID(), born: time.Now(),
			probe: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1, DisableCompression: true}},
		})
	}
	return c, nil
}

// stop ends all processes.
func (c *cluster) stop() { c.fleet.Stop() }

// node returns that of the i-th client.
func (c *cluster) node(i int) *node { return c.nodes[i%len(c.nodes)] }

// restart kills n and starts it again.
func (c *cluster) restart(ctx context.Context, n *node) error {
	n.mu.Lock()
	n.down = true
	n.mu.Unlock()
	if err := n.End(syscall.SIGKILL); err != nil {
		return err
	}
	n.probe.CloseIdleConnections()
	if _, err := c.fleet.Run(ctx, n.Process); err != nil {
		return err
	}
	n.mu.Lock()
	n.pid, n.down, n.born = n.PID(), false, time.Now()
	n.life++
	n.mu.Unlock()
	return nil
}

// A standing is what all nodes say of main once they agree.
type standing struct {
	leader *node
	ballot string
}

// settle waits until all nodes are healthy and have agreed for a while.
func (c *cluster) settle(ctx context.Context) (last standing, err error) {
	const (
		between = 100 * time.Millisecond
		enough  = 5 // times in a row
		limit   = 2 * time.Minute
	)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var why error
	for same := 0; same < enough; {
		var now standing
		switch now, why = c.standing(ctx); {
		case why != nil:
			same = 0
		case now == last:
			same++
		default:
			last, same = now, 1
		}
		if !sleep(ctx, between) {
			return last, errors.Join(errors.New("the cluster does not settle"), why, ctx.Err())
		}
	}
	return last, nil
}

// standing asks all nodes once; an error says why they are not settled.
func (c *cluster) standing(ctx context.Context) (s standing, err error) {
	for _, n := range c.nodes {
		once, cancel := context.WithTimeout(ctx, 5*time.Second)
		st, err := fleet.Ask[api.Status](once, n.Process, n.probe, http.MethodGet, "/v1/status", "")
		cancel()
		switch {
		case err != nil:
			return s, err
		case len(st.Groups) == 0 || !st.Groups[0].Content || len(st.Groups[0].Voters) != len(c.nodes):
			return s, errors.New(n.Name + " is not content, or not a voter")
		case s.ballot != "" && s.ballot != st.Groups[0].Ballot:
			return s, errors.New("ballots differ")
		}
		s.ballot = st.Groups[0].Ballot
		if st.Groups[0].Role == api.RoleLeader {
			s.leader = n
		}
	}
	if s.leader == nil {
		return s, errors.New("no leader")
	}
	return s, nil
}
