package main

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
	"text/tabwriter"
	"time"

	"github.com/prytany/prytany/internal/cluster"
)

// errNoDev says that nobody takes orders.
var errNoDev = errors.New("no dev cluster is running")

// An order is what `prytany dev kill n2` sends to the process that runs the
// cluster.
type order struct {
	Do   string   `json:"do"`
	Args []string `json:"args"`
}

// An orderServer takes orders on a loopback address.
type orderServer struct {
	ln  net.Listener
	srv *http.Server
}

func listenOrders(addr string) (*orderServer, error) {
	host, _, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return nil, usage("--control %s: want a loopback address such as %s", addr, devControl).try("prytany dev --control " + devControl)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, failure(codeError, "cannot take orders on %s: %v; is another prytany dev running?", addr, err).
			try("prytany dev --control 127.0.0.1:0 --http 127.0.0.1:0, or stop the other one")
	}
	return &orderServer{ln: ln}, nil
}

func (s *orderServer) addr() string { return s.ln.Addr().String() }

func (s *orderServer) close() {
	if s.srv != nil {
		_ = s.srv.Close()
	}
	_ = s.ln.Close()
}

// serve carries out orders on c. The channel gets the error that stopped it.
func (s *orderServer) serve(ctx context.Context, c *cluster.Cluster) <-chan error {
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
		return nodesText(c), nil
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

func nodesText(c *cluster.Cluster) string {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "NAME\tURL\tSTATE\tLEADER")
	lead := c.Leader()
	for _, s := range c.States() {
		mark := ""
		if s.Name == lead {
			mark = "*"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", s.Name, s.URL, s.State, mark)
	}
	_ = w.Flush()
	for _, l := range c.Faults.Broken() {
		_, _ = fmt.Fprintf(&b, "cut: %s-%s\n", l[0], l[1])
	}
	return b.String()
}

// sendOrder has the running dev cluster carry out an order.
func sendOrder(ctx context.Context, control, do string, args []string) (string, error) {
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
		return "", fmt.Errorf("%w: %w", errNoDev, err)
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
