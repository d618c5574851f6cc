// Command board shows that the tests find known bugs. It builds each test once, with the
// tag mutants; shows that it passes; and runs it as each mutant that it must find. The
// result is a table in Markdown. It exits with 1 if a mutant survives, or dies for
// another reason than the one the table has.
//
//	go run ./internal/mutant/board -doc docs/mutants.md
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prytany/prytany/internal/mutant"
)

// variable is mutant.Variable, which this build does not have.
const variable = "PRYTANY_MUTANT"

// campaigns is from how many seeds on a killer with seeds looks for each mutant, and
// apart how far these are from each other.
const (
	campaigns = 3
	apart     = 1000
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var b board
	only := flag.String("only", "", "run only the rows whose number or name matches this `regexp`")
	flag.StringVar(&b.doc, "doc", "", "put the table into this `file`, between the marks of the board")
	flag.StringVar(&b.out, "out", "", "keep the tests and what they print in this `directory`")
	flag.Parse()
	if err := b.run(ctx, *only); err != nil {
		fmt.Fprintf(os.Stderr, "board: %v\n", err)
		os.Exit(1)
	}
}

// A board is one run of all rows.
type board struct {
	doc, out string
	built    map[string]string // path of the test by package and tags
	green    map[*killer]verdict
	said     map[mutant.Name]string // what each bug is
	builds   time.Duration
	tests    time.Duration // processor time
}

// A verdict is what came of one test.
type verdict struct {
	dead  bool
	why   string // if it is not
	seeds []int  // in which it died, from the first of each campaign on
	took  time.Duration
}

func (b *board) run(ctx context.Context, only string) error {
	match, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	some := slices.DeleteFunc(slices.Clone(rows), func(r row) bool {
		return !match.MatchString(r.number) && !match.MatchString(string(r.name))
	})
	if b.out == "" {
		if b.out, err = os.MkdirTemp("", "board"); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(b.out) }()
	} else if err := os.MkdirAll(b.out, 0o755); err != nil {
		return err
	}
	b.built, b.green = map[string]string{}, map[*killer]verdict{}
	if b.said, err = said("internal/mutant/names.go"); err != nil {
		return err
	}
	if err := b.prepare(ctx, some); err != nil {
		return err
	}
	var table strings.Builder
	alive := 0
	for _, r := range some {
		lines, survived, err := b.row(ctx, r)
		if err != nil {
			return err
		}
		alive += survived
		fmt.Print(lines)
		table.WriteString(lines)
	}
	sum := fmt.Sprintf("\n%s. Processor time: %.0f s to build, %.0f s to run.\n", b.count(some, alive), b.builds.Seconds(), b.tests.Seconds())
	fmt.Print(sum)
	switch {
	case alive > 0:
		return fmt.Errorf("%d mutants survive, or die for another reason; strengthen the tests that should find them", alive)
	case b.doc == "":
		return nil
	case only != "":
		return errors.New("-doc wants all rows: leave out -only")
	}
	return write(b.doc, head+table.String()+sum)
}

func (b *board) count(some []row, alive int) string {
	kills := 0
	for _, r := range some {
		kills += len(r.kills)
	}
	return fmt.Sprintf("%d rows, %d tests that must notice, %d that do not", len(some), kills, alive)
}

// prepare builds what some rows need and shows that it passes.
func (b *board) prepare(ctx context.Context, some []row) error {
	for _, r := range some {
		for _, k := range r.kills {
			if err := b.build(ctx, k.by); err != nil {
				return err
			}
			if _, known := b.green[k.by]; known {
				continue
			}
			v, err := b.try(ctx, k.by, "", kill{by: k.by, told: true})
			if err != nil {
				return err
			}
			if !v.dead {
				return fmt.Errorf("%s %s fails without a mutant: %s", k.by.pkg, k.by.run, v.why)
			}
			b.green[k.by] = v
			fmt.Fprintf(os.Stderr, "passes without a mutant: %s %s, %.1f s\n", k.by.pkg, k.by.run, v.took.Seconds())
		}
	}
	return nil
}

func (k *killer) tag() string {
	if k.tags == "" {
		return "mutants"
	}
	return k.tags
}

// build makes the test of k's package, once.
func (b *board) build(ctx context.Context, k *killer) error {
	id := k.pkg + " " + k.tag()
	if b.built[id] != "" {
		return nil
	}
	path, err := filepath.Abs(filepath.Join(b.out, strings.ReplaceAll(k.pkg, "/", "-")+"."+k.tag()+".test"))
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-tags", k.tag(), "-o", path, "./"+k.pkg)
	cmd.Stderr = os.Stderr
	err = cmd.Run()
	b.builds += cpu(cmd)
	if err != nil {
		return fmt.Errorf("%s does not build: %w", k.pkg, err)
	}
	b.built[id] = path
	return nil
}

// row runs one row and returns its lines of the table, and how many of its tests did
// not notice.
func (b *board) row(ctx context.Context, r row) (lines string, survived int, err error) {
	for i, k := range r.kills {
		name := r.name
		v := b.green[k.by]
		if !k.told {
			if v, err = b.try(ctx, k.by, name, k); err != nil {
				return "", 0, err
			}
		}
		number, what := r.number, b.title(r)
		if i > 0 {
			number, what = "", ""
		}
		result := "killed, " + v.soon()
		switch {
		case !v.dead:
			survived++
			result = "**survives**: " + v.why
		case k.told:
			result = "killed within the test, " + v.soon()
		}
		lines += fmt.Sprintf("| %s | %s | %s: `%s` `%s` | %s |\n", number, what, k.by.layer, k.by.pkg, escape(k.by.command()), escape(result))
	}
	return lines, survived, nil
}

// command is how k's test is run, for people.
func (k *killer) command() string {
	out := "-run " + k.run
	for _, a := range k.args {
		out += " " + strings.TrimPrefix(a, "-test.")
	}
	return out
}

func escape(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// title says what the bug is, and what stood in its place.
func (b *board) title(r row) string {
	what := r.what
	if r.name != "" {
		what = "`" + strings.TrimPrefix(string(r.name), "mutant:") + "`: " + b.said[r.name]
	}
	if r.replaced != "" {
		what += " (*replaced*: " + r.replaced + ")"
	}
	return escape(what)
}

// soon says in which seeds a mutant died, and after how long.
func (v verdict) soon() string {
	took := fmt.Sprintf("%.1f s", v.took.Seconds())
	if len(v.seeds) == 0 {
		return took
	}
	s := slices.Sorted(slices.Values(v.seeds))
	if len(s) == 1 {
		return fmt.Sprintf("seed %d, %s", s[0], took)
	}
	return fmt.Sprintf("after %d seeds, %d at worst, %s", s[len(s)/2], s[len(s)-1], took)
}

// try runs k as the mutant name; "" is none. With seeds it does so from three seeds on.
func (b *board) try(ctx context.Context, k *killer, name mutant.Name, want kill) (v verdict, err error) {
	if k.seeds == 0 {
		return b.once(ctx, k, name, want, nil, 0)
	}
	v.dead = true
	for c := range campaigns {
		first := 1 + c*apart
		one, err := b.once(ctx, k, name, want, []string{fmt.Sprint("-from=", first), fmt.Sprint("-seeds=", k.seeds)}, first)
		if err != nil {
			return v, err
		}
		v.seeds, v.took = append(v.seeds, one.seeds...), v.took+one.took
		if !one.dead {
			v.dead, v.why = false, fmt.Sprintf("from seed %d on: %s", first, one.why)
			return v, nil
		}
	}
	return v, nil
}

// seed finds the seed in which a test has failed.
var seed = regexp.MustCompile(`\bseed (\d+)`)

// once runs k's test once.
func (b *board) once(ctx context.Context, k *killer, name mutant.Name, want kill, more []string, first int) (v verdict, err error) {
	args := append([]string{"-test.run=" + k.run, fmt.Sprint("-test.timeout=", k.limit)}, k.args...)
	cmd := exec.CommandContext(ctx, b.built[k.pkg+" "+k.tag()], append(args, more...)...)
	cmd.Dir = k.pkg
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	if name != "" {
		cmd.Env = append(cmd.Env, variable+"="+string(name))
	}
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return v, context.Cause(ctx)
	}
	v.took = cpu(cmd)
	b.tests += v.took
	b.keep(k, name, first, out)
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		return v, err
	}
	v.dead, v.why = want.judge(out, cmd.ProcessState.ExitCode())
	if s := seed.FindSubmatch(out); v.dead && s != nil && !want.told {
		n, _ := strconv.Atoi(string(s[1])) // it is a number
		v.seeds = []int{n - max(first, 1) + 1}
	}
	return v, nil
}

// keep writes what a test has said.
func (b *board) keep(k *killer, name mutant.Name, first int, out []byte) {
	file := fmt.Sprintf("%s.%s.%d.txt", strings.NewReplacer("/", "-", "mutant:", "").Replace(string(name)+"."+k.pkg), strings.Trim(strings.Fields(k.layer)[len(strings.Fields(k.layer))-1], "()"), first)
	_ = os.WriteFile(filepath.Join(b.out, file), out, 0o644) // for people; nothing depends on it
}

// judge says whether a test that has said out and ended with code has done what it must.
func (k kill) judge(out []byte, code int) (ok bool, why string) {
	ran := bytes.Contains(out, []byte("PASS")) && !bytes.Contains(out, []byte("no tests to run"))
	switch {
	case k.told && code == 0 && ran:
		return true, ""
	case k.told:
		return false, "it fails: " + tail(out)
	case code == 0:
		return false, "the test passes"
	case bytes.Contains(out, []byte("panic: test timed out")):
		return false, "it comes to no end"
	case code != 1:
		return false, "a panic: " + tail(out)
	case !regexp.MustCompile(k.why).Match(out):
		return false, "for another reason: " + tail(out)
	}
	return true, ""
}

// tail returns the beginning of what a test complains of, in one line.
func tail(out []byte) string {
	text := string(out)
	for _, mark := range []string{"panic:", "_test.go:", "FAIL"} {
		if i := strings.Index(text, mark); i >= 0 {
			text = text[i:]
			break
		}
	}
	text = strings.Join(strings.Fields(text), " ")
	return text[:min(len(text), 300)]
}

// said reads what each mutant is from the comments behind the names in file.
func said(file string) (map[mutant.Name]string, error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	out := map[mutant.Name]string{}
	ast.Inspect(parsed, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if ok && len(v.Values) == 1 {
			if s, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value); err == nil {
				out[mutant.Name(s)] = strings.TrimSpace(v.Comment.Text())
			}
		}
		return true
	})
	return out, nil
}

func cpu(cmd *exec.Cmd) time.Duration {
	if cmd.ProcessState == nil {
		return 0
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// The table's place in a document.
const (
	begin = "<!-- board: written by make mutants -->\n"
	end   = "<!-- end of board -->\n"
	head  = "| # | Bug | Must be noticed by | |\n|---|---|---|---|\n"
)

// write puts table into the document between the marks.
func write(doc, table string) error {
	text, err := os.ReadFile(doc)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no marks of the board; put %q and %q into it", doc, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return os.WriteFile(doc, []byte(before+begin+table+end+after), 0o644)
}
