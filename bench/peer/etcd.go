package peer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"
)

type etcd struct {
	name  string
	nodes *Nodes
	conns int
}

// StartEtcd starts a cluster of so many nodes of the given binary, whose files are
// below dir, with its defaults but for more. conns is how many clients, each with a connection
// of its own, share the work at each node. It does not wait for it.
func StartEtcd(binary, dir, name string, nodes, conns int, more ...string) (System, error) {
	n, err := newNodes(dir, name)
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(2 * nodes)
	if err != nil {
		return nil, err
	}
	var all []string
	for i := range nodes {
		all = append(all, fmt.Sprintf("n%d=http://%s", i+1, ports[2*i+1]))
	}
	for i := range nodes {
		p := &Process{Name: fmt.Sprintf("n%d", i+1), URL: "http://" + ports[2*i]}
		peer := "http://" + ports[2*i+1]
		p.command = slices.Concat([]string{
			binary, "--name", p.Name, "--data-dir", n.path(p.Name),
			"--listen-client-urls", p.URL, "--advertise-client-urls", p.URL,
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
			"--initial-cluster", strings.Join(all, ","), "--initial-cluster-state", "new",
		}, more)
		n.All = append(n.All, p)
	}
	return &etcd{name, n, conns}, n.start()
}

func (s *etcd) Name() string  { return s.name }
func (s *etcd) Nodes() *Nodes { return s.nodes }

func (s *etcd) Ready(ctx context.Context) error {
	for _, p := range s.nodes.All {
		text, err := get(ctx, p.URL+"/health") // asks for a linearizable read
		if err != nil {
			return err
		}
		if !strings.Contains(text, `"health":"true"`) {
			return fmt.Errorf("%s: %s", p.Name, text)
		}
	}
	return nil
}

func (s *etcd) Leader(ctx context.Context) (int, error) {
	for i, p := range s.nodes.All {
		// Only the leader counts itself as one.
		if text, err := get(ctx, p.URL+"/metrics"); err == nil && strings.Contains(text, "\netcd_server_is_leader 1\n") {
			return i, nil
		}
	}
	return 0, errors.New("nobody leads")
}

func (s *etcd) Clients(at []int, whole bool) (Clients, error) {
	var urls []string
	for _, i := range at {
		urls = append(urls, s.nodes.All[i].URL)
	}
	out := &etcdClients{}
	for k := range len(urls) * s.conns {
		i := k % len(urls)
		ends := urls[i : i+1]
		if whole {
			ends = urls
		}
		c, err := clientv3.New(clientv3.Config{Endpoints: ends, DialTimeout: 10 * time.Second, Logger: zap.NewNop()})
		if err != nil {
			out.Close()
			return nil, err
		}
		out.all = append(out.all, c)
	}
	return out, nil
}

type etcdClients struct{ all []*clientv3.Client }

func (c *etcdClients) of(worker int) *clientv3.Client { return c.all[worker%len(c.all)] }

func (c *etcdClients) Put(ctx context.Context, worker int, key string, value []byte) error {
	_, err := c.of(worker).Put(ctx, key, string(value))
	return err
}

func (c *etcdClients) Get(ctx context.Context, worker int, key string) ([]byte, int64, error) {
	r, err := c.of(worker).Get(ctx, key)
	if err != nil {
		return nil, 0, err
	}
	if len(r.Kvs) != 1 {
		return nil, 0, fmt.Errorf("%d entries of %q", len(r.Kvs), key)
	}
	return r.Kvs[0].Value, r.Kvs[0].Version, nil
}

func (c *etcdClients) Fill(ctx context.Context, worker int, keys []string, value []byte) error {
	ops := make([]clientv3.Op, len(keys))
	for i, key := range keys {
		ops[i] = clientv3.OpPut(key, string(value))
	}
	_, err := c.of(worker).Txn(ctx).Then(ops...).Commit()
	return err
}

func (c *etcdClients) Open(ctx context.Context, worker int, ttl time.Duration) (Session, error) {
	cl := c.of(worker)
	lease, err := cl.Grant(ctx, int64(ttl/time.Second))
	if err != nil {
		return nil, err
	}
	// The context of a session is for as long as it is kept alive.
	s, err := concurrency.NewSession(cl, concurrency.WithLease(lease.ID))
	return &etcdSession{s: s, mutexes: map[string]*concurrency.Mutex{}}, err
}

func (c *etcdClients) Close() {
	for _, x := range c.all {
		_ = x.Close() // nothing is under way
	}
}

// An etcdSession belongs to one worker.
type etcdSession struct {
	s       *concurrency.Session
	mutexes map[string]*concurrency.Mutex
}

func (s *etcdSession) Cycle(ctx context.Context, lock string) (uint64, error) {
	m := s.mutexes[lock]
	if m == nil {
		m = concurrency.NewMutex(s.s, lock)
		s.mutexes[lock] = m
	}
	if err := m.Lock(ctx); err != nil {
		return 0, err
	}
	return uint64(m.Header().Revision), m.Unlock(ctx)
}

func (s *etcdSession) Alive() bool {
	select {
	case <-s.s.Done():
		return false
	default:
		return true
	}
}

func (s *etcdSession) End(context.Context) error { return s.s.Close() }
