// Command stalls runs `go test` with a Go runtime whose threads stand still now and then,
// as they do on machines that have too much to do: between two statements, or between the
// end of a system call and what comes after it, one goroutine is away for a while and the
// others go on.
//
//	go run ./internal/stalls -count 5 ./client ./httpapi/...
//
// Its arguments are those of `go test`. A test that fails under it takes some time for
// short that nobody promises, or has found a race that no race detector sees: what a
// program does in the wrong order without sharing memory.
//
// The runtime is patched by `go build`'s -overlay, so everything is built anew, once. It
// stalls at two places, each at random up to 16 times a second: where the scheduler lets
// a goroutine run, and where a system call returns. Most stalls last for less than 15 ms,
// one in 13 for a tenth to four tenths of a second, one in 256 for a second. Where
// GOMAXPROCS is not set it is 6, since a thread that stalls before it runs a goroutine has
// a processor of the scheduler's.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// places are the functions of the runtime that stall at their beginning, and the names of
// what each keeps for that.
var places = map[string]string{
	"func execute(gp *g, inheritTime bool) {\n": "stallRun",
	"func exitsyscall() {\n":                    "stallReturn",
}

// stall is what is added to package runtime.
const stall = `package runtime

import "internal/runtime/atomic"

var stallRun, stallReturn int64 // when to stall next

//go:nosplit
func stallNow(next *int64) {
	now, n := nanotime(), atomic.Loadint64(next)
	if now < n || !atomic.Casint64(next, n, now+int64(cheaprand()%125)*1000000) || n == 0 {
		return
	}
	r := cheaprand()
	us := (r >> 8) % 15000
	switch k := r & 255; {
	case k == 0:
		us = 1000000
	case k < 20:
		us = 80000 + (r>>8)%300000
	}
	usleep(us)
}
`

// patched returns the runtime's scheduler with calls of stallNow.
func patched(source string) (string, error) {
	for place, next := range places {
		if strings.Count(source, place) != 1 {
			return "", fmt.Errorf("this Go's runtime has no %q", strings.TrimSpace(place))
		}
		source = strings.Replace(source, place, place+"\tstallNow(&"+next+")\n", 1)
	}
	return source, nil
}

// overlay writes what replaces files of goroot into dir, and returns the file that says so.
func overlay(goroot, dir string) (string, error) {
	runtime := filepath.Join(goroot, "src", "runtime")
	source, err := os.ReadFile(filepath.Join(runtime, "proc.go"))
	if err != nil {
		return "", err
	}
	proc, err := patched(string(source))
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for name, text := range map[string]string{"proc.go": proc, "stall_prytany.go": stall} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(runtime, name)] = path
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, b, 0o600)
}

// goroot is where the source of the runtime is.
func goroot() (string, error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	return strings.TrimSpace(string(out)), err
}

func run(args []string) error {
	root, err := goroot()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "prytany-stalls-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file, err := overlay(root, dir)
	if err != nil {
		return err
	}
	cmd := exec.Command("go", append([]string{"test", "-overlay", file}, args...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = os.Environ()
	if os.Getenv("GOMAXPROCS") == "" {
		cmd.Env = append(cmd.Env, "GOMAXPROCS=6")
	}
	return cmd.Run()
}

func main() {
	err := run(os.Args[1:])
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(max(exit.ExitCode(), 1))
	case err != nil:
		fmt.Fprintln(os.Stderr, "stalls:", err)
		os.Exit(1)
	}
}
