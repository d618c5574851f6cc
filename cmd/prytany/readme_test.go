package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/cluster"
	"github.com/prytany/prytany/internal/node"
)

// A step is one command of the README and what it says follows.
type step struct {
	line    int
	command string
	want    string // … stands for anything
}

// readmeSteps returns the commands of all console blocks, in order.
func readmeSteps(t *testing.T, text string) (steps []step) {
	t.Helper()
	in := false
	for i, line := range strings.Split(text, "\n") {
		switch {
		case line == "```console":
			in = true
		case strings.HasPrefix(line, "```"):
			in = false
		case !in:
		case strings.HasPrefix(line, "$ "):
			steps = append(steps, step{line: i + 1, command: line[2:]})
		case len(steps) == 0:
			t.Fatalf("README.md:%d: output before any command", i+1)
		default:
			s := &steps[len(steps)-1]
			s.want = strings.TrimPrefix(s.want+"\n"+line, "\n")
		}
	}
	return steps
}

// pattern is the regular expression of an expected output.
func (s step) pattern() *regexp.Regexp {
	p := regexp.QuoteMeta(s.want)
	p = strings.ReplaceAll(p, "…", `[\s\S]*`)
	p = regexp.MustCompile(` +`).ReplaceAllString(p, ` +`) // columns vary in width
	return regexp.MustCompile(`^` + p + `\s*$`)
}

// freePorts returns the first of n free consecutive ports.
func freePorts(t *testing.T, n int) int {
	t.Helper()
	for range 100 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		first := ln.Addr().(*net.TCPAddr).Port
		_ = ln.Close()
		free := first+n < 65536
		for i := range n {
			ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+i))
			if free = free && err == nil; err == nil {
				_ = ln.Close()
			}
		}
		if free {
			return first
		}
	}
	t.Fatal("no free ports in a row")
	return 0
}

// devCluster runs what `prytany dev` runs, in this process, and returns the
// environment that talks to it.
func devCluster(t *testing.T, first int) []string {
	t.Helper()
	orders, err := listenOrders("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(orders.close)
	c, err := cluster.Start(cluster.Config{
		Nodes: 3, Dir: t.TempDir(), HTTP: fmt.Sprintf("127.0.0.1:%d", first), Node: node.Config{Version: version},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	if err := c.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	orders.serve(t.Context(), c)
	return []string{"PRYTANY_DEV=" + orders.addr()}
}

// TestReadme runs every command of the README in one shell, and compares what
// they print.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	first := freePorts(t, 3)
	text := string(readme)
	for i := range 3 {
		text = strings.ReplaceAll(text, fmt.Sprintf("localhost:748%d", i), fmt.Sprintf("127.0.0.1:%d", first+i))
	}
	env := append(os.Environ(), devCluster(t, first)...)
	env = append(env, "NO_PROXY=*")
	steps := readmeSteps(t, text)
	if len(steps) < 20 {
		t.Fatalf("the README has %d commands; the parser must be wrong", len(steps))
	}
	sh := startShell(t, env)
	if _, err := exec.LookPath("curl"); err != nil {
		sh.run(t, step{command: `curl() { prytany-test-curl "$@"; }`})
	}
	for _, s := range steps {
		got := sh.run(t, s)
		if !s.pattern().MatchString(got) {
			t.Errorf("README.md:%d: $ %s\ngot:\n%s\nwant:\n%s", s.line, s.command, got, s.want)
		}
	}
	t.Run("Go", func(t *testing.T) { readmeProgram(t, text, env, first) })
}

// readmeProgram compiles and runs the Go program of the README.
func readmeProgram(t *testing.T, text string, env []string, first int) {
	_, rest, ok := strings.Cut(text, "```go\n")
	program, _, end := strings.Cut(rest, "```")
	if !ok || !end {
		t.Fatal("the README has no Go program")
	}
	dir, err := os.MkdirTemp(".", "testdata-readme-") // inside the module, so that it may import it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "run", "./"+dir)
	cmd.Env = append(env, fmt.Sprintf("PRYTANY_ADDR=http://127.0.0.1:%d,http://127.0.0.1:%d", first, first+1))
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "done\n" {
		t.Errorf("go run: %v, %q; want done", err, out)
	}
}

// A shell keeps variables from one command to the next.
type shell struct {
	in  *os.File
	out *bufio.Reader
}

func startShell(t *testing.T, env []string) *shell {
	t.Helper()
	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash")
	cmd.Env, cmd.Dir = env, t.TempDir()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inR, outW, outW
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = inR.Close(), outW.Close()
	t.Cleanup(func() {
		_ = inW.Close()
		timer := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		timer.Stop()
		_ = outR.Close()
	})
	return &shell{in: inW, out: bufio.NewReader(outR)}
}

// run returns what a command prints. curl's progress meter is switched off.
func (s *shell) run(t *testing.T, st step) string {
	t.Helper()
	const mark = "--end-of-command--"
	command := strings.ReplaceAll(st.command, "curl ", "curl -sS -m 30 ")
	if _, err := fmt.Fprintf(s.in, "%s </dev/null\necho; echo %s\n", command, mark); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for {
		line, err := s.out.ReadString('\n')
		if err != nil {
			t.Fatalf("README.md:%d: the shell ended: %v", st.line, err)
		}
		if strings.HasPrefix(line, mark) {
			return strings.ReplaceAll(strings.TrimSpace(out.String()), "\r", "")
		}
		out.WriteString(line)
	}
}
