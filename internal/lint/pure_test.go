package lint

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
	"testing"
)

// pure packages may not even see the clock, the scheduler or the world: the
// same input gives the same output, always.
var pure = []string{"synod", "paxos", "leader"}

// impure is what they may not import, packages below included.
var impure = []string{"context", "crypto", "io", "log", "math/rand", "net", "os", "runtime", "sync", "syscall", "time", "unsafe"}

// orderFree marks, in a comment on the line or the line above, a range over a
// map whose result does not depend on the order; a reason follows.
const orderFree = "//lint:ordered "

func TestPurePackages(t *testing.T) {
	tree := source(t)
	known := &checker{tree: tree}
	for _, dir := range pure {
		_, info := known.check(dir)
		for _, f := range tree.packages[dir] {
			if f.test {
				continue
			}
			for _, name := range f.imports() {
				if slices.ContainsFunc(impure, func(p string) bool { return under(name, p) }) {
					t.Errorf("%s: imports %s", f.name, name)
				}
			}
			for pos, what := range impurities(tree, f, info) {
				t.Errorf("%s: %s", tree.at(pos), what)
			}
		}
	}
}

// impurities finds what makes f depend on a scheduler or on the order of a map.
func impurities(tree *tree, f *file, info *types.Info) map[token.Pos]string {
	found := make(map[token.Pos]string)
	sorted := make(map[ast.Node]bool) // calls whose result is sorted at once
	marked := marks(tree, f)
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			found[n.Pos()] = "starts a goroutine"
		case *ast.ChanType, *ast.SelectStmt, *ast.SendStmt:
			found[n.Pos()] = "uses a channel"
		case *ast.RangeStmt:
			if typ := info.TypeOf(n.X); typ == nil {
				break
			} else if _, ok := typ.Underlying().(*types.Map); ok && !marked[tree.fset.Position(n.Pos()).Line] {
				found[n.Pos()] = "depends on the order of a map; sort the keys, or say why not with " + orderFree
			}
		case *ast.CallExpr:
			name := types.ExprString(n.Fun)
			if strings.HasPrefix(name, "slices.Sorted") {
				sorted[n.Args[0]] = true
			}
			if (name == "maps.Keys" || name == "maps.Values" || name == "maps.All") && !sorted[n] {
				found[n.Pos()] = "depends on the order of a map; use slices.Sorted"
			}
		}
		return true
	})
	return found
}

// marks returns the lines that an orderFree comment with a reason covers.
func marks(tree *tree, f *file) map[int]bool {
	lines := make(map[int]bool)
	for _, group := range f.ast.Comments {
		for _, c := range group.List {
			if reason, ok := strings.CutPrefix(c.Text, orderFree); ok && strings.TrimSpace(reason) != "" {
				line := tree.fset.Position(c.Pos()).Line
				lines[line], lines[line+1] = true, true
			}
		}
	}
	return lines
}

// TestMutantIsNothing: what the pure packages import of internal/mutant, the build
// without the tag, imports nothing and keeps nothing.
func TestMutantIsNothing(t *testing.T) {
	tree := source(t)
	plain := 0
	for _, f := range tree.packages["internal/mutant"] {
		if f.test || f.tagged("mutants") {
			continue
		}
		plain++
		if got := f.imports(); len(got) > 0 {
			t.Errorf("%s: imports %v", f.name, got)
		}
		for _, d := range f.ast.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
				t.Errorf("%s: a variable", tree.at(g.Pos()))
			}
		}
	}
	if plain != 2 {
		t.Errorf("%d files without the tag; want 2", plain)
	}
}

// tagged reports whether f is only of builds with tag.
func (f *file) tagged(tag string) bool {
	for _, group := range f.ast.Comments {
		for _, c := range group.List {
			if c.Text == "//go:build "+tag {
				return true
			}
		}
	}
	return false
}
