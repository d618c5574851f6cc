package httpapi

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/mux"
)

// A class says with what a request competes for room.
type class uint8

const (
	classNormal    class = iota
	classKeepalive       // must get through when waiters fill the node
	classProbe           // never refused
)

// A body says what a method takes.
type body uint8

const (
	bodyNone  body = iota
	bodyJSON       // an object, or nothing, which is an empty object
	bodyValue      // bytes
)

// A method is one way to call a route.
type method struct {
	do     func(*call) error
	query  []string // the parameters it knows
	body   body
	class  class
	change bool // it changes something: Idempotency-Key means something
}

// A route is a path and its methods.
type route struct {
	path    string
	param   string // the variable in path, "" if there is none
	group   bool   // exists in every group, and its service is needed
	methods map[string]method
}

// allow is the value of the Allow header.
func (r *route) allow() string {
	var names []string
	for name := range r.methods {
		names = append(names, name)
		if name == http.MethodGet {
			names = append(names, http.MethodHead)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// table lists every route below "/v1" that exists in every group.
func table() []route {
	read := []string{"consistency", "min_revision"}
	list := append([]string{"prefix", "limit", "cursor"}, read...)
	poll := append([]string{"wait"}, read...)
	return []route{
		{path: "/sessions", methods: map[string]method{
			http.MethodPost: {do: (*call).createSession, body: bodyJSON, change: true},
			http.MethodGet:  {do: (*call).listSessions, query: list},
		}},
		{path: "/sessions/{id:.*}", param: "id", methods: map[string]method{
			http.MethodPut:    {do: (*call).keepAlive, body: bodyJSON, class: classKeepalive, change: true},
			http.MethodGet:    {do: (*call).getSession, query: read},
			http.MethodDelete: {do: (*call).endSession, change: true},
		}},
		{path: "/locks", methods: map[string]method{
			http.MethodGet: {do: (*call).listLocks, query: list},
		}},
		{path: "/locks/{name:.*}", param: "name", methods: map[string]method{
			http.MethodPut:    {do: (*call).acquire, query: []string{"wait"}, body: bodyJSON, change: true},
			http.MethodGet:    {do: (*call).getLock, query: append([]string{"fence"}, poll...)},
			http.MethodDelete: {do: (*call).release, query: []string{"force", "reason"}, change: true},
		}},
		{path: "/config", methods: map[string]method{
			http.MethodGet: {do: (*call).listEntries, query: append([]string{"keys_only"}, list...)},
		}},
		{path: "/config/{key:.*}", param: "key", methods: map[string]method{
			http.MethodPut:    {do: (*call).put, body: bodyValue, change: true},
			http.MethodGet:    {do: (*call).getEntry, query: poll},
			http.MethodDelete: {do: (*call).deleteEntry, change: true},
		}},
	}
}

// nodeTable lists the routes that belong to the node, not to a group.
func nodeTable(metrics bool) []route {
	get := func(do func(*call) error, c class, query ...string) map[string]method {
		return map[string]method{http.MethodGet: {do: do, class: c, query: query}}
	}
	t := []route{
		{path: "/v1/status", methods: get((*call).status, classNormal)},
		{path: "/v1/members", methods: get((*call).members, classNormal)},
		{path: "/v1/openapi.json", methods: get((*call).document, classNormal)},
		{path: "/livez", methods: get((*call).live, classProbe, "verbose")},
		{path: "/readyz", methods: get((*call).ready, classProbe, "verbose")},
	}
	if metrics {
		t = append(t, route{path: "/metrics", methods: get((*call).metrics, classProbe)})
	}
	return t
}

// newRouter returns the router and the routes by the names it knows them by.
// It matches the path as it was sent: an encoded slash is part of a name, and
// nothing is cleaned away.
func newRouter(metrics bool) (*mux.Router, map[string]*route) {
	router := mux.NewRouter().SkipClean(true).UseEncodedPath()
	routes := map[string]*route{}
	add := func(path string, rt route) {
		routes[path] = &rt
		router.Path(path).Name(path)
	}
	for _, rt := range nodeTable(metrics) {
		add(rt.path, rt)
	}
	for _, rt := range table() {
		path := rt.path
		rt.group = true
		rt.path = "/v1" + strings.ReplaceAll(path, ":.*", "")
		add("/v1"+path, rt)
		add("/v1/groups/{group}"+path, rt)
	}
	return router, routes
}

// A Route is one path of the API, for documentation and its tests.
type Route struct {
	Path    string // "/v1/locks/{name}"
	Methods []string
}

// Routes returns all paths, those of groups under "/v1/groups/{group}" too,
// in order.
func (s *Server) Routes() []Route {
	var out []Route
	for path, rt := range s.routes {
		r := Route{Path: strings.ReplaceAll(path, ":.*", "")}
		for name := range rt.methods {
			r.Methods = append(r.Methods, name)
		}
		slices.Sort(r.Methods)
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Route) int { return strings.Compare(a.Path, b.Path) })
	return out
}
