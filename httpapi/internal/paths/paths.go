// Package paths knows the paths of names at a glance: "/v1/locks/a" and
// "/v1/groups/g/locks/a". A router of regular expressions tries one route after
// the other, which costs more than all else that a small request takes.
//
// It is no router: what it does not know for certain it leaves to one, whose
// answers are the same.
package paths

import "strings"

// A Finder knows routes that take a name. R is what the caller knows them by. The
// zero value knows none.
type Finder[R any] struct{ routes []route[R] }

type route[R any] struct {
	prefix string // "/locks/"
	to     R
}

// Found is a path that is known. Group and Name are encoded as the path has them.
type Found[R any] struct {
	Route   R
	Group   string
	InGroup bool // it begins with "/v1/groups/" and Group
	Name    string
}

// Add adds the route of pattern, which is that of a router below "/v1" and below
// "/v1/groups/{group}". Patterns that do not end in a name of any length, such as
// "{name:.*}", are left out.
func (f *Finder[R]) Add(pattern string, to R) {
	prefix, name, ok := strings.Cut(pattern, "{")
	if ok && strings.HasSuffix(name, ":.*}") && strings.Count(name, "{") == 0 {
		f.routes = append(f.routes, route[R]{prefix, to})
	}
}

// Find finds path, as it was sent. A line end is left to the router, for whose
// patterns it is no character.
func (f *Finder[R]) Find(path string) (found Found[R], ok bool) {
	tail, ok := strings.CutPrefix(path, "/v1")
	if !ok || strings.IndexByte(path, '\n') >= 0 {
		return found, false
	}
	if rest, ok := strings.CutPrefix(tail, "/groups/"); ok {
		end := strings.IndexByte(rest, '/')
		if end < 1 {
			return found, false
		}
		found.Group, found.InGroup, tail = rest[:end], true, rest[end:]
	}
	for i := range f.routes {
		r := &f.routes[i]
		if name, ok := strings.CutPrefix(tail, r.prefix); ok {
			found.Name, found.Route = name, r.to
			return found, true
		}
	}
	return found, false
}
