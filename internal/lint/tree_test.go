package lint

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/prytany/prytany"

// A file is one parsed source file.
type file struct {
	name  string // from the root of the module
	test  bool
	ast   *ast.File
	lines int
}

// imports lists what f imports.
func (f *file) imports() (out []string) {
	for _, spec := range f.ast.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			panic(err) // the parser has accepted it
		}
		out = append(out, p)
	}
	return out
}

// A tree is the source of the whole module.
type tree struct {
	fset     *token.FileSet
	packages map[string][]*file // by directory from the root
}

// dirs lists the packages in order.
func (t *tree) dirs() []string { return slices.Sorted(maps.Keys(t.packages)) }

// at is where pos lies, for a message.
func (t *tree) at(pos token.Pos) string {
	p := t.fset.Position(pos)
	return p.Filename + ":" + strconv.Itoa(p.Line)
}

// load parses the module once for all tests.
var load = sync.OnceValues(func() (*tree, error) {
	root := os.DirFS("../..")
	t := &tree{fset: token.NewFileSet(), packages: make(map[string][]*file)}
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return enter(root, name)
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		src, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(t.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		t.packages[path.Dir(name)] = append(t.packages[path.Dir(name)], &file{
			name: name, test: strings.HasSuffix(name, "_test.go"), ast: parsed, lines: strings.Count(string(src), "\n"),
		})
		return nil
	})
	if err == nil && len(t.packages) < 5 {
		err = errors.New("lint: found next to nothing; is the root of the module elsewhere?")
	}
	return t, err
})

// enter says whether the walk should look into a directory: not into hidden
// ones, test data and other modules.
func enter(root fs.FS, dir string) error {
	if dir == "." {
		return nil
	}
	base := path.Base(dir)
	if base[0] == '.' || base[0] == '_' || base == "testdata" || base == "vendor" {
		return fs.SkipDir
	}
	if _, err := fs.Stat(root, path.Join(dir, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

// source returns the module or ends the test.
func source(t *testing.T) *tree {
	t.Helper()
	tree, err := load()
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// A checker knows the types of the packages it has checked. What comes from
// other modules has no type, which the rules can do without.
type checker struct {
	tree  *tree
	known map[string]*types.Package
	info  map[string]*types.Info
}

// check returns the types in the package at dir, tests left out.
func (c *checker) check(dir string) (*types.Package, *types.Info) {
	if c.known == nil {
		c.known, c.info = make(map[string]*types.Package), make(map[string]*types.Info)
	}
	if p := c.known[dir]; p != nil {
		return p, c.info[dir]
	}
	info := &types.Info{Types: make(map[ast.Expr]types.TypeAndValue), Uses: make(map[*ast.Ident]types.Object), Defs: make(map[*ast.Ident]types.Object)}
	var files []*ast.File
	for _, f := range c.tree.packages[dir] {
		if !f.test {
			files = append(files, f.ast)
		}
	}
	conf := types.Config{Importer: c, Error: func(error) {}} // errors: what other modules would explain
	p, _ := conf.Check(path.Join(module, dir), c.tree.fset, files, info)
	c.known[dir], c.info[dir] = p, info
	return p, info
}

// Import implements [types.Importer] for packages of this module.
func (c *checker) Import(name string) (*types.Package, error) {
	dir, ok := strings.CutPrefix(name, module+"/")
	if !ok {
		return nil, errors.New("not of this module")
	}
	p, _ := c.check(filepath.ToSlash(dir))
	return p, nil
}
