package nodes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/internal/cluster"
	"github.com/prytany/prytany/internal/node"
	"github.com/prytany/prytany/internal/storage"
)

// DevControl is where a running `prytany dev` takes its orders.
const DevControl = "127.0.0.1:7479"

// mostNodes is how many nodes fit into one process.
const mostNodes = 9

func (a app) devCommand() *cobra.Command {
	var nodes int
	var leases bool
	var zones []string
	var dir, logs, http, control, level string
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a cluster in this process, to try things out and to break them",
		Long: `Runs several complete nodes in one process on loopback: real gossip, real connections, real disks, the same code as
production. For trying out, for tests and for demonstrations; not for production, since one process is one point of failure.

From another terminal the cluster can be broken: prytany dev kill n2, restart n2, pause n2, resume n2, cut n1-n3,
partition n1,n2/n3, heal, nodes.`,
		Example: "  prytany dev\n  prytany dev --nodes 5 --zones east,west,north\n  prytany dev kill n2\n  prytany dev restart n2",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return a.UnknownCommand(cmd, args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := a.logger(level, "text")
			if err != nil {
				return err
			}
			each := node.Config{Version: a.Version, LeaseReads: leases, LogStore: logs, Log: log}
			return a.dev(cmd.Context(), cluster.Config{Nodes: nodes, Zones: zones, Dir: dir, HTTP: http, Node: each, Log: log}, control)
		},
	}
	f := cmd.Flags()
	f.IntVar(&nodes, "nodes", 3, "how many nodes, 1 to 9")
	f.StringSliceVar(&zones, "zones", nil, "where the nodes stand, in turn: with a,b the first in a, the second in b, the third in a")
	f.StringVar(&dir, "data-dir", "", "keep data here (default: a temporary directory, removed at the end)")
	f.StringVar(&logs, "log-store", storage.DefaultLogStore, logHelp)
	f.StringVar(&http, "http", "127.0.0.1:7480", "address of the first node's API; the others take the next ports")
	f.BoolVar(&leases, "lease-reads", false, leaseHelp)
	f.StringVar(&level, "log-level", "warn", "debug, info, warn or error")
	cmd.PersistentFlags().StringVar(&control, "control", DevControl, "`address` where the running dev cluster takes orders [$PRYTANY_DEV]")
	cmd.AddCommand(a.devOrders(&control)...)
	return cmd
}

func (a app) dev(ctx context.Context, cfg cluster.Config, control string) error {
	begin := time.Now()
	if cfg.Nodes < 1 || cfg.Nodes > mostNodes {
		return cli.Usage("dev: --nodes %d: want 1 to %d", cfg.Nodes, mostNodes).Try("prytany dev --nodes 3")
	}
	kept := cfg.Dir != ""
	if !kept {
		tmp, err := os.MkdirTemp("", "prytany-dev-")
		if err != nil {
			return cli.Failure(cli.CodeError, "%v", err)
		}
		defer func() {
			if err := os.RemoveAll(tmp); err != nil {
				a.Say("prytany: %v", err)
			}
		}()
		cfg.Dir = tmp
	}
	orders, err := ListenOrders(control)
	if err != nil {
		return err
	}
	defer orders.Close()
	c, err := cluster.Start(cfg)
	if err != nil {
		return cli.Failure(cli.CodeError, "%v", err).Try("prytany dev --http 127.0.0.1:0, which takes free ports")
	}
	defer c.Stop()
	starting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := c.Ready(starting); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return cli.Failure(cli.CodeError, "%v", err)
	}
	a.banner(c, orders.Addr(), cfg.Dir, kept, time.Since(begin))
	stopped := orders.Serve(ctx, c)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			a.Say("stopping")
			return nil
		case err := <-stopped:
			return cli.Failure(cli.CodeError, "%v", err)
		case <-tick.C:
			if err := c.Failed(); err != nil {
				return cli.Failure(cli.CodeError, "%v", err)
			}
		}
	}
}

// banner tells a newcomer what runs and what to try.
func (a app) banner(c *cluster.Cluster, control, dir string, kept bool, took time.Duration) {
	var urls []string
	var b strings.Builder
	states := c.States()
	what := "in " + dir
	if !kept {
		what = "in a temporary directory"
	}
	fmt.Fprintf(&b, "prytany %s dev cluster: %d nodes in this process, data %s, ready after %s. NOT FOR PRODUCTION.\n\n", a.Version, len(states), what, cli.Round(took))
	lead := c.Leader()
	for _, s := range states {
		urls = append(urls, s.URL)
		mark := ""
		if s.Name == lead {
			mark = " (leader)"
		}
		fmt.Fprintf(&b, "  %s  %s%s\n", s.Name, s.URL, mark)
	}
	fmt.Fprintf(&b, "\n  export PRYTANY_ADDR=%s\n", strings.Join(urls, ","))
	if control != DevControl {
		fmt.Fprintf(&b, "  export PRYTANY_DEV=%s\n", control)
	}
	if lead == "" {
		lead = "n1"
	}
	fmt.Fprintf(&b, "\nTry, in another terminal:\n\n  curl -X PUT %s/v1/locks/demo -d '{\"ttl\":\"30s\"}'\n", urls[0])
	for _, line := range []string{
		"prytany put app/color blue && prytany get app/color",
		"prytany dev kill " + lead + " && prytany status",
	} {
		fmt.Fprintln(&b, " ", strings.ReplaceAll(line, "prytany ", a.Self+" "))
	}
	b.WriteString("\nCtrl-C stops it.\n")
	_, _ = a.Stdout.Write([]byte(b.String()))
}

// devOrders are the commands that talk to a running dev cluster.
func (a app) devOrders(control *string) []*cobra.Command {
	order := func(use, short, what string, n int, names ...string) *cobra.Command {
		return &cobra.Command{
			Use: use, Short: short, Args: cli.ExactArgs(n, names...), ValidArgsFunction: cobra.NoFileCompletions,
			RunE: func(cmd *cobra.Command, args []string) error {
				out, err := SendOrder(cmd.Context(), *control, what, args)
				if err != nil {
					if errors.Is(err, ErrNoDev) {
						return cli.Failure(cli.CodeUnavailable, "no dev cluster takes orders at %s", *control).Try("prytany dev")
					}
					return cli.Failure(cli.CodeError, "%v", err).Try("prytany dev nodes")
				}
				if what == "nodes" {
					return a.showDevNodes(out)
				}
				_, err = fmt.Fprint(a.Stdout, out)
				return err
			},
		}
	}
	return []*cobra.Command{
		order("kill NODE", "Take a node away as kill -9 would", "kill", 1, "NODE"),
		order("restart NODE", "Start a node on its old data; a running one is killed first", "restart", 1, "NODE"),
		order("pause NODE", "Freeze a node as SIGSTOP would", "pause", 1, "NODE"),
		order("resume NODE", "Let a paused node go on", "resume", 1, "NODE"),
		order("cut NODE-NODE", "Break the link between two nodes", "cut", 1, "NODE-NODE"),
		order("partition NODES/NODES", "Break all links between two sides: n1,n2/n3", "partition", 1, "NODES/NODES"),
		order("heal", "Mend all links and let paused nodes go on", "heal", 0),
		order("nodes", "Show the nodes", "nodes", 0),
	}
}
