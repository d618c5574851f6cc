// Command prytany is the whole product in one binary: a node (serve), several
// nodes in one process to try things out (dev), and the command line that
// talks to them. Think of it as flock(1), cluster-wide.
package main

import (
	"context"
	"os"

	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/internal/supervise"
)

func main() {
	supervise.GuardMain()
	ctx, signals := cli.ListenForSignals(context.Background(), os.Exit)
	code := run(ctx, os.Args[1:], cli.Streams{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}, signals)
	signals.Stop()
	os.Exit(code)
}
