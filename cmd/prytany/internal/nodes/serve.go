package nodes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/internal/node"
	"github.com/prytany/prytany/internal/storage"
)

// serveConfig is the configuration of `prytany serve`, by its names in the
// file. PRYTANY_DATA_DIR and --data-dir mean data-dir.
type serveConfig struct {
	Name       string   `koanf:"name"`
	DataDir    string   `koanf:"data-dir"`
	LogStore   string   `koanf:"log-store"`
	Bootstrap  bool     `koanf:"bootstrap"`
	Join       []string `koanf:"join"`
	HTTP       string   `koanf:"http"`
	Peer       string   `koanf:"peer"`
	Gossip     string   `koanf:"gossip"`
	Advertise  string   `koanf:"advertise"`
	Zone       string   `koanf:"zone"`
	Voters     int      `koanf:"voters"`
	Hosts      []string `koanf:"hosts"`
	LeaseReads bool     `koanf:"lease-reads"`

	ReplaceAfter time.Duration `koanf:"replace-after"`
	ReplaceFrom  int           `koanf:"replace-from"`

	LogLevel  string `koanf:"log-level"`
	LogFormat string `koanf:"log-format"`
}

func (a app) serveCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "serve --name NAME --data-dir DIR {--bootstrap | --join HOST:PORT,…}",
		Short: "Run one node",
		Long: `Runs one node of a cluster. The first node of a new cluster is told --bootstrap; every other one --join with the gossip
address of any living node. A node that joined catches up first and is then made a voter, up to --voters. Later starts need
neither flag, and are not disturbed by them.

Every flag can be given as an environment variable (--data-dir is PRYTANY_DATA_DIR) or in a YAML file (data-dir: …).
Defaults are overridden by the file, that by the environment, that by flags.`,
		Example: "  prytany serve --name a --data-dir /var/lib/prytany --bootstrap\n" +
			"  prytany serve --name b --data-dir /var/lib/prytany --join 10.0.0.1:7482 --http 0.0.0.0:7480 --peer 0.0.0.0:7481 --gossip 0.0.0.0:7482 --advertise 10.0.0.2",
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadServe(cmd, path)
			if err != nil {
				return err
			}
			return a.serve(cmd.Context(), cfg)
		},
	}
	serveFlags(cmd.Flags(), &path)
	return cmd
}

// leaseHelp is what --lease-reads rests on.
const leaseHelp = "while leading, answer reads by lease, without asking a quorum; rests on clocks whose rates differ by less than 1 %"

// logHelp is what --log-store chooses from.
const logHelp = "how a new data directory keeps promises and votes: bolt, a raft-boltdb file, or append, an append-only log; one that has a log keeps it"

// serveFlags are the settings of a node.
func serveFlags(f *pflag.FlagSet, path *string) {
	f.String("name", "", "name of this node, unique in its cluster (default: the host's name)")
	f.String("data-dir", "", "where the node keeps what it must not forget (required)")
	f.String("log-store", storage.DefaultLogStore, logHelp)
	f.Bool("bootstrap", false, "begin a new cluster, if the data directory is empty")
	f.StringSlice("join", nil, "gossip addresses of living nodes")
	f.String("http", "127.0.0.1:7480", "listen here for clients")
	f.String("peer", "127.0.0.1:7481", "listen here for other nodes")
	f.String("gossip", "127.0.0.1:7482", "listen here for gossip, TCP and UDP")
	f.String("advertise", "", "host by which others reach this node (default: that of the listening addresses)")
	f.String("zone", "", "where the node stands")
	f.Int("voters", 3, "wanted number of voters of group main")
	f.Duration("replace-after", 0, "when gossip has shown a voter of a group dead for so long, the group's leader has another node take its place, if there is one; 0s: only when asked to")
	f.Int("replace-from", 5, "number of voters from which on a group has dead ones replaced by itself, 1 to 9")
	f.StringSlice("hosts", nil, "names under which browsers may reach the API")
	f.Bool("lease-reads", false, leaseHelp)
	f.String("log-level", "info", "debug, info, warn or error")
	f.String("log-format", "text", "text or json")
	f.StringVar(path, "config", "", "YAML `file` with these settings")
}

// loadServe merges defaults, file, environment and flags.
func loadServe(cmd *cobra.Command, path string) (serveConfig, error) {
	cfg, _, err := mergeServe(cmd, path)
	if err != nil {
		return cfg, err
	}
	if cfg.DataDir == "" {
		return cfg, cli.Usage("serve: --data-dir is missing: say where the node keeps its data").Try("prytany serve --data-dir ./n1 --bootstrap")
	}
	if cfg.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			return cfg, cli.Usage("serve: --name is missing and the host has no name: %v", err).Try("prytany serve --name n1")
		}
		cfg.Name = host
	}
	return cfg, nil
}

// mergeServe returns the settings and the names of those in the file.
func mergeServe(cmd *cobra.Command, path string) (cfg serveConfig, inFile []string, err error) {
	k := koanf.New("\x00") // no nesting: names contain only dashes
	if path != "" {
		if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
			return cfg, nil, cli.Usage("--config %s: %v", path, err).Try("prytany serve --help")
		}
		inFile = k.Keys()
		for _, key := range inFile {
			if key == "config" || key == "check" || key == "help" || cmd.LocalNonPersistentFlags().Lookup(key) == nil {
				return cfg, nil, cli.Usage("--config %s: there is no setting %q", path, key).Try("prytany serve --help")
			}
		}
	}
	// Flags from the environment are set by now, where the command line has
	// none of the name.
	if err := k.Load(posflag.Provider(cmd.LocalFlags(), "\x00", k), nil); err != nil {
		return cfg, nil, cli.Usage("flags: %v", err)
	}
	if err := k.Unmarshal("", &cfg); err != nil {
		return cfg, nil, cli.Usage("settings: %v", err).Try("prytany serve --help")
	}
	return cfg, inFile, nil
}

// logger writes to stderr as the settings say.
func (a app) logger(level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, cli.Usage("--log-level %q: want debug, info, warn or error", level)
	}
	opts := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(a.Stderr, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(a.Stderr, opts)), nil
	}
	return nil, cli.Usage("--log-format %q: want text or json", format)
}

// check refuses what only a person can have meant otherwise.
func (c serveConfig) check() error {
	switch {
	case c.LogStore != storage.LogBolt && c.LogStore != storage.LogAppend:
		return cli.Usage("serve: --log-store %q: want %s or %s", c.LogStore, storage.LogBolt, storage.LogAppend).Try("prytany serve --log-store " + storage.LogAppend)
	case c.Voters < 0 || c.Voters > 9:
		return cli.Usage("serve: --voters %d: want 1 to 9", c.Voters).Try("prytany serve --voters 3")
	case c.ReplaceAfter < 0:
		return cli.Usage("serve: --replace-after %v: want a time that is not negative", c.ReplaceAfter).Try("prytany serve --replace-after 15m")
	case c.ReplaceFrom < 1 || c.ReplaceFrom > 9:
		return cli.Usage("serve: --replace-from %d: want 1 to 9", c.ReplaceFrom).Try("prytany serve --replace-from 5")
	}
	if c.Bootstrap && len(c.Join) > 0 {
		return cli.Usage("serve: either --bootstrap, for the first node of a new cluster, or --join, for every other one").Try("prytany serve --help")
	}
	return nil
}

func (a app) serve(ctx context.Context, cfg serveConfig) error {
	log, err := a.logger(cfg.LogLevel, cfg.LogFormat)
	if err != nil {
		return err
	}
	if err := cfg.check(); err != nil {
		return err
	}
	n, err := node.New(node.Config{
		Name: cfg.Name, DataDir: cfg.DataDir, LogStore: cfg.LogStore, Bootstrap: cfg.Bootstrap, Join: cfg.Join,
		HTTP: cfg.HTTP, Peer: cfg.Peer, Gossip: cfg.Gossip, Advertise: cfg.Advertise, Zone: cfg.Zone,
		Version: a.Version, Voters: cfg.Voters, Hosts: cfg.Hosts, LeaseReads: cfg.LeaseReads, Log: log,
		ReplaceAfter: cfg.ReplaceAfter, ReplaceFrom: cfg.ReplaceFrom,
	})
	if errors.Is(err, storage.ErrQuarantined) || errors.Is(err, storage.ErrRemoved) {
		return cli.Failure(cli.CodeError, "%v", err) // which says what to do
	}
	if err != nil {
		return cli.Failure(cli.CodeError, "%v", err).Try("prytany serve --help")
	}
	http, peer, gossip := n.Addrs()
	log.Info("prytany is starting", "name", cfg.Name, "id", n.ID(), "version", a.Version, "http", http, "peer", peer, "gossip", gossip, "data", cfg.DataDir)
	go a.announce(ctx, n, log)
	if err := n.Run(ctx); err != nil {
		return cli.Failure(cli.CodeError, "%v", err)
	}
	log.Info("prytany has stopped")
	return nil
}

// announce says once when the node serves.
func (a app) announce(ctx context.Context, n *node.Node, log *slog.Logger) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if n.Ready() {
				log.Info(fmt.Sprintf("ready: export PRYTANY_ADDR=%s", n.HTTPURL()), "after", cli.Round(time.Since(begin)))
				return
			}
		}
	}
}
