// Command prytany is the whole product in one binary: a node (serve), several
// nodes in one process to try things out (dev), and the command line that
// talks to them. Think of it as flock(1), cluster-wide.
package main

import (
	"context"
	"os"
)

func main() {
	ctx, signals := listenForSignals(context.Background(), os.Exit)
	code := run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}, signals)
	signals.stop()
	os.Exit(code)
}
