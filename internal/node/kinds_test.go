package node

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// kindsIn returns the values of the string constants of the package in dir
// whose names begin with kind or Kind.
func kindsIn(t *testing.T, dir string) (kinds []string) {
	files, err := filepath.Glob(dir + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Names) != 1 || len(spec.Values) != 1 || !strings.HasPrefix(strings.ToLower(spec.Names[0].Name), "kind") {
				return true
			}
			if lit, ok := spec.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
				kind, _ := strconv.Unquote(lit.Value)
				kinds = append(kinds, kind)
			}
			return true
		})
	}
	return kinds
}

// Every kind of event that a node may tell of is in the tables.
func TestKindsAreDocumented(t *testing.T) {
	kinds := append(kindsIn(t, "."), kindsIn(t, "../journal")...)
	for _, told := range tellings { //lint:ordered any order will do
		kinds = append(kinds, told.kind)
	}
	if len(kinds) < 35 {
		t.Fatalf("only %d kinds found: %v", len(kinds), kinds)
	}
	for _, doc := range []string{"../../docs/api.md", "../../docs/openapi.yaml"} {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range kinds {
			if !strings.Contains(string(text), "`"+kind+"`") {
				t.Errorf("%s does not tell of the kind %s", doc, kind)
			}
		}
	}
}
