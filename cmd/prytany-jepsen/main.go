//go:build linux

// Command prytany-jepsen runs clusters of real processes, breaks them and what lies
// under them by a seeded plan while clients work, and checks what the clients were
// told.
//
//	prytany-jepsen run --time 60s --nemesis all --workload all --seed 7
//	prytany-jepsen check jepsen-out/run-7
//	prytany-jepsen sum jepsen-out
//	prytany-jepsen list
//
// It needs nothing but the binary of the service and /dev/net/tun: the network is of
// its own making, see package wire. Root, or a user namespace, gives every node a
// network of its own; root also gives disks and control groups. What cannot be made
// is left out by name. Exit codes: 0 all runs passed, 1 one failed, 2 undecided,
// 3 a run that can tell nothing, 4 the runs could not be carried out.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/prytany/prytany/jepsen/run"
	"github.com/prytany/prytany/jepsen/verdict"
)

const usage = `usage: prytany-jepsen run [flags]     break a cluster while clients work, and check what they were told
       prytany-jepsen check PATH [--log FILE]...
                                      check a recorded run again: its directory, or its history
       prytany-jepsen sum [--out DIR] DIR...
                                      add up all runs in and below directories
       prytany-jepsen list            all faults and workloads
`

func main() {
	// Children die with the thread that started them: this one lasts, and no network
	// namespace is ever made of it.
	runtime.LockOSThread()
	os.Exit(command(os.Args[1:]))
}

// command carries out what is asked for and returns the exit code.
func command(args []string) int {
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, usage)
		return verdict.ExitUnusable
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	code, err := verdict.ExitPassed, error(nil)
	switch args[0] {
	case "run":
		code, err = runs(ctx, args[1:])
	case "check":
		code, err = checkAgain(args[1:])
	case "sum":
		code, err = sum(args[1:])
	case "list":
		list()
	case run.ClientCommand:
		err = run.Client(context.Background(), os.Stdin, os.Stdout) // it ends with its input
	case "help", "-h", "--help":
		fmt.Print(usage)
	default:
		err = fmt.Errorf("no command %q: there are run, check, sum and list", args[0])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "prytany-jepsen:", err)
		return verdict.ExitUnusable
	}
	return code
}
