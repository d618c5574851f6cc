package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/prytany/prytany/cmd/prytany/internal/cli"
)

var update = flag.Bool("update", false, "rewrite docs/cli.md")

// TestReference keeps docs/cli.md equal to what the commands say of themselves.
func TestReference(t *testing.T) {
	const path = "../../docs/cli.md"
	root := (app{&cli.App{}}).root()
	var b bytes.Buffer
	intro, err := os.ReadFile("testdata/cli-intro.md")
	if err != nil {
		t.Fatal(err)
	}
	b.Write(intro)
	fmt.Fprintf(&b, "\n## Flags of all commands\n\n")
	writeFlags(&b, root.PersistentFlags())
	writeCommands(&b, root)
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, b.Bytes()) {
		t.Errorf("%s is out of date: go test ./cmd/prytany -run TestReference -update", path)
	}
}

func writeCommands(b *bytes.Buffer, parent *cobra.Command) {
	for _, c := range parent.Commands() {
		if c.Hidden {
			continue
		}
		use := c.UseLine()
		if c.Parent().HasParent() && !c.HasAvailableLocalFlags() {
			use = strings.TrimSuffix(use, " [flags]")
		}
		fmt.Fprintf(b, "\n## %s\n\n%s.\n\n    %s\n", strings.TrimPrefix(c.CommandPath(), "prytany "), c.Short, use)
		if c.Long != "" {
			fmt.Fprintf(b, "\n%s\n", c.Long)
		}
		if c.HasAvailableLocalFlags() {
			b.WriteString("\n")
			writeFlags(b, c.LocalFlags())
		}
		if c.Example != "" {
			fmt.Fprintf(b, "\n```sh\n%s\n```\n", strings.ReplaceAll(strings.TrimPrefix(c.Example, "  "), "\n  ", "\n"))
		}
		writeCommands(b, c)
	}
}

func writeFlags(b *bytes.Buffer, flags *pflag.FlagSet) {
	b.WriteString("| Flag | Default | |\n|---|---|---|\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" {
			return
		}
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		def := ""
		if f.DefValue != "" && f.DefValue != "[]" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "0s" {
			def = "`" + f.DefValue + "`"
		}
		_, text := pflag.UnquoteUsage(f)
		fmt.Fprintf(b, "| %s | %s | %s |\n", name, def, strings.ReplaceAll(text, "|", `\|`))
	})
}
