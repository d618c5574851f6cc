package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/internal/api"
)

// An App is one run of the command: what it was given and what it talks to.
type App struct {
	Streams
	Signals *Signals
	Self    string // how the user calls this program
	Version string
	Addr    string
	Group   string
	Output  string
	Timeout time.Duration
	patient bool // the user said how long to try
	reach   *Reach
	GiveUp  context.CancelFunc
	Curl    bool            // print the request instead of sending it
	Printed atomic.Bool     // which was done
	FromEnv map[string]bool // flags that came from the environment
	Code    int             // exit code if not an error's
	Help    string          // the command that explains the one that runs
}

// Streams are where a command reads and writes.
type Streams struct {
	Stdin          *os.File
	Stdout, Stderr io.Writer
}

// Self is how the user calls this program: lines to copy should work for those
// who have the source only, too.
func Self() string {
	exe, err := os.Executable()
	if err == nil && strings.Contains(exe, "go-build") && strings.HasPrefix(exe, os.TempDir()) {
		return "go run ./cmd/prytany"
	}
	return "prytany"
}

// Prepare takes flags from the environment and checks those of all commands.
func (a *App) Prepare(cmd *cobra.Command, _ []string) error {
	a.Help = cmd.CommandPath() + " --help"
	var bad error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		name := envName(f.Name)
		if v := os.Getenv(name); v != "" && !f.Changed && f.Name != "help" && f.Name != "version" && bad == nil {
			if err := cmd.Flags().Set(f.Name, v); err != nil {
				bad = Usage("%s=%q: %v", name, v, err).Try("unset " + name)
			}
			a.FromEnv[f.Name] = true
		}
	})
	if bad != nil {
		return bad
	}
	if err := cmd.ValidateFlagGroups(); err != nil {
		return Usage("%s: %s", CommandName(cmd), groupText(err)).Try(a.Help)
	}
	a.patient = cmd.Flags().Changed("timeout")
	top, _, _ := strings.Cut(CommandName(cmd), " ")
	if a.Curl && top == "bench" {
		return Usage("bench: --curl: this command sends more than one request").Try(cmd.CommandPath() + " --help")
	}
	if a.Curl && slices.Contains(noRequest, top) {
		return Usage("%s: --curl: this command sends no request to a node", CommandName(cmd)).Try(cmd.CommandPath() + " --help")
	}
	if cmd.Flags().Changed("group") && !a.FromEnv["group"] && slices.Contains(noGroup, top) {
		return Usage("%s: --group: this command is about nodes or the whole cluster, not about one group", CommandName(cmd)).Try(cmd.CommandPath() + " --help")
	}
	if a.Group == "" {
		return Usage("--group is empty").Try("prytany groups")
	}
	if a.Timeout <= 0 {
		return Usage("--timeout %s: want more than nothing", a.Timeout).Try(cmd.CommandPath() + " --timeout 10s")
	}
	switch a.Output {
	case "table", "wide", "json", "jsonl", "name":
		return nil
	}
	return Usage("-o %s: want table, wide, json, jsonl or name", a.Output).Try(cmd.CommandPath() + " -o json")
}

// noGroup are the commands that are about no single group.
var noGroup = append([]string{"members", "member", "groups", "group", "rtt", "doctor"}, noRequest...)

// groupText says in our words that flags exclude each other.
func groupText(err error) string {
	_, set, ok := strings.Cut(err.Error(), "; [")
	names, _, _ := strings.Cut(set, "]")
	if !ok {
		return err.Error()
	}
	return "either --" + strings.Join(strings.Fields(names), " or --") + ", not both"
}

// FlagError says in our words that a flag is unknown or its value no good.
func FlagError(cmd *cobra.Command, err error) error {
	text := err.Error()
	var bad *pflag.InvalidValueError
	if errors.As(err, &bad) {
		text = fmt.Sprintf("--%s %s: want %s", bad.GetFlag().Name, bad.GetValue(), kind(bad.GetFlag()))
	}
	return Usage("%s", text).Try(cmd.CommandPath() + " --help")
}

// kind is what the value of a flag is.
func kind(f *pflag.Flag) string {
	switch t := f.Value.Type(); t {
	case "duration":
		return "a duration such as 30s"
	case "uint64", "int":
		return "a number"
	case "bool":
		return "true or false"
	default:
		return "a " + t
	}
}

// envName is the environment variable that stands for a flag: PRYTANY_DATA_DIR
// for --data-dir.
func envName(flag string) string {
	if flag == "control" {
		return "PRYTANY_DEV"
	}
	return "PRYTANY_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// UnknownCommand suggests what was meant.
func (a *App) UnknownCommand(cmd *cobra.Command, name string) error {
	e := Usage("there is no command %q", name)
	if cmd.HasParent() {
		e = Usage("%s: there is no command %q", cmd.Name(), name)
	}
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		return e.Try(cmd.CommandPath() + " " + near[0])
	}
	return e.Try(cmd.CommandPath() + " --help")
}

// Client returns a client for the cluster that the user means.
func (a *App) Client() (*client.Client, error) {
	giveUp := a.GiveUp
	if a.patient {
		giveUp = nil
	}
	return a.ClientWith(0, giveUp)
}

// ClientWith returns a client whose sessions live for ttl; giveUp, if not nil,
// is called when it has become clear that nobody will answer.
func (a *App) ClientWith(ttl time.Duration, giveUp context.CancelFunc) (*client.Client, error) {
	a.reach = &Reach{Say: a.Say, giveUp: giveUp}
	hc := a.reach.HTTPClient()
	if a.Curl {
		hc = &http.Client{Transport: printer{a}}
	}
	return a.clientOf(a.endpoints(), ttl, hc)
}

// ClientsSpread returns one client for each address that the user named, which
// begins with that one and knows the others, too. They share their connections.
func (a *App) ClientsSpread(ttl time.Duration, giveUp context.CancelFunc) (all []*client.Client, err error) {
	a.reach = &Reach{Say: a.Say, giveUp: giveUp}
	hc := a.reach.HTTPClient()
	urls := a.endpoints()
	for i := range max(len(urls), 1) {
		c, err := a.clientOf(slices.Concat(urls[i:], urls[:i]), ttl, hc)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// endpoints are the addresses that the user named; none means the default one.
func (a *App) endpoints() []string {
	return strings.FieldsFunc(a.Addr, func(r rune) bool { return r == ',' || r == ' ' })
}

func (a *App) clientOf(urls []string, ttl time.Duration, hc *http.Client) (*client.Client, error) {
	c, err := client.New(client.Config{
		Endpoints: urls, Group: a.Group, Timeout: a.Timeout, SessionTTL: ttl, HTTPClient: hc, SessionName: Owner(),
	})
	if err != nil {
		return nil, Usage("--addr: %s", strings.TrimPrefix(err.Error(), "prytany: ")).Try("prytany --addr http://127.0.0.1:7480 status")
	}
	return c, nil
}

// ClientAt returns a client for what one node alone knows, which is at url. It tries
// for two seconds at most.
func (a *App) ClientAt(url string) (*client.Client, error) {
	r := &Reach{Say: func(string, ...any) {}}
	return client.New(client.Config{Endpoints: []string{url}, Timeout: min(a.Timeout, 2*time.Second), HTTPClient: r.HTTPClient()})
}

// ExactArgs is cobra's check with our wording and exit code.
func ExactArgs(n int, names ...string) cobra.PositionalArgs {
	return RangeArgs(n, n, names...)
}

// CommandName is how messages call a command: "session end".
func CommandName(cmd *cobra.Command) string {
	return strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
}

// RangeArgs is the same for lo to hi arguments; hi below 0 means any number.
func RangeArgs(lo, hi int, names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= lo && (hi < 0 || len(args) <= hi) {
			return nil
		}
		if len(args) < lo && len(args) < len(names) {
			return Usage("%s: missing %s", CommandName(cmd), names[len(args)]).Try(cmd.CommandPath() + " --help")
		}
		return Usage("%s: too many arguments: %q", CommandName(cmd), args[len(args)-1]).Try(cmd.CommandPath() + " --help")
	}
}

// Owner is what others call this process.
func Owner() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s:%d", host, os.Getpid())
}

// Pause waits for d, or until ctx ends.
func Pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// Plural is noun for n of them.
func Plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

// NodeClient returns a client for what belongs to a node and not to a group.
func (a *App) NodeClient() (*client.Client, error) {
	a.Group = api.MainGroup
	return a.Client()
}

// OrElse is s, or def if there is none.
func OrElse(s, def string) string {
	if s == "" {
		return def
	}
	return s
}
