package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/internal/api"
)

type prytany struct {
	name  string
	nodes *Nodes
}

// StartPrytany starts a cluster of so many nodes of the given binary, whose files are
// below dir, with its defaults but for more. It does not wait for it.
func StartPrytany(binary, dir, name string, nodes int, more ...string) (System, error) {
	n, err := newNodes(dir, name)
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(3 * nodes)
	if err != nil {
		return nil, err
	}
	for i := range nodes {
		p := &Process{Name: fmt.Sprintf("n%d", i+1), URL: "http://" + ports[3*i]}
		how := []string{"--bootstrap"}
		if i > 0 {
			how = []string{"--join", ports[2]}
		}
		if nodes != 3 {
			how = append(how, "--voters", strconv.Itoa(nodes))
		}
		p.command = slices.Concat([]string{
			binary, "serve", "--name", p.Name, "--data-dir", n.path(p.Name),
			"--http", ports[3*i], "--peer", ports[3*i+1], "--gossip", ports[3*i+2],
		}, how, more)
		n.All = append(n.All, p)
	}
	return &prytany{name, n}, n.start()
}

func (s *prytany) Name() string  { return s.name }
func (s *prytany) Nodes() *Nodes { return s.nodes }

// status asks one node for its part in group main.
func (s *prytany) status(ctx context.Context, p *Process) (api.GroupStatus, error) {
	text, err := get(ctx, p.URL+"/v1/status")
	if err != nil {
		return api.GroupStatus{}, err
	}
	var st api.Status
	if err := json.Unmarshal([]byte(text), &st); err != nil {
		return api.GroupStatus{}, err
	}
	for _, g := range st.Groups {
		if g.Group == api.MainGroup {
			return g, nil
		}
	}
	return api.GroupStatus{}, errors.New("no part in group main")
}

func (s *prytany) Ready(ctx context.Context) error {
	for _, p := range s.nodes.All {
		if _, err := get(ctx, p.URL+"/readyz"); err != nil {
			return err
		}
		g, err := s.status(ctx, p)
		if err != nil {
			return err
		}
		if len(g.Voters) != len(s.nodes.All) {
			return fmt.Errorf("%s knows voters %v", p.Name, g.Voters)
		}
	}
	return nil
}

func (s *prytany) Leader(ctx context.Context) (int, error) {
	for i, p := range s.nodes.All {
		if g, err := s.status(ctx, p); err == nil && g.Role == api.RoleLeader {
			return i, nil
		}
	}
	return 0, errors.New("nobody leads")
}

func (s *prytany) Clients(at []int, whole bool) (Clients, error) {
	var urls []string
	for _, i := range at {
		urls = append(urls, s.nodes.All[i].URL)
	}
	out := &prytanyClients{}
	for i := range urls {
		ends := urls[i : i+1]
		if whole {
			ends = slices.Concat(urls[i:], urls[:i])
		}
		c, err := client.New(client.Config{Endpoints: ends})
		if err != nil {
			return nil, err
		}
		out.all = append(out.all, c)
	}
	return out, nil
}

type prytanyClients struct{ all []*client.Client }

func (c *prytanyClients) of(worker int) *client.Client { return c.all[worker%len(c.all)] }

func (c *prytanyClients) Put(ctx context.Context, worker int, key string, value []byte) error {
	_, err := c.of(worker).Put(ctx, key, value)
	return err
}

func (c *prytanyClients) Get(ctx context.Context, worker int, key string) ([]byte, int64, error) {
	e, err := c.of(worker).Get(ctx, key)
	return e.Value, int64(e.Version), err
}

func (c *prytanyClients) Fill(ctx context.Context, worker int, keys []string, value []byte) error {
	var t client.Txn
	for _, key := range keys {
		t.Then = append(t.Then, client.PutOp(key, value))
	}
	_, err := c.of(worker).Txn(ctx, t)
	return err
}

func (c *prytanyClients) Open(ctx context.Context, worker int, ttl time.Duration) (Session, error) {
	s, err := c.of(worker).NewSession(ctx, client.SessionConfig{TTL: ttl})
	return &prytanySession{c.of(worker), s}, err
}

func (c *prytanyClients) Close() {
	for _, x := range c.all {
		_ = x.Close() // has no sessions of its own
	}
}

type prytanySession struct {
	c *client.Client
	s *client.Session
}

func (s *prytanySession) Cycle(ctx context.Context, lock string) (uint64, error) {
	h, err := s.c.Acquire(ctx, lock, client.Options{Session: s.s})
	if err != nil {
		return 0, err
	}
	return h.Fence(), h.Unlock(ctx)
}

func (s *prytanySession) Alive() bool { return s.s.Context().Err() == nil }

func (s *prytanySession) End(ctx context.Context) error { return s.s.End(ctx) }
