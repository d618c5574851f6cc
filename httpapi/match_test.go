package httpapi

import (
	"hash/fnv"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/prytany/prytany/httpapi/internal/paths"
	"github.com/prytany/prytany/internal/api"
)

// agree checks that what is found at a glance is what the router finds, and reports
// whether the router had to be asked.
func agree(t *testing.T, s *Server, r *http.Request) (asked bool) {
	t.Helper()
	type found struct {
		Path, Param, RawName, RawGroup string
		Group, InGroup                 bool
		Methods                        uintptr
	}
	say := func(find func(*call) *route) (f found) {
		c := &call{r: r}
		if rt := find(c); rt != nil {
			f = found{rt.path, rt.param, c.rawName, c.rawGroup, rt.group, c.inGroup, reflect.ValueOf(rt.methods).Pointer()}
		}
		return f
	}
	if got, want := say(s.match), say(s.ask); got != want {
		t.Fatalf("%s %q (path %q, raw %q): %+v; the router says %+v", r.Method, r.URL.EscapedPath(), r.URL.Path, r.URL.RawPath, got, want)
	}
	_, ok := s.quick.Find(r.URL.EscapedPath())
	return r.Method == http.MethodPost || !ok
}

// asURLs are the URLs that path can come in: parsed as net/http does it, and with
// nothing said about how it was sent.
func asURLs(path string) []*url.URL {
	list := []*url.URL{{Path: path}, {Path: path, RawPath: path}}
	if u, err := url.ParseRequestURI(path); err == nil {
		list = append(list, u)
	}
	return list
}

// Every route with odd names and of odd groups is found as the router
// finds it; and those that are asked for most are found without it.
func TestGlanceAgreesWithRouter(t *testing.T) {
	s := New(config(newFake()))
	names := []string{
		"", "a", "/", "a/b", "a//b", "a/", "/a", "a%2Fb", "%2F", "..", "../..", ".", "a/../b", "a:yield", ":yield", "a:yield/", "a:yield:yield", "a:transfer", "a:replace",
		":move", "a%3Ayield", "a\nb", "\n", "a%0Ab", "%", "%zz", "%00", "\x00", "ü", "%C3%BC", "\xff", "%ff", "a?b", "a%3Fb", "a#b", "{name}", "{name:.*}", " ", "a b", "*",
		strings.Repeat("x", 600), "locks/a", "groups/g/locks/a", "v1/locks/a",
	}
	groups := []string{"", "g", "g%2Fh", "g:move", ":move", "..", "g/", "/", "%", "a\nb", "\n", "ü", "main", "{group}", "groups"}
	few := []string{"a", "", "a/b", "a:yield"}
	hole := regexp.MustCompile(`\{[^}]*\}`)
	seen := map[string]bool{}
	tried, asked := 0, 0
	try := func(path string, methods ...string) {
		if seen[path] {
			return
		}
		seen[path] = true
		for _, u := range asURLs(path) {
			for _, m := range methods {
				tried++
				if agree(t, s, &http.Request{Method: m, URL: u}) {
					asked++
				}
			}
		}
	}
	for path := range s.routes {
		in := func(group, name string) string {
			return hole.ReplaceAllLiteralString(strings.ReplaceAll(path, "{group}", group), name)
		}
		for _, name := range names {
			try(in("g", name), "GET", "POST")
		}
		for _, g := range groups {
			for _, name := range few {
				try(in(g, name), "DELETE", "POST")
			}
		}
		for _, name := range few[:2] {
			full := in("h", name)
			for _, odd := range []string{full, "/" + full, full + "/", strings.TrimPrefix(full, "/"), strings.Replace(full, "/v1", "/v1/", 1), strings.Replace(full, "/v1/", "/v1", 1), "/v1" + full} {
				try(odd, "GET", "PUT", "POST", "CONNECT", "")
			}
		}
	}
	if tried == asked {
		t.Errorf("the router was asked for all of %d", tried)
	}
	for _, hot := range []string{"PUT /v1/config/a/b", "GET /v1/groups/g/config/a", "PUT /v1/locks/a", "DELETE /v1/locks/a", "GET /v1/locks/a", "PUT /v1/sessions/s"} {
		method, path, _ := strings.Cut(hot, " ")
		if agree(t, s, httptest.NewRequest(method, path, nil)) {
			t.Errorf("%s: the router was asked", hot)
		}
	}
}

// FuzzGlance is the same for whatever paths there are.
func FuzzGlance(f *testing.F) {
	for _, s := range seeds {
		f.Add(s[0], s[1])
	}
	s := New(config(newFake()))
	f.Fuzz(func(t *testing.T, method, path string) {
		for _, u := range asURLs(path) {
			agree(t, s, &http.Request{Method: method, URL: u})
		}
	})
}

// A finder takes routes that end in a name alone, and those by its first fitting one.
func TestFinderKnowsNamesAlone(t *testing.T) {
	var f paths.Finder[string]
	for _, p := range []string{"/locks", "/locks/{name}", "/locks/{name:.*}:yield", "/{a}/{b:.*}"} {
		f.Add(p, p)
	}
	for _, p := range []string{"/v1/locks", "/v1/locks/a", "/v1/locks/a:yield", "/v1/a/b"} {
		if got, ok := f.Find(p); ok {
			t.Errorf("%s: %+v", p, got)
		}
	}
}

// The sum of a request is remembered in the log: it may never come out otherwise.
func TestHashIsFNV(t *testing.T) {
	r := httptest.NewRequest("PUT", "/v1/config/a", nil)
	r.Header.Set("Content-Type", "text/plain")
	r.Header[api.HeaderGuard] = []string{"x", "y"}
	c := &call{r: r, route: "/v1/config/{key}", name: "a", body: []byte("value"), query: url.Values{"wait": {"1s"}, "b": {"2"}, "a": {""}}}
	c.group = "main"
	h := fnv.New64a()
	for _, p := range []string{"PUT", "/v1/config/{key}", "main", "a", "a", "", "b", "2", "If-Match", "", "If-None-Match", "",
		"Content-Type", "text/plain", "Prytany-Session", "", "Prytany-Guard", "x,y", "value"} {
		_, _ = h.Write([]byte(strconv.Itoa(len(p)) + ":" + p))
	}
	if got := c.hash(); got != h.Sum64() {
		t.Errorf("%d, want %d", got, h.Sum64())
	}
}

// Names of headers that are used as they are must be as net/http keeps them.
func TestHeaderNamesAreCanonical(t *testing.T) {
	for _, name := range append([]string{
		api.HeaderRevision, api.HeaderSlot, api.HeaderLeader, api.HeaderForward, api.HeaderFence, api.HeaderApplied, api.HeaderAgeMS,
		api.HeaderSession, api.HeaderGuard, api.HeaderRequestID, api.HeaderIdempotencyKey, api.HeaderRelayed,
		"Etag", "Content-Type", "Content-Length", "Cache-Control", "Vary", "Content-Security-Policy", "X-Content-Type-Options", "Location", "Accept", "Expect",
	}, conditions...) {
		if http.CanonicalHeaderKey(name) != name {
			t.Errorf("%s is %s to net/http", name, http.CanonicalHeaderKey(name))
		}
	}
}
