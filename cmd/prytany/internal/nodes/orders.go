package nodes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/internal/cluster"
)

// ErrNoDev says that nobody takes orders.
var ErrNoDev = errors.New("no dev cluster is running")

// An order is what `prytany dev kill n2` sends to the process that runs the
// cluster.
type order struct {
	Do   string   `json:"do"`
	Args []string `json:"args"`
}

// An OrderServer takes orders on a loopback address.
type OrderServer struct {
	ln  net.Listener
	srv *http.Server
}

// ListenOrders listens at addr, which must be on loopback.
func ListenOrders(addr string) (*OrderServer, error) {
	host, _, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return nil, cli.Usage("--control %s: want a loopback address such as %s", addr, DevControl).Try("prytany dev --control " + DevControl)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, cli.Failure(cli.CodeError, "cannot take orders on %s: %v; is another prytany dev running?", addr, err).
			Try("prytany dev --control 127.0.0.1:0 --http 127.0.0.1:0, or stop the other one")
	}
	return &OrderServer{ln: ln}, nil
}

// Addr is where it listens.
func (s *OrderServer) Addr() string { return s.ln.Addr().String() }

// Close takes no more orders.
func (s *OrderServer) Close() {
	if s.srv != nil {
		_ = s.srv.Close()
	}
	_ = s.ln.Close()
}

// Serve carries out orders on c. The channel gets the error that stopped it.
func (s *OrderServer) Serve(ctx context.Context, c *cluster.Cluster) <-chan error {
	s.srv = &http.Server{
		ReadTimeout:  5 * time.Second,
		WriteTimeout: 30 * time.Second,
		BaseContext:  func(net.Listener) context.Context { return ctx },
		Handler: http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// A page in a browser must not kill nodes: it cannot send this type
			// across origins without asking first.
			if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
				http.Error(w, "want an order as JSON by POST", http.StatusBadRequest)
				return
			}
			var o order
			if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&o); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			text, err := carryOut(c, o)
			if err != nil {
				http.Error(w, err.Error(), http.StatusConflict)
				return
			}
			_, _ = io.WriteString(w, text)
		})),
	}
	stopped := make(chan error, 1)
	go func() {
		if err := s.srv.Serve(s.ln); !errors.Is(err, http.ErrServerClosed) {
			stopped <- err
		}
	}()
	return stopped
}

// carryOut does one order and returns what to tell the user.
func carryOut(c *cluster.Cluster, o order) (string, error) {
	if o.Do == "heal" {
		c.Heal()
		return "all links are whole\n", nil
	}
	if o.Do == "nodes" {
		b, err := json.Marshal(devNodes(c))
		return string(b), err
	}
	if len(o.Args) != 1 {
		return "", fmt.Errorf("order %q needs one argument", o.Do)
	}
	arg := o.Args[0]
	simple := map[string]struct {
		do   func(string) error
		done string
	}{
		"kill":    {c.Kill, "is gone"},
		"restart": {c.Restart, "is starting"},
		"pause":   {c.Pause, "is frozen"},
		"resume":  {c.Resume, "goes on"},
	}
	if s, ok := simple[o.Do]; ok {
		if err := s.do(arg); err != nil {
			return "", err
		}
		return fmt.Sprintf("%s %s\n", arg, s.done), nil
	}
	switch o.Do {
	case "cut":
		a, b, ok := strings.Cut(arg, "-")
		if !ok {
			return "", fmt.Errorf("cut %q: want two nodes such as n1-n3", arg)
		}
		if err := c.Cut(a, b); err != nil {
			return "", err
		}
		return fmt.Sprintf("nothing passes between %s and %s\n", a, b), nil
	case "partition":
		var sides [][]string
		for side := range strings.SplitSeq(arg, "/") {
			sides = append(sides, strings.FieldsFunc(side, func(r rune) bool { return r == ',' }))
		}
		if len(sides) < 2 {
			return "", fmt.Errorf("partition %q: want sides such as n1,n2/n3", arg)
		}
		if err := c.Partition(sides...); err != nil {
			return "", err
		}
		return fmt.Sprintf("nothing passes between the sides of %s\n", arg), nil
	}
	return "", fmt.Errorf("there is no order %q", o.Do)
}

// A DevNode is one node as `prytany dev nodes` shows it.
type DevNode struct {
	Name   string   `json:"name"`
	URL    string   `json:"url"`
	State  string   `json:"state"`
	Leader bool     `json:"leader"`
	Cut    []string `json:"cut"` // from these
}

func devNodes(c *cluster.Cluster) []DevNode {
	var out []DevNode
	lead := c.Leader()
	for _, s := range c.States() {
		n := DevNode{Name: s.Name, URL: s.URL, State: s.State, Leader: s.Name == lead, Cut: []string{}}
		for _, l := range c.Faults.Broken() {
			switch s.Name {
			case l[0]:
				n.Cut = append(n.Cut, l[1])
			case l[1]:
				n.Cut = append(n.Cut, l[0])
			}
		}
		out = append(out, n)
	}
	return out
}

// showDevNodes prints what a running dev cluster said of its nodes.
func (a app) showDevNodes(text string) error {
	var nodes []DevNode
	if err := json.Unmarshal([]byte(text), &nodes); err != nil {
		return fmt.Errorf("the dev cluster's answer makes no sense: %w", err)
	}
	if a.JSON() {
		return cli.PrintList(a.App, nodes)
	}
	t := cli.NewTable("NAME", "URL", "STATE", "LEADER")
	var cut []string
	for _, n := range nodes {
		t.Add(n.Name, n.URL, n.State, map[bool]string{true: "*"}[n.Leader])
		for _, other := range n.Cut {
			if n.Name < other {
				cut = append(cut, "cut: "+n.Name+"-"+other+"\n")
			}
		}
	}
	if err := a.Print(t); err != nil || a.Output == "name" {
		return err
	}
	a.Printf("%s", strings.Join(cut, ""))
	return nil
}

// SendOrder has the dev cluster that takes orders at control carry out one, and
// returns what it said.
func SendOrder(ctx context.Context, control, do string, args []string) (string, error) {
	body, err := json.Marshal(order{do, args})
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+control+"/", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoDev, err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", errors.New(strings.TrimSpace(string(text)))
	}
	return string(text), nil
}
