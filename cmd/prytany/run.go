package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/cmd/prytany/internal/bench"
	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/cmd/prytany/internal/fleet"
	"github.com/prytany/prytany/cmd/prytany/internal/groups"
	"github.com/prytany/prytany/cmd/prytany/internal/nodes"
	"github.com/prytany/prytany/internal/api"
)

// version is what `prytany version` says; releases set it when linking.
var version = "0.1.0-dev"

// An app is one run of the command.
type app struct{ *cli.App }

// run is the whole program; it returns the exit code. The context ends with
// the first signal.
func run(ctx context.Context, args []string, std cli.Streams, signals *cli.Signals) int {
	ctx, giveUp := context.WithCancel(ctx)
	defer giveUp()
	a := app{&cli.App{Streams: std, Signals: signals, Self: cli.Self(), Version: version, GiveUp: giveUp, FromEnv: map[string]bool{}}}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(std.Stdin)
	root.SetOut(std.Stdout)
	root.SetErr(std.Stderr)
	err := root.ExecuteContext(ctx)
	if a.Printed.Load() {
		return 0
	}
	if sig, ok := cli.SignalOf(ctx); ok && err != nil {
		err = a.Interrupted(sig, err)
	}
	if err != nil {
		return a.Fail(err)
	}
	return a.Code
}

func (a app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "prytany",
		Short: "Locks, leases and small config over plain HTTP, on Multi-Paxos",
		Long: `prytany gives other programs lease-based locks with fences, elections and a small config store.

Try it:      prytany dev
A job:       prytany lock nightly -- ./job.sh
A leader:    prytany elect web --repeat -- ./worker
A setting:   prytany put app/color blue && prytany get app/color
A group:     prytany group create web && prytany -g web lock nightly -- ./job.sh

Commands that talk to a cluster use --addr or $PRYTANY_ADDR (comma list of URLs).
Data goes to stdout, talk to stderr. Exit codes: 0 done, 1 error, 2 usage, 3 not found,
4 precondition failed, 5 unavailable (safe to retry), 6 outcome unknown.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return a.UnknownCommand(cmd, args[0])
			}
			return cmd.Help()
		},
	}
	root.Version = version
	root.SetVersionTemplate("prytany {{.Version}}\n")
	root.SetFlagErrorFunc(cli.FlagError)
	f := root.PersistentFlags()
	f.StringVar(&a.Addr, "addr", "", "`URLs` of nodes, separated by commas (default "+client.DefaultEndpoint+")")
	f.StringVarP(&a.Group, "group", "g", api.MainGroup, "`name` of the group to work in")
	f.StringVarP(&a.Output, "output", "o", "table", "`format`: table, wide, json, jsonl or name")
	f.DurationVar(&a.Timeout, "timeout", 10*time.Second, "how long a request may take beside the waiting it asked for")
	f.BoolVar(&a.Curl, "curl", false, "print the request as a line with curl instead of sending it")
	root.PersistentPreRunE = a.Prepare
	root.AddCommand(
		a.lockCommand(), a.locksCommand(), a.unlockCommand(), a.breakCommand(), a.yieldCommand(), a.explainCommand(), a.fenceCommand(),
		a.electCommand(), a.leaderCommand(),
		a.getCommand(), a.putCommand(), a.deleteCommand(), a.listCommand(), a.watchCommand(), a.txnCommand(),
		a.sessionCommand(), a.completionCommand(), a.versionCommand(),
	)
	root.AddCommand(nodes.Commands(a.App)...)
	root.AddCommand(fleet.Commands(a.App)...)
	root.AddCommand(groups.Commands(a.App)...)
	root.AddCommand(bench.Command(a.App))
	_ = root.RegisterFlagCompletionFunc("group", cli.ForFlag(a.CompleteGroups()))
	root.SetHelpCommand(a.helpCommand())
	root.CompletionOptions.DisableDefaultCmd = true
	return root
}

func (a app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cli.ExactArgs(0),
		RunE: func(*cobra.Command, []string) error {
			if a.JSON() {
				return a.PrintJSON(map[string]string{"version": version, "api": "v1"})
			}
			_, err := fmt.Fprintln(a.Stdout, "prytany", version)
			return err
		},
	}
}
