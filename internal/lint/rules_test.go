package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strings"
	"testing"
)

// bad breaks each rule that looks into functions; want lists where.
const bad = `package bad

import "maps"

var table = map[int]int{1: 2}
var count int

func init() { count = 1 }

func order(m map[int]int, c chan int) {
	for range m {
	}
	//lint:ordered only counts
	for range m {
		table[1]++
	}
	for range maps.Keys(m) {
	}
	_ = slices.Sorted(maps.Keys(m))
	go order(m, c)
	c <- 1
	count := 0
	count++
}
`

// parse makes a tree of one package with one file.
func parse(t *testing.T, src string) (*tree, *file) {
	t.Helper()
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, "bad.go", src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	f := &file{name: "bad.go", ast: parsed, lines: strings.Count(src, "\n")}
	return &tree{fset: fset, packages: map[string][]*file{"bad": {f}}}, f
}

// lines lists the lines of found in order.
func lines(tr *tree, found map[token.Pos]string) (out []int) {
	for _, pos := range slices.Sorted(maps.Keys(found)) {
		out = append(out, tr.fset.Position(pos).Line)
	}
	return out
}

func TestRulesFindWhatIsWrong(t *testing.T) {
	tr, f := parse(t, bad)
	pkg, info := (&checker{tree: tr}).check("bad")
	if got, want := lines(tr, impurities(tr, f, info)), []int{10, 11, 17, 20, 21}; !slices.Equal(got, want) {
		t.Errorf("impurities in lines %v; want %v", got, want)
	}
	if got, want := lines(tr, writes(f, pkg, info)), []int{8, 15}; !slices.Equal(got, want) {
		t.Errorf("writes in lines %v; want %v", got, want)
	}
	var names []string
	for _, d := range f.ast.Decls {
		for _, id := range undocumented(d) {
			names = append(names, id.Name)
		}
	}
	if len(names) != 0 {
		t.Errorf("undocumented: %v; nothing is exported", names)
	}
}

func TestRulesKnowTablesAndNames(t *testing.T) {
	_, f := parse(t, "package bad\n\ntype T int\nfunc F() {}\nfunc (T) String() string { switch { } ; return \"\" }\nfunc (t) G() { go F() }\nconst C = 1\n")
	var names []string
	tables := 0
	for _, d := range f.ast.Decls {
		for _, id := range undocumented(d) {
			names = append(names, id.Name)
		}
		if fn, ok := d.(*ast.FuncDecl); ok && isTable(fn.Body) {
			tables++
		}
	}
	if want := []string{"T", "F", "C"}; !slices.Equal(names, want) || tables != 1 {
		t.Errorf("undocumented %v, %d tables; want %v and 1", names, tables, want)
	}
}

func TestMaps(t *testing.T) {
	if _, ok := rule(may, "elsewhere"); ok {
		t.Error("an unknown package has a rule")
	}
	if list, ok := rule(may, "locks/internal/session"); !ok || !allows(list, "locks/internal/lock") || allows(list, "httpapi") {
		t.Errorf("below locks/internal: %v, %v", list, ok)
	}
	if !enters(doors, "github.com/hashicorp/memberlist", "fd") || enters(doors, "github.com/hashicorp/memberlist", "leader") ||
		enters(doors, "github.com/hashicorp/raft-wal", "internal/storage") || enters(doors, "github.com/x/y", "cmd/prytany") ||
		!enters(testDoors, "github.com/getkin/kin-openapi/openapi3", "httpapi") ||
		enters(doors, "github.com/getkin/kin-openapi/openapi3", "httpapi") {
		t.Error("a door is open or shut at the wrong place")
	}
}
