package lint

import (
	"go/ast"
	"go/token"
	"go/types"
	"maps"
	"slices"
	"testing"
)

// replicated are the fields of package locks that a snapshot under way reads,
// after commands have changed them: whoever writes one first calls the door that
// keeps what was. All others are derived, never change, or are this node's own.
var replicated = map[string]map[string]string{
	"lock": {
		"slots": "keep", "holders": "keep", "waiters": "keep", "past": "keep", "changed": "keep", "yield": "keep",
		"delay": "keep", "delayFor": "keep", "idle": "keep", "name": "keep",
	},
	"yield": {"since": "keep", "within": "keep", "reason": "keep"},
	"grant": {
		"session": "keep", "fence": "keep", "shared": "keep", "elected": "keep", "value": "keep", "note": "keep",
	},
	"waiter": {
		"session": "keep", "request": "keep", "shared": "keep", "campaign": "keep", "value": "keep", "note": "keep",
		"since": "keep",
	},
	"session": {
		"renewals": "keepSession", "id": "keepSession", "name": "keepSession", "ttl": "keepSession",
		"lockDelay": "keepSession", "bound": "keepSession", "created": "keepSession",
	},
}

// fresh are the functions of package locks that write to what nobody else has
// seen yet.
var fresh = []string{"open", "applyAcquire"}

// TestWhatASnapshotReadsIsKept: a function that writes such a field calls its door
// before, so that no path leads around it.
func TestWhatASnapshotReadsIsKept(t *testing.T) {
	tree := source(t)
	_, info := (&checker{tree: tree}).check("locks")
	found := map[string]bool{}
	for _, f := range tree.packages["locks"] {
		if f.test {
			continue
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || reads(fn) {
				continue
			}
			for pos, w := range assigns(fn, info) {
				found[w.typ+"."+w.field] = true
				if !callsBefore(fn, w.door, pos) && !(slices.Contains(fresh, fn.Name.Name) && w.made) {
					t.Errorf("%s: %s writes %s.%s without m.%s before", tree.at(pos), fn.Name.Name, w.typ, w.field, w.door)
				}
			}
		}
	}
	// If the types could not be found out, nothing was.
	for _, want := range []string{"lock.holders", "lock.waiters", "lock.past", "lock.yield", "lock.idle", "grant.shared", "grant.value", "session.renewals"} {
		if !found[want] {
			t.Errorf("no function is known to write %s; found are %v", want, slices.Sorted(maps.Keys(found)))
		}
	}
}

// reads reports whether fn fills records that it reads from a snapshot.
func reads(fn *ast.FuncDecl) bool {
	if fn.Recv == nil {
		return false
	}
	star, ok := fn.Recv.List[0].Type.(*ast.StarExpr)
	return ok && types.ExprString(star.X) == "state"
}

// A written field of package locks.
type written struct {
	typ, field, door string
	made             bool // the function's own, or created
}

// assigns finds the replicated fields that fn assigns to, or to their elements.
func assigns(fn *ast.FuncDecl, info *types.Info) map[token.Pos]written {
	out := map[token.Pos]written{}
	note := func(e ast.Expr) {
		for {
			switch x := e.(type) {
			case *ast.IndexExpr:
				e = x.X
				continue
			case *ast.SliceExpr:
				e = x.X
				continue
			case *ast.ParenExpr:
				e = x.X
				continue
			case *ast.StarExpr:
				e = x.X
				continue
			case *ast.SelectorExpr:
				name := named(info.TypeOf(x.X))
				if door := replicated[name][x.Sel.Name]; door != "" {
					made := x.Sel.Name == "created" || name == "waiter"
					out[x.Pos()] = written{name, x.Sel.Name, door, made}
				}
			}
			return
		}
	}
	ast.Inspect(fn, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for _, l := range n.Lhs {
				note(l)
			}
		case *ast.IncDecStmt:
			note(n.X)
		case *ast.UnaryExpr:
			if n.Op == token.AND { // whoever has the address may write
				note(n.X)
			}
		case *ast.CallExpr:
			if name := types.ExprString(n.Fun); name == "clear" || name == "copy" || name == "slices.Insert" || name == "slices.Delete" || name == "slices.DeleteFunc" {
				note(n.Args[0])
			}
		}
		return true
	})
	return out
}

// named returns the name of t, or of what it points to.
func named(t types.Type) string {
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	if n, ok := t.(*types.Named); ok {
		return n.Obj().Name()
	}
	return ""
}

// callsBefore reports whether fn calls m.door before pos.
func callsBefore(fn *ast.FuncDecl, door string, pos token.Pos) (ok bool) {
	ast.Inspect(fn, func(n ast.Node) bool {
		if c, is := n.(*ast.CallExpr); is && c.Pos() < pos && types.ExprString(c.Fun) == "m."+door {
			ok = true
		}
		return true
	})
	return ok
}
