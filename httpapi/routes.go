package httpapi

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	"github.com/prytany/prytany/httpapi/internal/paths"
	"github.com/prytany/prytany/internal/api"
)

// A class says with what a request competes for room.
type class uint8

const (
	classNormal    class = iota
	classKeepalive       // must get through when waiters fill the node
	classHeld            // a keepalive whose answer is held back: there are many, and they do little
	classStream          // the same
	classProbe           // never refused

	numClasses
)

// A body says what a method takes.
type body uint8

const (
	bodyNone  body = iota
	bodyJSON       // an object, or nothing, which is an empty object
	bodyNames      // the same, with many names in it
	bodyTxn        // the same, with many values in it
	bodyValue      // bytes
)

// A method is one way to call a route.
type method struct {
	do      func(*call) error
	query   []string // the parameters it knows
	headers []string // which of conditions it knows
	body    body
	class   class
	change  bool // it changes something: Idempotency-Key means something
	stream  bool // it answers with a stream if Accept says so
	once    bool // Idempotency-Key means nothing: sent again, it may be done again
}

// A route is a path and its methods.
type route struct {
	path    string
	param   string // the variable in path, "" if there is none
	group   bool   // exists in every group, and its service is needed
	post    bool   // path is this only for POST; with other methods its end belongs to a name
	methods map[string]*method
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
		{path: "/sessions", methods: map[string]*method{
			http.MethodPost: {do: (*call).createSession, body: bodyJSON, change: true},
			http.MethodGet:  {do: (*call).listSessions, query: list},
		}},
		{path: "/sessions/{id:.*}", param: "id", methods: map[string]*method{
			http.MethodPut:    {do: (*call).keepAlive, query: []string{"hold", "since"}, body: bodyJSON, class: classKeepalive, change: true},
			http.MethodGet:    {do: (*call).getSession, query: read},
			http.MethodDelete: {do: (*call).endSession, change: true},
		}},
		{path: "/locks", methods: map[string]*method{
			http.MethodGet: {do: (*call).listLocks, query: list},
		}},
		{path: "/locks:acquire", methods: map[string]*method{
			http.MethodPost: {do: (*call).acquireAll, body: bodyNames, change: true},
		}},
		{path: "/locks/{name:.*}:yield", param: "name", post: true, methods: map[string]*method{
			http.MethodPost: {do: (*call).askYield, body: bodyJSON, change: true},
		}},
		{path: "/locks/{name:.*}", param: "name", methods: map[string]*method{
			http.MethodPut:    {do: (*call).acquire, query: []string{"wait"}, body: bodyJSON, change: true},
			http.MethodGet:    {do: (*call).getLock, headers: []string{"If-None-Match"}, query: append([]string{"fence"}, poll...)},
			http.MethodDelete: {do: (*call).release, headers: []string{"If-Match", api.HeaderSession}, query: []string{"force", "reason"}, change: true},
		}},
		{path: "/explain/locks/{name:.*}", param: "name", methods: map[string]*method{
			http.MethodGet: {do: (*call).explain, query: append([]string{"session"}, read...)},
		}},
		{path: "/elections/{name:.*}:transfer", param: "name", post: true, methods: map[string]*method{
			http.MethodPost: {do: (*call).transfer, headers: []string{"If-Match"}, body: bodyJSON, change: true},
		}},
		{path: "/elections/{name:.*}", param: "name", methods: map[string]*method{
			http.MethodPut:    {do: (*call).campaign, query: []string{"wait"}, body: bodyJSON, change: true},
			http.MethodPatch:  {do: (*call).proclaim, headers: []string{"If-Match"}, body: bodyJSON, change: true},
			http.MethodGet:    {do: (*call).getElection, headers: []string{"If-None-Match"}, query: poll, stream: true},
			http.MethodDelete: {do: (*call).resign, headers: []string{"If-Match"}, change: true},
		}},
		{path: "/fences/{resource:.*}", param: "resource", methods: map[string]*method{
			http.MethodPut:    {do: (*call).advanceFence, body: bodyJSON, change: true},
			http.MethodGet:    {do: (*call).getFence, query: read},
			http.MethodDelete: {do: (*call).forgetFence, headers: []string{"If-Match"}, change: true},
		}},
		{path: "/config", methods: map[string]*method{
			http.MethodGet: {do: (*call).listEntries, query: append([]string{"delimiter", "keys_only"}, list...)},
		}},
		{path: "/config/{key:.*}", param: "key", methods: map[string]*method{
			http.MethodPut:    {do: (*call).put, headers: conditions, body: bodyValue, change: true},
			http.MethodGet:    {do: (*call).getEntry, headers: []string{"If-None-Match"}, query: poll},
			http.MethodDelete: {do: (*call).deleteEntry, headers: []string{"If-Match", api.HeaderGuard}, change: true},
		}},
		{path: "/leader:transfer", methods: map[string]*method{
			http.MethodPost: {do: (*call).transferLead, body: bodyJSON, change: true, once: true},
		}},
		{path: "/transactions", methods: map[string]*method{
			http.MethodPost: {do: (*call).transact, body: bodyTxn, change: true},
		}},
		{path: "/watch", methods: map[string]*method{
			http.MethodGet: {do: (*call).watch, query: []string{"events", "from"}, class: classStream},
		}},
		{path: "/watch/{prefix:.*}", param: "prefix", methods: map[string]*method{
			http.MethodGet: {do: (*call).watch, query: []string{"events", "from"}, class: classStream},
		}},
	}
}

// nodeTable lists the routes that belong to the node, not to a group.
func nodeTable(metrics bool) []route {
	get := func(do func(*call) error, c class, query ...string) map[string]*method {
		return map[string]*method{http.MethodGet: {do: do, class: c, query: query}}
	}
	post := func(do func(*call) error) map[string]*method {
		return map[string]*method{http.MethodPost: {do: do, body: bodyJSON, change: true}}
	}
	t := []route{
		{path: "/v1/status", methods: get((*call).status, classNormal)},
		{path: "/v1/members", methods: map[string]*method{
			http.MethodGet:  {do: (*call).members},
			http.MethodPost: {do: (*call).addMember, body: bodyJSON, change: true},
		}},
		{path: "/v1/events", methods: map[string]*method{
			http.MethodGet: {do: (*call).events, query: []string{"from", "limit"}, stream: true},
		}},
		{path: "/v1/rtt", methods: get((*call).rtt, classNormal)},
		{path: "/v1/groups", methods: map[string]*method{
			http.MethodGet:  {do: (*call).listGroups, query: []string{"prefix", "limit", "cursor"}},
			http.MethodPost: {do: (*call).createGroup, body: bodyJSON, change: true},
		}},
		{path: "/v1/groups:rebalance", methods: post((*call).rebalance)},
		{path: "/v1/groups/{group}:move", param: "group", post: true, methods: post((*call).moveMember)},
		{path: "/v1/groups/{group}", param: "group", methods: map[string]*method{
			http.MethodGet:    {do: (*call).getGroup},
			http.MethodPatch:  {do: (*call).resizeGroup, body: bodyJSON, change: true},
			http.MethodDelete: {do: (*call).deleteGroup, change: true},
		}},
		{path: "/v1/members/{id:.*}:replace", param: "id", post: true, methods: map[string]*method{
			http.MethodPost: {do: (*call).replaceMember, query: []string{"force"}, body: bodyJSON, change: true},
		}},
		{path: "/v1/members/{id:.*}", param: "id", methods: map[string]*method{
			http.MethodDelete: {do: (*call).removeMember, query: []string{"force"}, change: true},
		}},
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
// nothing is cleaned away. quick knows some of its routes without regular
// expressions: those that no other can match, but for post.
func newRouter(metrics bool) (_ *mux.Router, _ map[string]*route, quick paths.Finder[*route]) {
	router := mux.NewRouter().SkipClean(true).UseEncodedPath()
	routes := map[string]*route{}
	add := func(path string, rt route) {
		routes[path] = &rt
		r := router.Path(path).Name(path)
		if rt.post {
			r.MatcherFunc(func(r *http.Request, _ *mux.RouteMatch) bool { return r.Method == http.MethodPost })
		}
	}
	for _, rt := range nodeTable(metrics) {
		path := rt.path
		rt.path = strings.ReplaceAll(path, ":.*", "")
		add(path, rt)
	}
	for _, rt := range table() {
		path := rt.path
		rt.group = true
		rt.path = "/v1" + strings.ReplaceAll(path, ":.*", "")
		add("/v1"+path, rt)
		add("/v1/groups/{group}"+path, rt)
		if !rt.post {
			quick.Add(path, routes["/v1"+path])
		}
	}
	return router, routes, quick
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
