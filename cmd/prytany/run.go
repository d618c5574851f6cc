package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/client"
)

// version is what `prytany version` says; releases set it when linking.
var version = "0.1.0-dev"

// An app is one run of the command: what it was given and what it talks to.
type app struct {
	stdin          *os.File
	stdout, stderr io.Writer
	addr           string
	group          string
	output         string
	timeout        time.Duration
	code           int // exit code if not an error's
}

// run is the whole program; tests call it in-process. It returns the exit code.
func run(ctx context.Context, args []string, stdin *os.File, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		return a.fail(err)
	}
	return a.code
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "prytany",
		Short: "Locks, leases and small config over plain HTTP, on Multi-Paxos",
		Long: `prytany gives other programs lease-based locks with fences and a small config store.

Try it:      prytany dev
A job:       prytany lock nightly -- ./job.sh
A setting:   prytany put app/color blue && prytany get app/color

Commands that talk to a cluster use --addr or $PRYTANY_ADDR (comma list of URLs).
Data goes to stdout, talk to stderr. Exit codes: 0 done, 1 error, 2 usage, 3 not found,
4 precondition failed, 5 unavailable (safe to retry), 6 outcome unknown.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return a.unknownCommand(cmd, args[0])
			}
			return cmd.Help()
		},
	}
	root.CompletionOptions.HiddenDefaultCmd = false
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%v", err).try(cmd.CommandPath() + " --help")
	})
	f := root.PersistentFlags()
	f.StringVar(&a.addr, "addr", os.Getenv(client.EnvAddr), "URLs of nodes, separated by commas [$PRYTANY_ADDR]")
	f.StringVar(&a.group, "group", env("PRYTANY_GROUP", "main"), "group to work in [$PRYTANY_GROUP]")
	f.StringVarP(&a.output, "output", "o", env("PRYTANY_OUTPUT", "table"), "table, wide, json, jsonl or name [$PRYTANY_OUTPUT]")
	f.DurationVar(&a.timeout, "timeout", 10*time.Second, "how long a request may take beside waiting it asked for")
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		switch a.output {
		case "table", "wide", "json", "jsonl", "name":
			return nil
		}
		return usage("-o %s: want table, wide, json, jsonl or name", a.output).try(cmd.CommandPath() + " -o json")
	}
	root.AddCommand(
		a.devCommand(), a.serveCommand(),
		a.statusCommand(), a.membersCommand(),
		a.lockCommand(), a.locksCommand(), a.unlockCommand(), a.breakCommand(),
		a.getCommand(), a.putCommand(), a.deleteCommand(), a.listCommand(),
		a.sessionCommand(), a.versionCommand(),
	)
	return root
}

func env(name, def string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return def
}

// unknownCommand suggests what was meant.
func (a *app) unknownCommand(cmd *cobra.Command, name string) error {
	e := usage("there is no command %q", name)
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		return e.try("prytany " + near[0])
	}
	return e.try("prytany --help")
}

// client returns a client for the cluster that the user means.
func (a *app) client() (*client.Client, error) {
	c, err := client.New(client.Config{
		Endpoints: strings.FieldsFunc(a.addr, func(r rune) bool { return r == ',' || r == ' ' }),
		Group:     a.group,
		Timeout:   a.timeout,
	})
	if err != nil {
		return nil, usage("%v", err).try("prytany --addr http://127.0.0.1:7480 status")
	}
	return c, nil
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  exactArgs(0),
		RunE: func(*cobra.Command, []string) error {
			if a.json() {
				return a.printJSON(map[string]string{"version": version, "api": "v1"})
			}
			_, err := fmt.Fprintln(a.stdout, "prytany", version)
			return err
		},
	}
}

// exactArgs is cobra's check with our wording and exit code.
func exactArgs(n int, names ...string) cobra.PositionalArgs {
	return rangeArgs(n, n, names...)
}

func rangeArgs(lo, hi int, names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= lo && (hi < 0 || len(args) <= hi) {
			return nil
		}
		if len(args) < lo && len(args) < len(names) {
			return usage("%s: missing %s", cmd.CommandPath(), names[len(args)]).try(cmd.CommandPath() + " --help")
		}
		return usage("%s: too many arguments: %q", cmd.CommandPath(), args[len(args)-1]).try(cmd.CommandPath() + " --help")
	}
}
