package lint

import (
	"go/ast"
	"go/token"
	"go/types"
	"path"
	"regexp"
	"strings"
	"testing"
)

// The largest sizes, in lines.
const (
	maxFunc     = 70
	maxFile     = 500
	maxTestFile = 900
	maxPackage  = 2500 // blank lines and comments left out, tests too
)

func TestSizes(t *testing.T) {
	tree := source(t)
	for _, dir := range tree.dirs() {
		sum := 0
		for _, f := range tree.packages[dir] {
			if f.test {
				if f.lines > maxTestFile {
					t.Errorf("%s: %d lines; a test file has at most %d", f.name, f.lines, maxTestFile)
				}
				continue
			}
			sum += codeLines(tree, f)
			if f.lines > maxFile {
				t.Errorf("%s: %d lines; a file has at most %d", f.name, f.lines, maxFile)
			}
			for _, d := range f.ast.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok || fn.Body == nil || isTable(fn.Body) {
					continue
				}
				n := tree.fset.Position(fn.End()).Line - tree.fset.Position(fn.Pos()).Line + 1
				if n > maxFunc {
					t.Errorf("%s: %s has %d lines; a function has at most %d", tree.at(fn.Pos()), fn.Name.Name, n, maxFunc)
				}
			}
		}
		if sum > maxPackage {
			t.Errorf("%s: %d lines of code; a package has at most %d", dir, sum, maxPackage)
		}
	}
}

// isTable reports whether a function is one dispatching switch or one table,
// with at most three statements around it.
func isTable(body *ast.BlockStmt) bool {
	if len(body.List) > 4 {
		return false
	}
	for _, s := range body.List {
		switch s := s.(type) {
		case *ast.SwitchStmt, *ast.TypeSwitchStmt:
			return true
		case *ast.ReturnStmt:
			if len(s.Results) == 1 {
				e := s.Results[0]
				if u, ok := e.(*ast.UnaryExpr); ok {
					e = u.X
				}
				if _, ok := e.(*ast.CompositeLit); ok {
					return true
				}
			}
		}
	}
	return false
}

// codeLines counts the lines of f on which some syntax begins or ends.
func codeLines(tree *tree, f *file) int {
	lines := make(map[int]bool)
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n.(type) {
		case nil:
			return true
		case *ast.CommentGroup, *ast.Comment:
			return false
		case *ast.File:
			return true
		}
		lines[tree.fset.Position(n.Pos()).Line] = true
		lines[tree.fset.Position(n.End()-1).Line] = true
		return true
	})
	return len(lines)
}

// unfinished finds the marks of unfinished work.
var unfinished = regexp.MustCompile(`\b(` + strings.Join([]string{"TO" + "DO", "FIX" + "ME", "X" + "XX"}, "|") + `)\b`)

func TestNothingIsLeftForLater(t *testing.T) {
	tree := source(t)
	for _, dir := range tree.dirs() {
		for _, f := range tree.packages[dir] {
			for _, group := range f.ast.Comments {
				for _, c := range group.List {
					if m := unfinished.FindString(c.Text); m != "" {
						t.Errorf("%s: %s", tree.at(c.Pos()), m)
					}
				}
			}
		}
	}
}

func TestExportedNamesAreDocumented(t *testing.T) {
	tree := source(t)
	for _, dir := range tree.dirs() {
		documented := false
		for _, f := range tree.packages[dir] {
			if f.test {
				continue
			}
			documented = documented || f.ast.Doc != nil
			for _, d := range f.ast.Decls {
				for _, id := range undocumented(d) {
					t.Errorf("%s: %s has no comment", tree.at(id.Pos()), id.Name)
				}
			}
		}
		if !documented && dir != "internal/deps" {
			t.Errorf("%s: the package has no comment", dir)
		}
	}
}

// undocumented lists the exported names that d declares without a comment. The
// methods of unexported types need none, nor do those that only implement a
// well-known interface.
func undocumented(d ast.Decl) (out []*ast.Ident) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) && !wellKnown[d.Name.Name] {
			out = append(out, d.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
					out = append(out, s.Name)
				}
			case *ast.ValueSpec:
				for _, id := range s.Names {
					if id.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
						out = append(out, id)
					}
				}
			}
		}
	}
	return out
}

// wellKnown are methods whose meaning everybody knows.
var wellKnown = map[string]bool{
	"Error": true, "Unwrap": true, "Is": true, "String": true, "Len": true, "Less": true, "Swap": true,
	"Push": true, "Pop": true, "MarshalJSON": true, "UnmarshalJSON": true, "MarshalText": true, "UnmarshalText": true,
}

// exportedReceiver reports whether fn is no method, or one of an exported type.
func exportedReceiver(fn *ast.FuncDecl) bool {
	if fn.Recv == nil {
		return true
	}
	name := strings.TrimPrefix(types.ExprString(fn.Recv.List[0].Type), "*")
	return ast.IsExported(name)
}

// TestNoMutableGlobals finds variables of packages that somebody writes to,
// and functions that run by themselves: two nodes must fit into one process.
func TestNoMutableGlobals(t *testing.T) {
	tree := source(t)
	known := &checker{tree: tree}
	for _, dir := range tree.dirs() {
		pkg, info := known.check(dir)
		for _, f := range tree.packages[dir] {
			if f.test {
				continue
			}
			for _, d := range f.ast.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
					t.Errorf("%s: an init function", tree.at(fn.Pos()))
				}
			}
			for pos, name := range writes(f, pkg, info) {
				t.Errorf("%s: writes to %s.%s, a variable of the package", tree.at(pos), path.Base(dir), name)
			}
		}
	}
}

// writes finds where f changes a variable of its package, takes its address, or
// declares one that exists to be changed.
func writes(f *file, pkg *types.Package, info *types.Info) map[token.Pos]string {
	found := make(map[token.Pos]string)
	note := func(e ast.Expr) {
		if id := root(e); id != nil {
			if v, ok := info.Uses[id].(*types.Var); ok && v.Parent() == pkg.Scope() {
				found[e.Pos()] = id.Name
			}
		}
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for _, e := range n.Lhs {
				note(e)
			}
		case *ast.IncDecStmt:
			note(n.X)
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				note(n.X)
			}
		case *ast.CallExpr:
			if id, ok := n.Fun.(*ast.Ident); ok && (id.Name == "delete" || id.Name == "clear") {
				note(n.Args[0])
			}
		}
		return true
	})
	for _, d := range f.ast.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec) // var has no other specs
			if v.Type != nil && changeable.MatchString(types.ExprString(v.Type)) {
				found[v.Pos()] = v.Names[0].Name
			}
		}
	}
	return found
}

// changeable matches types whose values are of use only if they change.
var changeable = regexp.MustCompile(`^(sync\.|atomic\.|chan )`)

// root is the variable that an expression selects from, nil if it is none.
func root(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		default:
			return nil
		}
	}
}
