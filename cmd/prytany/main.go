// Command prytany is the whole product in one binary: a node (serve), several
// nodes in one process to try things out (dev), and the command line that
// talks to them. Think of it as flock(1), cluster-wide.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
