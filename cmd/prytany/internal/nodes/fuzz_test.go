package nodes

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/internal/storage"
)

// FuzzServe gives `prytany serve` any flags, a line each, any variable of its environment
// and any file: it says in one line what is wrong, or has settings within their bounds.
func FuzzServe(f *testing.F) {
	for _, s := range [][4]string{
		{"--data-dir=d\n--voters=-9223372036854775808", "REPLACE_FROM", "99999999999999999999", ""},
		{"--data-dir=d\n--voters=-1", "", "", "data-dir: d\nvoters: 10\n"},
		{"", "VOTERS", "9223372036854775807", "data-dir: d\n"},
		{"--data-dir=d\n--replace-after=-1ns", "DATA_DIR", "x", "voters: 3\njoin: [a, b]\n"},
		{"--name=n\n--bootstrap\n--join=a:1,b:2", "LEASE_READS", "maybe", "data-dir: d\nreplace-after: 15m\n"},
		{"--log-level=none", "LOG_FORMAT", "\xff", "voters: 1e400\n"},
		{"", "HOSTS", ",,\"", "data-dir: &a [*a]\n"},
		{"--config=x\n--help", "CONFIG", "y", "config: z\nno-such: 1\n"},
		{"--\nx", "JOIN", "a\nb", "name: !!binary x\nvoters: {a: b}\n? x\n"},
		{"--data-dir=d", "REPLACE_AFTER", "106751991167300d", "replace-from: 0x10\nreplace-after: 9223372036854775807\n"},
	} {
		f.Add(s[0], s[1], s[2], []byte(s[3]))
	}
	path := filepath.Join(f.TempDir(), "node.yaml")
	names := map[string]bool{}
	for _, n := range strings.Fields("NAME DATA_DIR LOG_STORE BOOTSTRAP JOIN HTTP PEER GOSSIP ADVERTISE ZONE VOTERS REPLACE_AFTER REPLACE_FROM HOSTS LEASE_READS LOG_LEVEL LOG_FORMAT") {
		names["PRYTANY_"+n] = true
	}
	f.Fuzz(func(t *testing.T, flags, name, value string, file []byte) {
		if name = "PRYTANY_" + name; names[name] && !strings.Contains(value, "\x00") {
			t.Setenv(name, value)
		}
		with := ""
		if len(file) > 0 {
			if with = path; os.WriteFile(path, file, 0o600) != nil {
				t.Fatal("the file cannot be written")
			}
		}
		a := app{&cli.App{Streams: cli.Streams{Stdout: io.Discard, Stderr: io.Discard}, FromEnv: map[string]bool{}, Output: "table", Group: "main", Timeout: 1}}
		cmd := a.serveCommand()
		var cfg serveConfig
		cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
			if cfg, err = loadServe(cmd, with); err == nil {
				err = cfg.check()
			}
			if err == nil {
				_, err = a.logger(cfg.LogLevel, cfg.LogFormat)
			}
			return err
		}
		cmd.PreRunE = a.Prepare
		cmd.SetFlagErrorFunc(cli.FlagError)
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
		cmd.SetArgs(strings.FieldsFunc(flags, func(r rune) bool { return r == '\n' }))
		if err := cmd.Execute(); err != nil {
			if said, ok := errors.AsType[*cli.Error](err); !ok || said.Error() == "" {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		if help, err := cmd.Flags().GetBool("help"); err == nil && help {
			return
		}
		switch {
		case cfg.DataDir == "" || cfg.Name == "", cfg.ReplaceAfter < 0, cfg.ReplaceFrom < 1 || cfg.ReplaceFrom > 9, cfg.Voters < 0 || cfg.Voters > 9,
			cfg.Bootstrap && len(cfg.Join) > 0, cfg.LogStore != storage.LogBolt && cfg.LogStore != storage.LogAppend:
			t.Fatalf("%+v", cfg)
		}
		a.settings(cmd, cfg, nil)
	})
}
