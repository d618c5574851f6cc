package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/prytany/prytany/internal/cluster"
)

// patience is how long a script waits for what must happen.
const patience = time.Minute

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"prytany": main, "prytany-test-curl": curlMain, "prytany-test-proxy": proxyMain})
}

// TestScripts tells what users see, with the real binary against real nodes.
// The scripts share one cluster, in PRYTANY_ADDR; those that break things
// start their own.
func TestScripts(t *testing.T) {
	c, err := cluster.Start(cluster.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	var urls []string
	for _, s := range c.States() {
		urls = append(urls, s.URL)
	}
	// The scripts run in parallel; the group keeps the cluster until all are done.
	t.Run("all", func(t *testing.T) {
		testscript.Run(t, testscript.Params{
			Dir: "testdata/script",
			Setup: func(e *testscript.Env) error {
				e.Setenv("PRYTANY_ADDR", strings.Join(urls, ","))
				e.Setenv("ESC", "\x1b")
				if race := os.Getenv("GORACE"); race != "" {
					e.Setenv("GORACE", race)
				}
				jobs := jobs{}
				e.Values[jobsKey{}] = jobs
				e.Defer(jobs.kill)
				return nil
			},
			Cmds: map[string]func(*testscript.TestScript, bool, []string){
				"exit": exitCommand, "until": untilCommand, "ports": portsCommand,
				"start": startCommand, "signal": signalCommand, "ended": endedCommand, "value": valueCommand,
			},
		})
	})
}

// exitCommand is "exit CODE COMMAND...": runs it and checks its exit code.
func exitCommand(ts *testscript.TestScript, _ bool, args []string) {
	want := number(ts, args[0])
	if got := exitStatus(ts.Exec(args[1], args[2:]...)); got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func exitStatus(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		if ws := exit.Sys().(syscall.WaitStatus); ws.Signaled() {
			return 128 + int(ws.Signal())
		}
		return exit.ExitCode()
	}
	return -1
}

func number(ts *testscript.TestScript, s string) int {
	n, err := strconv.Atoi(s)
	ts.Check(err)
	return n
}

// untilCommand is "until PATTERN COMMAND...": repeats it until its output
// matches.
func untilCommand(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile("(?m)" + args[0])
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		out, err := command(ts, args[1:]).CombinedOutput()
		if want.Match(out) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("no match for %q in %v: %v\n%s", args[0], args[1:], err, out)
		}
	}
}

// command makes a command that runs where and as those of the script do.
func command(ts *testscript.TestScript, args []string) *exec.Cmd {
	path, err := exec.LookPath(args[0]) // the test's own PATH leads to the commands registered in TestMain
	ts.Check(err)
	cmd := exec.Command(path, args[1:]...)
	cmd.Args[0] = args[0]
	cmd.Dir = ts.Getenv("WORK")
	for _, k := range []string{"PATH", "HOME", "TMPDIR", "PRYTANY_ADDR", "PRYTANY_DEV", "PRYTANY_ZONE", "PRYTANY_NAME"} {
		if v := ts.Getenv(k); v != "" {
			cmd.Env = append(cmd.Env, k+"="+v)
		}
	}
	return cmd
}

// portsCommand is "ports VAR...": sets each to a free loopback port.
func portsCommand(ts *testscript.TestScript, _ bool, names []string) {
	for _, name := range names {
		port, err := ports.pick(1)
		ts.Check(err)
		ts.Setenv(name, strconv.Itoa(port))
	}
}

// valueCommand is "value VAR FILE PATTERN": sets VAR to the pattern's first
// group.
func valueCommand(ts *testscript.TestScript, _ bool, args []string) {
	m := regexp.MustCompile("(?m)" + args[2]).FindStringSubmatch(ts.ReadFile(args[1]))
	if len(m) < 2 {
		ts.Fatalf("no match for %q in %s:\n%s", args[2], args[1], ts.ReadFile(args[1]))
	}
	ts.Setenv(args[0], m[1])
}

type jobsKey struct{}

// jobs are the commands that a script has in the background.
type jobs map[string]*job

type job struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func (j jobs) kill() {
	for _, job := range j {
		_ = job.cmd.Process.Kill()
		<-job.done
	}
}

// startCommand is "start NAME COMMAND...": runs it in the background; its
// output goes to NAME.out and NAME.err.
func startCommand(ts *testscript.TestScript, _ bool, args []string) {
	name := args[0]
	cmd := command(ts, args[1:])
	var files []*os.File
	for _, ext := range []string{".out", ".err"} {
		f, err := os.Create(filepath.Join(cmd.Dir, name+ext))
		ts.Check(err)
		files = append(files, f)
	}
	cmd.Stdout, cmd.Stderr = files[0], files[1]
	ts.Check(cmd.Start())
	j := &job{cmd, make(chan struct{})}
	go func() {
		defer close(j.done)
		_ = cmd.Wait() // the verdict is in ProcessState
		for _, f := range files {
			_ = f.Close()
		}
	}()
	ts.Value(jobsKey{}).(jobs)[name] = j
}

func background(ts *testscript.TestScript, name string) *job {
	j := ts.Value(jobsKey{}).(jobs)[name]
	if j == nil {
		ts.Fatalf("there is no job %q", name)
	}
	return j
}

// signalCommand is "signal NAME SIGNAL".
func signalCommand(ts *testscript.TestScript, _ bool, args []string) {
	sig, ok := map[string]syscall.Signal{
		"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL, "USR1": syscall.SIGUSR1,
		"STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT,
	}[args[1]]
	if !ok {
		ts.Fatalf("there is no signal %q", args[1])
	}
	ts.Check(background(ts, args[0]).cmd.Process.Signal(sig))
}

// endedCommand is "ended NAME CODE": waits for it and checks its exit code.
func endedCommand(ts *testscript.TestScript, _ bool, args []string) {
	j := background(ts, args[0])
	select {
	case <-j.done:
	case <-time.After(patience):
		ts.Fatalf("%s has not ended:\n%s", args[0], ts.ReadFile(args[0]+".err"))
	}
	ws := j.cmd.ProcessState.Sys().(syscall.WaitStatus)
	got := ws.ExitStatus()
	if ws.Signaled() {
		got = 128 + int(ws.Signal())
	}
	if got != number(ts, args[1]) {
		ts.Fatalf("%s: exit code %d, want %s\n%s", args[0], got, args[1], fmt.Sprint(ts.ReadFile(args[0]+".out"), ts.ReadFile(args[0]+".err")))
	}
}
