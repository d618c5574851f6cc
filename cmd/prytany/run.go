package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/prytany/prytany/client"
)

// version is what `prytany version` says; releases set it when linking.
var version = "0.1.0-dev"

// An app is one run of the command: what it was given and what it talks to.
type app struct {
	streams
	signals *signals
	self    string // how the user calls this program
	addr    string
	group   string
	output  string
	timeout time.Duration
	patient bool // the user said how long to try
	giveUp  context.CancelFunc
	code    int // exit code if not an error's
}

// streams are where a command reads and writes.
type streams struct {
	stdin          *os.File
	stdout, stderr io.Writer
}

// run is the whole program; it returns the exit code. The context ends with
// the first signal.
func run(ctx context.Context, args []string, std streams, signals *signals) int {
	ctx, giveUp := context.WithCancel(ctx)
	defer giveUp()
	a := &app{streams: std, signals: signals, self: self(), giveUp: giveUp}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(std.stdin)
	root.SetOut(std.stdout)
	root.SetErr(std.stderr)
	err := root.ExecuteContext(ctx)
	if sig, ok := signalOf(ctx); ok && err != nil {
		err = a.interrupted(sig, err)
	}
	if err != nil {
		return a.fail(err)
	}
	return a.code
}

// self is how the user calls this program: lines to copy should work for those
// who have the source only, too.
func self() string {
	exe, err := os.Executable()
	if err == nil && strings.Contains(exe, "go-build") && strings.HasPrefix(exe, os.TempDir()) {
		return "go run ./cmd/prytany"
	}
	return "prytany"
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
	root.Version = version
	root.SetVersionTemplate("prytany {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%v", err).try(cmd.CommandPath() + " --help")
	})
	f := root.PersistentFlags()
	f.StringVar(&a.addr, "addr", "", "`URLs` of nodes, separated by commas (default "+client.DefaultEndpoint+")")
	f.StringVar(&a.group, "group", "main", "`name` of the group to work in")
	f.StringVarP(&a.output, "output", "o", "table", "`format`: table, wide, json, jsonl or name")
	f.DurationVar(&a.timeout, "timeout", 10*time.Second, "how long a request may take beside the waiting it asked for")
	root.PersistentPreRunE = a.prepare
	root.AddCommand(
		a.devCommand(), a.serveCommand(),
		a.statusCommand(), a.membersCommand(),
		a.lockCommand(), a.locksCommand(), a.unlockCommand(), a.breakCommand(),
		a.getCommand(), a.putCommand(), a.deleteCommand(), a.listCommand(),
		a.sessionCommand(), a.completionCommand(), a.versionCommand(),
	)
	root.SetHelpCommand(a.helpCommand())
	root.CompletionOptions.DisableDefaultCmd = true
	return root
}

// prepare takes flags from the environment and checks those of all commands.
func (a *app) prepare(cmd *cobra.Command, _ []string) error {
	var bad error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		name := envName(f.Name)
		if v := os.Getenv(name); v != "" && !f.Changed && f.Name != "help" && f.Name != "version" && bad == nil {
			if err := cmd.Flags().Set(f.Name, v); err != nil {
				bad = usage("%s=%q: %v", name, v, err).try("unset " + name)
			}
		}
	})
	if bad != nil {
		return bad
	}
	if err := cmd.ValidateFlagGroups(); err != nil {
		return usage("%s: %v", commandName(cmd), err).try(cmd.CommandPath() + " --help")
	}
	a.patient = cmd.Flags().Changed("timeout")
	if a.timeout <= 0 {
		return usage("--timeout %s: want more than nothing", a.timeout).try(cmd.CommandPath() + " --timeout 10s")
	}
	switch a.output {
	case "table", "wide", "json", "jsonl", "name":
		return nil
	}
	return usage("-o %s: want table, wide, json, jsonl or name", a.output).try(cmd.CommandPath() + " -o json")
}

// envName is the environment variable that stands for a flag: PRYTANY_DATA_DIR
// for --data-dir.
func envName(flag string) string {
	if flag == "control" {
		return "PRYTANY_DEV"
	}
	return "PRYTANY_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// unknownCommand suggests what was meant.
func (a *app) unknownCommand(cmd *cobra.Command, name string) error {
	e := usage("there is no command %q", name)
	if cmd.HasParent() {
		e = usage("%s: there is no command %q", cmd.Name(), name)
	}
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		return e.try(cmd.CommandPath() + " " + near[0])
	}
	return e.try(cmd.CommandPath() + " --help")
}

// client returns a client for the cluster that the user means.
func (a *app) client() (*client.Client, error) {
	giveUp := a.giveUp
	if a.patient {
		giveUp = nil
	}
	return a.clientWith(0, giveUp)
}

// clientWith returns a client whose sessions live for ttl; giveUp, if not nil,
// is called when it has become clear that nobody will answer.
func (a *app) clientWith(ttl time.Duration, giveUp context.CancelFunc) (*client.Client, error) {
	r := &reach{say: a.say, giveUp: giveUp}
	c, err := client.New(client.Config{
		Endpoints:  strings.FieldsFunc(a.addr, func(r rune) bool { return r == ',' || r == ' ' }),
		Group:      a.group,
		Timeout:    a.timeout,
		SessionTTL: ttl,
		HTTPClient: r.httpClient(),
	})
	if err != nil {
		return nil, usage("--addr: %s", strings.TrimPrefix(err.Error(), "prytany: ")).try("prytany --addr http://127.0.0.1:7480 status")
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

// commandName is how messages call a command: "session end".
func commandName(cmd *cobra.Command) string {
	return strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
}

func rangeArgs(lo, hi int, names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= lo && (hi < 0 || len(args) <= hi) {
			return nil
		}
		if len(args) < lo && len(args) < len(names) {
			return usage("%s: missing %s", commandName(cmd), names[len(args)]).try(cmd.CommandPath() + " --help")
		}
		return usage("%s: too many arguments: %q", commandName(cmd), args[len(args)-1]).try(cmd.CommandPath() + " --help")
	}
}
