package main

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/cmd/prytany/internal/nodes"
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
	if rest, ok := strings.CutSuffix(p, "\n…"); ok {
		p = rest + "…" // perhaps nothing follows
	}
	p = strings.ReplaceAll(p, "…", `[\s\S]*`)
	p = regexp.MustCompile(` +`).ReplaceAllString(p, ` +`) // columns vary in width
	return regexp.MustCompile(`^` + p + `\s*$`)
}

// freePorts returns the first of n free consecutive ports.
func freePorts(t *testing.T, n int) int {
	t.Helper()
	first, err := ports.pick(n)
	if err != nil {
		t.Fatal(err)
	}
	return first
}

// devCluster runs what `prytany dev` runs, in this process, and returns the
// environment that talks to it.
func devCluster(t *testing.T, first int) []string {
	t.Helper()
	orders, err := nodes.ListenOrders("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(orders.Close)
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
	orders.Serve(t.Context(), c)
	return []string{"PRYTANY_DEV=" + orders.Addr()}
}

// A document is a file with examples, and the cluster that they talk to.
type document struct {
	name  string // from the root of the repository
	text  string // with the cluster's addresses
	env   []string
	first int // port
	sh    *shell
}

// openDocument reads a document and starts a cluster for it alone.
func openDocument(t *testing.T, name string) document {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", name))
	if err != nil {
		t.Fatal(err)
	}
	d := document{name: name, text: string(raw), first: freePorts(t, 3)}
	for i := range 3 {
		d.text = strings.ReplaceAll(d.text, fmt.Sprintf("localhost:748%d", i), fmt.Sprintf("127.0.0.1:%d", d.first+i))
	}
	d.env = append(os.Environ(), devCluster(t, d.first)...)
	d.env = append(d.env, "NO_PROXY=*")
	d.sh = startShell(t, d.env)
	if _, err := exec.LookPath("curl"); err != nil {
		d.sh.run(t, step{command: `curl() { prytany-test-curl "$@"; }`})
	}
	return d
}

// reading matches commands that change nothing.
var reading = regexp.MustCompile(`^(prytany (-\S+ \S+ )?(dev nodes|doctor|events|explain|get|groups|leader|list|locks|members|rtt|status|watch)\b|curl (-N |-m \d+ )*\S+( -H '[^']*')*( \| grep '[^']*')?$)`)

// follow takes a step and returns what it prints. What only reads is repeated until it shows
// what the document says, and so is what lacks the words that another command was to print:
// a cluster may elect a leader at any time.
func (d document) follow(t *testing.T, s step) string {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		got := d.sh.run(t, s)
		again := reading.MatchString(s.command) || strings.Contains(got, ": missing ")
		if !again || s.pattern().MatchString(got) || time.Now().After(end) {
			return got
		}
	}
}

// TestDocuments runs every command of the documents' console blocks, those of
// one document in one shell, and compares what they print.
func TestDocuments(t *testing.T) {
	for name, least := range map[string]int{"README.md": 20, "docs/api.md": 30} {
		t.Run(name, func(t *testing.T) {
			d := openDocument(t, name)
			steps := readmeSteps(t, d.text)
			if len(steps) < least {
				t.Fatalf("%s has %d commands; the parser must be wrong", name, len(steps))
			}
			for _, s := range steps {
				got := d.follow(t, s)
				if !s.pattern().MatchString(got) {
					t.Errorf("%s:%d: $ %s\ngot:\n%s\nwant:\n%s", name, s.line, s.command, got, s.want)
				}
			}
			if name == "README.md" {
				t.Run("Go", func(t *testing.T) { readmeProgram(t, d.text, d.env, d.first) })
			}
		})
	}
}

// fixtures are the files that the examples of the commands name.
var fixtures = map[string]string{
	"job.sh": "true", "server": "sleep 600", "worker": "sleep 600", "read.sh": "true", "train.sh": "true", "write.sh": "true", "reload.sh": "cat",
}

// benches is 1 for examples of bench, and 0 for all others.
func benches(s step) int {
	if strings.HasPrefix(s.command, "prytany bench") {
		return 1
	}
	return 0
}

// exampleHead begins the script of an example. bash waits for what it runs, and ends what is
// in the background, so that nothing of an example is printed after its code or at work
// beside the next one. What zsh says of itself bash would not.
const exampleHead = `trap exit TERM
trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
fpath=(x "$HOME")
`

// backgroundPause follows a command in the background, until it listens.
const backgroundPause = "\nuntil (exec 3<>/dev/tcp/127.0.0.1/4040) 2>/dev/null; do sleep 0.1; done\n"

// TestExamples runs the examples of docs/cli.md. What goes on for ever is ended
// after a while; what names a fence, a revision or a session that is none here may
// be refused, as it says. None may be wrong.
func TestExamples(t *testing.T) {
	d := openDocument(t, "docs/cli.md")
	dir := t.TempDir()
	for name, script := range fixtures {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"config.json": "{}", "Makefile": "all deploy:\n\ttrue\n", "node.yaml": "name: a\ndata-dir: " + filepath.Join(dir, "a") + "\nbootstrap: true\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d.sh.run(t, step{command: "cd " + dir})
	d.sh.run(t, step{command: fmt.Sprintf("export PRYTANY_ADDR=http://127.0.0.1:%d PRYTANY_LOCK_FENCE=3 HOME=%s", d.first, dir)})
	d.sh.run(t, step{command: "mkdir -p ~/.config/fish/completions; prytany put app/color green"})
	n := 0
	examples := shellExamples(d.text)
	// Those of bench last: what they write takes the place of the changes that a watch
	// could begin at.
	slices.SortStableFunc(examples, func(a, b step) int { return cmp.Compare(benches(a), benches(b)) })
	for _, s := range examples {
		if strings.HasPrefix(s.command, "prytany serve") || s.command == "prytany dev" || strings.HasPrefix(s.command, "prytany dev ") {
			continue // need machines of their own; other tests run them
		}
		n++
		// The example before may still be on its way out of the port.
		paused := strings.Contains(s.command, backgroundPause)
		port := fmt.Sprint(freePorts(t, 1))
		s.command = strings.NewReplacer("127.0.0.1:4040", "127.0.0.1:"+port, "127.0.0.1/4040", "127.0.0.1/"+port).Replace(s.command)
		script := filepath.Join(dir, "example.sh")
		if err := os.WriteFile(script, []byte(exampleHead+s.command+"\nexit\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		limit := 2 // seconds
		if paused {
			limit = 8
		}
		s.command = fmt.Sprintf("timeout -k 30 %d bash %s; code=$?; echo; echo code $code", limit, script)
		got := d.sh.run(t, s)
		if !regexp.MustCompile(`(?m)^code (0|3|4|124)\z`).MatchString(got) {
			t.Errorf("%s:%d: %s\n%s", d.name, s.line, s.command, got)
		}
	}
	if n < 40 {
		t.Errorf("%d examples; the parser must be wrong", n)
	}
}

// shellExamples returns the lines of all sh blocks; those of one block that
// belong together, because the first goes on in the background, as one.
func shellExamples(text string) (steps []step) {
	in, open := false, false
	for i, line := range strings.Split(text, "\n") {
		switch {
		case line == "```sh":
			in, open = true, false
		case strings.HasPrefix(line, "```"):
			in = false
		case !in || line == "":
		case open:
			last := &steps[len(steps)-1]
			last.command += backgroundPause + line
		default:
			steps = append(steps, step{line: i + 1, command: line})
			open = strings.HasSuffix(line, "&")
		}
	}
	return steps
}

// readmeProgram compiles and runs the Go program of the README.
func readmeProgram(t *testing.T, text string, env []string, first int) {
	_, rest, ok := strings.Cut(text, "```go\n")
	program, _, end := strings.Cut(rest, "```")
	if !ok || !end {
		t.Fatal("the README has no Go program")
	}
	dir, err := os.MkdirTemp("testdata", "readme-") // inside the module, so that it may import it
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
	command := strings.ReplaceAll(st.command, "curl ", "curl -s -m 30 ")
	if _, err := fmt.Fprintf(s.in, "{ %s\n} </dev/null\necho; echo %s\n", command, mark); err != nil {
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
