package lint

import (
	"path"
	"slices"
	"strings"
	"testing"
)

// anything marks the packages that tie the others together.
var anything = []string{"*"}

// may says which of our packages each package may import. Anything not listed
// here is forbidden, so a new arrow shows up in review as a change to this
// map. A name that ends in /* stands for all packages below it.
var may = map[string][]string{
	"synod":                        {},
	"internal/invariant":           {},
	"internal/mutant":              {},
	"internal/mutant/board":        {"internal/mutant"},
	"internal/api":                 {},
	"internal/multiplex":           {},
	"internal/port":                {},
	"internal/webui":               {},
	"internal/supervise":           {},
	"internal/lint":                {},
	"internal/deps":                {},
	"paxos":                        {"synod", "internal/invariant"},
	"leader":                       {"synod"},
	"fd":                           {"synod"},
	"paxos/replica":                {"synod", "paxos", "leader", "internal/invariant", "paxos/replica/internal/*"},
	"paxos/replica/internal/*":     {"synod", "paxos"},
	"locks":                        {"synod", "paxos", "locks/internal/*"},
	"locks/internal/*":             {"synod", "paxos", "locks/internal/*"},
	"locks/service":                {"paxos", "locks", "locks/internal/*"},
	"internal/directory":           {"synod", "paxos", "paxos/replica"},
	"internal/placement":           {},
	"httpapi":                      {"locks", "locks/service", "internal/api", "httpapi/internal/*"},
	"httpapi/internal/*":           {"locks", "internal/api", "httpapi/internal/*"},
	"client":                       {"internal/api", "client/internal/*"},
	"client/internal/*":            {"internal/api", "internal/multiplex"},
	"client/examples/*":            {"client"},
	"client/prytanytest":           {"client", "internal/cluster", "internal/node"},
	"internal/codec":               {"synod", "paxos", "leader", "paxos/replica"},
	"internal/roster":              {"synod"},
	"internal/storage":             {"synod", "paxos", "paxos/replica", "internal/codec", "internal/roster", "internal/storage/wal"},
	"internal/storage/wal":         {},
	"internal/storage/storagetest": {"synod", "paxos", "paxos/replica"},
	"internal/transport":           {"synod", "paxos", "paxos/replica", "leader", "internal/codec", "internal/roster"},
	"internal/obs":                 {"synod", "paxos", "leader"},
	"internal/journal":             {"synod", "paxos", "leader", "internal/api"},
	"internal/sim":                 {"synod", "paxos", "paxos/replica", "leader", "locks", "internal/codec", "internal/roster", "internal/ledger", "internal/sim/*"},
	"internal/sim/agenda":          {},
	"internal/sim/audit":           {"locks", "internal/sim/oracle"},
	"internal/sim/disk":            {"paxos", "paxos/replica", "internal/codec"},
	"internal/sim/dice":            {},
	"internal/sim/effect":          {"locks", "internal/sim/oracle"},
	"internal/sim/faults":          {"leader", "internal/sim/dice", "internal/sim/network", "internal/sim/plan"},
	"internal/sim/machine":         {"synod", "paxos", "paxos/replica", "locks", "internal/sim/audit", "internal/sim/oracle"},
	"internal/sim/network":         {"internal/sim/dice"},
	"internal/sim/oracle":          {"synod", "paxos", "internal/sim/disk"},
	"internal/sim/plan":            {"paxos/replica", "locks", "internal/sim/dice", "internal/sim/work", "internal/sim/workload"},
	"internal/sim/shrink":          {"internal/sim/dice", "internal/sim/plan"},
	"internal/sim/work":            {"locks", "internal/sim/audit", "internal/sim/dice", "internal/sim/effect"},
	"internal/sim/workload":        {"locks", "internal/sim/audit", "internal/sim/dice", "internal/sim/oracle"},
	"internal/steward":             {"synod", "paxos", "paxos/replica", "leader", "internal/api", "internal/directory", "internal/placement"},
	"internal/cluster":             {"internal/node", "internal/port"},
	"internal/scale":               {"internal/api", "internal/scale/fleet"},
	"internal/scale/*":             {"internal/api", "internal/scale/fleet"},
	"internal/soak":                {"internal/api", "internal/load", "internal/scale/fleet"},
	"internal/load":                {},
	"internal/ledger":              {},
	"internal/leaktest":            {},
	"internal/fault":               {},
	"internal/fault/clockfile":     {},
	"internal/fault/ask":           {"internal/api"},
	"internal/crashfs":             {},
	"internal/storage/crashstates": {"internal/ledger"},
	"internal/fuzzboard":           {"internal/ledger"},
	"internal/stalls":              {},
	"internal/failover":            {"internal/api", "internal/fault", "internal/fault/ask"},
	"internal/node":                anything,
	"jepsen/internal/sabotage":     {},
	"jepsen/history":               {},
	"jepsen/ops":                   {"internal/api", "jepsen/history", "jepsen/internal/sabotage"},
	"jepsen/verdict":               {"jepsen/history"},
	"jepsen/decided":               {"synod", "paxos", "locks", "internal/directory", "internal/storage"},
	"jepsen/model":                 {"locks", "internal/api"},
	"jepsen/linear":                {"internal/api", "jepsen/history", "jepsen/ops", "jepsen/verdict", "jepsen/internal/sabotage"},
	"jepsen/check":                 {"paxos", "locks", "internal/api", "jepsen/history", "jepsen/ops", "jepsen/verdict", "jepsen/decided", "jepsen/model", "jepsen/linear", "jepsen/internal/sabotage"},
	"jepsen/forge":                 {"synod", "paxos", "locks", "internal/api", "jepsen/history", "jepsen/decided"},
	"jepsen/report":                {"jepsen/history", "jepsen/ops", "jepsen/verdict", "jepsen/decided"},
	"jepsen/wire":                  {},
	"jepsen/campaign":              {"jepsen/verdict"},
	"jepsen/world":                 {"internal/api", "internal/crashfs", "internal/fault", "internal/fault/ask", "internal/fault/clockfile", "jepsen/wire"},
	"jepsen/nemesis":               {"internal/api", "internal/crashfs", "internal/fault", "internal/fault/clockfile", "jepsen/history", "jepsen/wire", "jepsen/world"},
	"jepsen/resource":              {},
	"jepsen/workload":              {"client", "internal/api", "jepsen/history", "jepsen/resource"},
	"jepsen/run":                   {"internal/fault", "jepsen/history", "jepsen/decided", "jepsen/nemesis", "jepsen/resource", "jepsen/workload", "jepsen/world"},
	"cmd/*":                        anything,
}

// mutated are the packages that hold known bugs, which only a build with the tag mutants
// can switch on. They may import internal/mutant beside what the map says. That the pure
// ones are among them is on purpose: a bug is shown to be found where its rule stands, in
// the very code that runs, and not in a copy of it. It makes none of them impure. Without
// the tag the package is constants and a function that returns false, and imports nothing;
// the environment is read by its other build, before anything runs. TestMutantIsNothing
// holds it to that.
var mutated = []string{
	"synod", "paxos", "paxos/replica/internal/image", "leader",
	"locks", "locks/internal/answers", "locks/internal/history", "locks/service",
	"internal/codec", "internal/roster", "internal/storage", "internal/storage/wal", "internal/transport",
	"internal/directory", "httpapi", "client/internal/link",
}

// doors says by which packages a library enters. A library that is not listed
// is forbidden. Test files may use any library of testing.
var doors = map[string][]string{
	"github.com/hanwen/go-fuse/v2":        {"internal/crashfs"},
	"github.com/hashicorp/memberlist":     {"fd"},
	"github.com/hashicorp/serf":           {"fd"},
	"github.com/hashicorp/raft":           {"internal/storage"},
	"github.com/hashicorp/raft-boltdb/v2": {"internal/storage"},
	"go.etcd.io/bbolt":                    {"internal/storage"},
	"github.com/gorilla/mux":              {"httpapi"},
	"github.com/prometheus":               {"internal/obs"},
	"github.com/cespare/xxhash/v2":        {"httpapi/internal/check"},
	"github.com/spf13/cobra":              {"cmd/*"},
	"github.com/spf13/pflag":              {"cmd/*"},
	"github.com/knadh/koanf":              {"cmd/*"},
	"golang.org/x/term":                   {"cmd/*"},
	"golang.org/x/sys":                    {"internal/transport", "internal/storage", "internal/storage/wal", "internal/node", "internal/supervise", "internal/fault", "internal/fault/*", "internal/crashfs", "jepsen/*", "cmd/*"},
	"github.com/anishathalye/porcupine":   {"jepsen/linear", "internal/sim"},
	"pgregory.net/rapid":                  {},
	"go.uber.org/goleak":                  {"internal/leaktest"},
	"github.com/cockroachdb/datadriven":   {},
	"github.com/rogpeppe/go-internal":     {},

	"github.com/HdrHistogram/hdrhistogram-go": {"internal/load"},
}

// testing libraries may be used by every test, and by test packages.
var testing3rd = []string{
	"github.com/anishathalye/porcupine", "pgregory.net/rapid", "go.uber.org/goleak",
	"github.com/cockroachdb/datadriven", "github.com/rogpeppe/go-internal",
	"github.com/prometheus/client_golang/prometheus/testutil",
}

// testDoors says by the tests of which packages a library of testing enters
// that is not for every test.
var testDoors = map[string][]string{
	"github.com/getkin/kin-openapi":       {"httpapi"},
	"github.com/knadh/koanf/parsers/yaml": {"httpapi"},
}

// rule returns the entry of a map like may that is meant for dir.
func rule(m map[string][]string, dir string) ([]string, bool) {
	if r, ok := m[dir]; ok {
		return r, true
	}
	for up := path.Dir(dir); up != "."; up = path.Dir(up) {
		if r, ok := m[up+"/*"]; ok {
			return r, true
		}
	}
	return nil, false
}

// allows reports whether list names dir.
func allows(list []string, dir string) bool {
	return slices.ContainsFunc(list, func(p string) bool {
		below, all := strings.CutSuffix(p, "/*")
		return p == "*" || p == dir || all && strings.HasPrefix(dir, below+"/")
	})
}

// under reports whether the import path name is module or lies in it.
func under(name, module string) bool {
	return name == module || strings.HasPrefix(name, module+"/")
}

func TestArrowsPointDown(t *testing.T) {
	tree := source(t)
	for _, dir := range tree.dirs() {
		list, ok := rule(may, dir)
		if !ok {
			t.Errorf("%s: a package that the map does not know; decide what it may import", dir)
			continue
		}
		for _, f := range tree.packages[dir] {
			if f.test {
				continue // tests are at the top of every tower
			}
			for _, name := range f.imports() {
				to, ours := strings.CutPrefix(name, module+"/")
				if ours && !allows(list, to) && !(to == "internal/mutant" && slices.Contains(mutated, dir)) {
					t.Errorf("%s: %s may not import %s", f.name, dir, to)
				}
			}
		}
	}
}

func TestLibrariesEnterByOneDoor(t *testing.T) {
	tree := source(t)
	for _, dir := range tree.dirs() {
		if dir == "internal/deps" {
			continue // is never built
		}
		for _, f := range tree.packages[dir] {
			for _, name := range f.imports() {
				if first, _, _ := strings.Cut(name, "/"); !strings.Contains(first, ".") || under(name, module) {
					continue
				}
				if f.test && slices.ContainsFunc(testing3rd, func(m string) bool { return under(name, m) }) {
					continue
				}
				if !enters(doors, name, dir) && !(f.test && enters(testDoors, name, dir)) {
					t.Errorf("%s: %s may not enter here", f.name, name)
				}
			}
		}
	}
}

// enters reports whether doors has one at dir for the library that name belongs
// to.
func enters(doors map[string][]string, name, dir string) bool {
	for lib, at := range doors {
		if under(name, lib) && allows(at, dir) {
			return true
		}
	}
	return false
}
