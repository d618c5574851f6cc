package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/knadh/koanf/parsers/yaml"

	"github.com/prytany/prytany/httpapi/internal/problems"
	"github.com/prytany/prytany/internal/api"
)

// A template is a path of the document and what it matches. Its last variable
// takes slashes too: a path of OpenAPI cannot say that, the API does.
type template struct {
	path  string
	names []string
	match *regexp.Regexp
}

type description struct {
	*openapi3.T
	templates []template
}

// described reads the document once for all tests.
var described = sync.OnceValues(func() (*description, error) {
	doc, err := openapi3.NewLoader().LoadFromFile("../docs/openapi.yaml")
	if err != nil {
		return nil, err
	}
	d := &description{T: doc}
	variable := regexp.MustCompile(`\\\{([a-z]+)\\\}`)
	for path := range doc.Paths.Map() {
		t := template{path: path}
		quoted := regexp.QuoteMeta(path)
		for _, m := range variable.FindAllStringSubmatch(quoted, -1) {
			t.names = append(t.names, m[1])
		}
		all := variable.ReplaceAllString(quoted, "([^/]+)")
		if i := strings.LastIndex(all, "([^/]+)"); i >= 0 && !strings.Contains(all[i+len("([^/]+)"):], "/") {
			all = all[:i] + "(.*)" + all[i+len("([^/]+)"):]
		}
		t.match = regexp.MustCompile("(?s)^" + all + "$")
		d.templates = append(d.templates, t)
	}
	// What ends with a verb goes before the name that it could be a part of.
	slices.SortFunc(d.templates, func(a, b template) int { return strings.Compare(b.path, a.path) })
	return d, nil
})

func document(t testing.TB) *description {
	t.Helper()
	d, err := described()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// find returns the path of the document that r is for, nil if there is none. A
// verb at the end of a path is one only with a method that it takes.
func (d *description) find(r *http.Request) (item *openapi3.PathItem, path string, params map[string]string) {
	for _, t := range d.templates {
		m := t.match.FindStringSubmatch(r.URL.EscapedPath())
		if m == nil || strings.Contains(t.path, "}:") && d.Paths.Value(t.path).GetOperation(r.Method) == nil {
			continue
		}
		params = map[string]string{}
		for i, name := range t.names {
			params[name], _ = url.PathUnescape(m[i+1])
		}
		path = t.path
		if params["prefix"] == "" { // the validator takes no empty one; it is as none
			path = strings.TrimSuffix(path, "/{prefix}")
		}
		return d.Paths.Value(path), path, params
	}
	return nil, "", nil
}

// conforms checks one exchange against the document: that the reply is one of
// those it describes, with no header that it does not, and that a request that
// was not refused for being wrong is one that it allows.
func conforms(t testing.TB, r *http.Request, body []byte, status int, header http.Header, reply []byte) {
	t.Helper()
	if r.URL.Path == "/metrics" && status == http.StatusNotFound {
		return // a node may be without
	}
	d := document(t)
	what := fmt.Sprintf("%s %.200s: %d", r.Method, r.URL, status)
	item, path, params := d.find(r)
	var op *openapi3.Operation
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	responses := openapi3.NewResponses()
	switch {
	case item == nil:
		item, op = &openapi3.PathItem{}, &openapi3.Operation{Responses: responses}
		responses.Set("404", d.Components.Responses["NotFound"])
		responses.Set("403", d.Components.Responses["Forbidden"])
	case item.GetOperation(method) == nil:
		op = &openapi3.Operation{Responses: responses}
		responses.Set("405", d.Components.Responses["MethodNotAllowed"])
		responses.Set("403", d.Components.Responses["Forbidden"])
	default:
		op = item.GetOperation(method)
	}
	in := &openapi3filter.RequestValidationInput{
		Request: r.Clone(t.Context()), PathParams: params,
		Route:   &routers.Route{Spec: d.T, Path: path, PathItem: item, Method: method, Operation: op},
		Options: &openapi3filter.Options{IncludeResponseStatus: true, RejectWhenRequestBodyNotSpecified: true, SkipSettingDefaults: true},
	}
	in.Request.Body, in.Request.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	if !faulted(status, reply) {
		if err := allowed(in); err != nil {
			t.Errorf("%s: the server takes the request, the document does not: %v", what, err)
		}
	}
	// The validator lets replies to HEAD and some statuses pass unseen, so
	// headers are looked at here as well.
	if err := declared(op, status, header); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: status, Header: header, Options: in.Options}
	if err := d.streamed(op, header.Get("Content-Type"), reply); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if err := openapi3filter.ValidateResponse(t.Context(), out.SetBodyBytes(reply)); err != nil {
		t.Errorf("%s: %v\n%v\n%.1000s", what, err, header, reply)
	}
}

// faulted reports whether a reply says that the request itself was wrong.
func faulted(status int, reply []byte) bool {
	var p api.Problem
	if status < 400 || json.Unmarshal(reply, &p) != nil {
		return status >= 400 && status < 500
	}
	switch p.Code {
	case api.CodeInvalid, api.CodeTooLarge, api.CodeNotFound, api.CodeMethodNotAllowed, api.CodeFenceRequired, api.CodeEncoding,
		api.CodeForbiddenHost, api.CodeForbiddenOrigin, api.CodeTimeout, api.CodeGroupUnknown,
		api.CodeOverloaded, api.CodeInternal, api.CodeNotLeader, api.CodeNotMember: // these may come before the request was looked at
		return true
	}
	return false
}

// streamed checks each event of a stream.
func (d *description) streamed(op *openapi3.Operation, contentType string, reply []byte) error {
	item := "Event"
	if ok := op.Responses.Status(http.StatusOK); ok != nil && ok.Value.Content[contentType] != nil {
		ref, _ := ok.Value.Content[contentType].Extensions["x-item-schema"].(map[string]any)
		if name, is := ref["$ref"].(string); is {
			item = strings.TrimPrefix(name, "#/components/schemas/")
		}
	}
	var lines []string
	switch contentType {
	case api.TypeNDJSON:
		lines = strings.Split(strings.TrimSuffix(string(reply), "\n"), "\n")
	case api.TypeSSE:
		for _, m := range parseSSE(string(reply)) {
			lines = append(lines, m.data)
		}
	}
	for _, line := range lines {
		if line == "" {
			continue
		}
		var v any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			return fmt.Errorf("%w in %q", err, line)
		}
		if err := d.Components.Schemas[item].Value.VisitJSON(v); err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
	}
	return nil
}

// Streams are text to the validator.
func init() {
	text := func(body io.Reader, _ http.Header, _ *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (any, error) {
		b, err := io.ReadAll(body)
		return string(b), err
	}
	openapi3filter.RegisterBodyDecoder(api.TypeSSE, text)
	openapi3filter.RegisterBodyDecoder(api.TypeNDJSON, text)
}

// allowed checks a request, also for what OpenAPI ignores: parameters of the
// query that are not declared, and headers of ours and conditions.
func allowed(in *openapi3filter.RequestValidationInput) error {
	op, r := in.Route.Operation, in.Request
	for name := range r.URL.Query() {
		if op.Parameters.GetByInAndName(openapi3.ParameterInQuery, name) == nil {
			return fmt.Errorf("query parameter %q is not declared", name)
		}
	}
	for name := range r.Header {
		ours := strings.HasPrefix(name, "Prytany-") || strings.HasPrefix(name, "If-") || name == api.HeaderIdempotencyKey
		if !ours {
			continue
		}
		r.Header.Set(name, strings.Join(r.Header.Values(name), ", ")) // the validator looks at the first line alone
		if op.Parameters.GetByInAndName(openapi3.ParameterInHeader, name) == nil {
			return fmt.Errorf("header %q is not declared", name)
		}
	}
	if b := op.RequestBody; b != nil && b.Value.Content["application/json"] != nil {
		r.Header.Set("Content-Type", api.TypeJSON) // taken as that, whatever it says
		if raw, _ := io.ReadAll(r.Body); len(bytes.TrimSpace(raw)) == 0 {
			r.Body, r.ContentLength = http.NoBody, 0
		} else {
			r.Body = io.NopCloser(bytes.NewReader(raw))
		}
	}
	return openapi3filter.ValidateRequest(r.Context(), in)
}

// declared checks that the document knows all headers of a reply, and that none
// is missing.
func declared(op *openapi3.Operation, status int, header http.Header) error {
	ref := op.Responses.Status(status)
	if ref == nil {
		return fmt.Errorf("no reply of this status is described")
	}
	known := map[string]bool{"Content-Type": true, "Content-Length": true, "Date": true, "Connection": true}
	for name, h := range ref.Value.Headers {
		known[http.CanonicalHeaderKey(name)] = true
		if h.Value.Required && header.Get(name) == "" {
			return fmt.Errorf("header %s is missing", name)
		}
	}
	for name := range header {
		if !known[name] {
			return fmt.Errorf("header %s: %q is not described", name, header.Get(name))
		}
	}
	return nil
}

// answerTo has s answer r and holds both to the document.
func answerTo(t testing.TB, s http.Handler, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	rec := httptest.NewRecorder()
	ask(t, s, rec, rec, r)
	return rec
}

// ask is answerTo for replies that are written to w and recorded by rec.
func ask(t testing.TB, s http.Handler, w http.ResponseWriter, rec *httptest.ResponseRecorder, r *http.Request) {
	t.Helper()
	var body bytes.Buffer
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.TeeReader(r.Body, &body), r.Body}
	}
	s.ServeHTTP(w, r)
	conforms(t, r, body.Bytes(), rec.Code, rec.Result().Header, rec.Body.Bytes())
}

// The document is valid, and describes what exists: no path or method more or
// less.
func TestDocumentHasTheRoutes(t *testing.T) {
	d := document(t)
	if err := d.Validate(t.Context()); err != nil {
		t.Error(err)
	}
	cfg := config(newFake())
	cfg.Metrics = http.NotFoundHandler()
	var served, described []string
	for _, r := range New(cfg).Routes() {
		for _, m := range r.Methods {
			served = append(served, m+" "+r.Path)
		}
	}
	for path, item := range d.Paths.Map() {
		for m := range item.Operations() {
			described = append(described, m+" "+path)
		}
	}
	slices.Sort(served)
	slices.Sort(described)
	for _, s := range served {
		if !slices.Contains(described, s) {
			t.Errorf("the server has %s, the document has not", s)
		}
	}
	for _, s := range described {
		if !slices.Contains(served, s) {
			t.Errorf("the document has %s, the server has not", s)
		}
	}
}

// Each operation takes the query parameters that the router knows for it.
func TestDocumentHasTheParameters(t *testing.T) {
	d := document(t)
	cfg := config(newFake())
	cfg.Metrics = http.NotFoundHandler()
	for name, rt := range New(cfg).routes {
		path := strings.ReplaceAll(name, ":.*", "")
		for method, m := range rt.methods {
			op := d.Paths.Value(path).GetOperation(method)
			var got []string
			for _, p := range op.Parameters {
				if p.Value.In == openapi3.ParameterInQuery {
					got = append(got, p.Value.Name)
				}
			}
			want := slices.Clone(m.query)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s %s: the document has %v, the server %v", method, path, got, want)
			}
			var headers []string
			for _, p := range op.Parameters {
				if p.Value.In == openapi3.ParameterInHeader && slices.Contains(conditions, p.Value.Name) {
					headers = append(headers, p.Value.Name)
				}
			}
			known := slices.Clone(m.headers)
			slices.Sort(headers)
			slices.Sort(known)
			if !slices.Equal(headers, known) {
				t.Errorf("%s %s: the document has %v, the server %v", method, path, headers, known)
			}
			if got, want := op.RequestBody != nil, m.body != bodyNone; got != want {
				t.Errorf("%s %s: a body: %v in the document, %v in the server", method, path, got, want)
			}
			if got, want := op.Responses.Value("504") != nil, m.change; got != want {
				t.Errorf("%s %s: an unknown outcome: %v in the document, %v in the server", method, path, got, want)
			}
		}
	}
}

// What a node serves is the document. UPDATE=1 writes it anew.
func TestDocumentIsServed(t *testing.T) {
	text, err := os.ReadFile("../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	tree, err := yaml.Parser().Unmarshal(text)
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	e := json.NewEncoder(&want)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(tree); err != nil {
		t.Fatal(err)
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile("openapi.json", want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	rec := send(t, New(config(newFake())), "GET", "/v1/openapi.json", "")
	if rec.Code != 200 || rec.Header().Get("Content-Type") != api.TypeJSON || !bytes.Equal(rec.Body.Bytes(), want.Bytes()) {
		t.Errorf("%d %s: not docs/openapi.yaml; UPDATE=1 go test writes openapi.json anew", rec.Code, rec.Header().Get("Content-Type"))
	}
	served, err := openapi3.NewLoader().LoadFromData(rec.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := served.Validate(t.Context()); err != nil {
		t.Error(err)
	}
}

// The codes of the document are those of package api, each under the status
// that it comes with.
func TestDocumentHasTheCodes(t *testing.T) {
	d := document(t)
	var got []string
	for _, v := range d.Components.Schemas["Code"].Value.Enum {
		got = append(got, v.(string))
	}
	want := codesOfPackage(t)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the document has the codes %v, package api has %v", got, want)
	}
	byStatus := map[string]string{}
	for _, a := range append(problems.Service[:], problems.Own...) {
		byStatus[string(a.Code)] = strconv.Itoa(a.Status)
	}
	for name, ref := range d.Components.Responses {
		for _, part := range ref.Value.Content[api.TypeProblem].Schema.Value.AllOf {
			code := part.Value.Properties["code"]
			if part.Ref != "" || code == nil {
				continue
			}
			status := fmt.Sprint(part.Value.Properties["status"].Value.Const)
			for _, c := range code.Value.Enum {
				if byStatus[c.(string)] != status {
					t.Errorf("%s: the document has %v with %s, the server with %q", name, c, status, byStatus[c.(string)])
				}
				delete(byStatus, c.(string))
			}
		}
	}
	for code, status := range byStatus {
		t.Errorf("no reply of the document has %s, which comes with %s", code, status)
	}
}

// codesOfPackage reads the constants of type Code from package api.
func codesOfPackage(t *testing.T) (codes []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "../internal/api/problem.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if typ, is := specType(spec, ok); is && typ == "Code" {
			for _, v := range spec.Values {
				s, err := strconv.Unquote(v.(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				codes = append(codes, s)
			}
		}
		return true
	})
	return codes
}

func specType(spec *ast.ValueSpec, ok bool) (string, bool) {
	if !ok {
		return "", false
	}
	id, ok := spec.Type.(*ast.Ident)
	if !ok {
		return "", false
	}
	return id.Name, true
}

// The schemas of the document and the types of package api have the same
// members, of the same kinds. Of replies, those that are always there are
// required.
func TestDocumentHasTheTypes(t *testing.T) {
	d := document(t)
	seen := map[string]bool{"Number": true, "Milliseconds": true, "Duration": true, "Name": true, "GroupName": true, "Code": true, "Empty": true, "Role": true, "Gossip": true}
	for _, v := range []any{
		api.CreateSession{}, api.SessionCreated{}, api.KeptAlive{}, api.SessionInfo{}, api.Session{}, api.Held{}, api.Sessions{},
		api.Acquire{}, api.Grant{}, api.AcquireAll{}, api.Grants{}, api.AskYield{}, api.Yield{},
		api.Lock{}, api.Holder{}, api.Waiter{}, api.Past{}, api.Locks{}, api.Explanation{}, api.Reason{},
		api.Campaign{}, api.Proclaim{}, api.Transfer{}, api.Term{}, api.Election{}, api.Leader{}, api.Candidate{},
		api.Fence{}, api.Highest{}, api.Entry{}, api.Put{}, api.Entries{},
		api.Transaction{}, api.If{}, api.Op{}, api.Transacted{}, api.Failed{}, api.Result{}, api.Event{}, api.Problem{}, api.HeldBy{},
		api.NodeEvent{}, api.NodeEvents{}, api.RTT{}, api.RoundTrip{}, api.HandOver{}, api.HandedOver{},
		api.Status{}, api.GroupStatus{}, api.Link{}, api.Disk{}, api.Health{}, api.Member{}, api.Members{}, api.Check{}, api.Ready{},
		api.Group{}, api.GroupMember{}, api.Move{}, api.Groups{}, api.CreateGroup{}, api.ResizeGroup{}, api.MoveMember{}, api.Rebalance{}, api.RebalanceStep{},
		api.Rebalanced{}, api.AddMember{}, api.ReplaceMember{}, api.MemberChange{}, api.GroupCounts{},
	} {
		typ := reflect.TypeOf(v)
		seen[typ.Name()] = true
		ref := d.Components.Schemas[typ.Name()]
		if ref == nil {
			t.Errorf("the document lacks %s", typ.Name())
			continue
		}
		members := map[string]bool{}
		for _, f := range reflect.VisibleFields(typ) {
			if f.Anonymous {
				continue
			}
			name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
			members[name] = true
			p := ref.Value.Properties[name]
			if p == nil {
				t.Errorf("%s: the document lacks %s", typ.Name(), name)
				continue
			}
			if got, want := slices.Contains(ref.Value.Required, name), option == ""; got != want {
				t.Errorf("%s.%s: required is %v in the document, %v in package api", typ.Name(), name, got, want)
			}
			if got, want := kindOf(p), kindOfGo(f.Type); got != want {
				t.Errorf("%s.%s: is %s in the document, %s in package api", typ.Name(), name, got, want)
			}
		}
		for name := range ref.Value.Properties {
			if !members[name] {
				t.Errorf("%s: package api has no %s", typ.Name(), name)
			}
		}
	}
	for name := range d.Components.Schemas {
		if !seen[name] {
			t.Errorf("package api has no %s", name)
		}
	}
}

// kindOf says the type of a schema, the first of alternatives counting.
func kindOf(p *openapi3.SchemaRef) string {
	s := p.Value
	switch {
	case len(s.AnyOf) > 0:
		return kindOf(s.AnyOf[0])
	case s.Type.Is("array"):
		return "array of " + kindOf(s.Items)
	case s.Type == nil:
		return "anything"
	}
	return strings.Join(*s.Type, ",")
}

// kindOfGo is kindOf for what encoding/json makes of typ.
func kindOfGo(typ reflect.Type) string {
	switch typ.Kind() {
	case reflect.Pointer:
		return kindOfGo(typ.Elem())
	case reflect.Slice:
		return "array of " + kindOfGo(typ.Elem())
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Float64:
		return "number"
	case reflect.Struct, reflect.Map:
		return "object"
	}
	return "integer"
}

// The bounds of the document are those that the server has by default.
func TestDocumentHasTheLimits(t *testing.T) {
	d, lim := document(t), New(Config{}).lim
	schema := func(name string) *openapi3.Schema { return d.Components.Schemas[name].Value }
	param := func(name string) *openapi3.Schema { return d.Components.Parameters[name].Value.Schema.Value }
	for what, pair := range map[string][2]uint64{
		"names":         {*schema("Name").MaxLength, uint64(lim.MaxName)},
		"prefixes":      {*param("prefix").MaxLength, uint64(lim.MaxName)},
		"notes":         {*schema("Acquire").Properties["note"].Value.MaxLength, uint64(lim.MaxNote)},
		"session names": {*schema("CreateSession").Properties["name"].Value.MaxLength, uint64(lim.MaxNote)},
		"candidates":    {*schema("Campaign").Properties["value"].Value.MaxLength, uint64(lim.MaxPublished)},
		"slots":         {uint64(*schema("Acquire").Properties["slots"].Value.Max), uint64(lim.MaxHolders)},
		"locks at once": {*schema("AcquireAll").Properties["names"].Value.MaxItems, uint64(lim.MaxNames)},
		"pages":         {uint64(*param("limit").Max), uint64(lim.MaxList)},
		"zones":         {*schema("CreateGroup").Properties["zones"].Value.MaxItems, api.MaxZones},
		"voters":        {uint64(*schema("CreateGroup").Properties["replicas"].Value.Max), api.MaxReplicas},
		"voters wanted": {uint64(*schema("ResizeGroup").Properties["replicas"].Value.Max), api.MaxReplicas},
		"steps":         {uint64(*schema("Rebalance").Properties["limit"].Value.Max), api.MaxSteps},
		"numbers":       {uint64(*schema("Number").Max), api.MaxNumber},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: at most %d in the document, %d in the server", what, pair[0], pair[1])
		}
	}
}

// The checks of the other tests can fail.
func TestDocumentIsEnforced(t *testing.T) {
	good := func() (*http.Request, http.Header) {
		h := http.Header{"Content-Type": {api.TypeJSON}, "Cache-Control": {"no-store"}, "X-Content-Type-Options": {"nosniff"}}
		h.Set(api.HeaderRequestID, "R")
		return httptest.NewRequest("PUT", "/v1/sessions/a%2Fb/c", nil), h
	}
	const body = `{"ttl_ms":1,"expires_in_ms":1}`
	for name, tc := range map[string]func(r *http.Request, h http.Header) (status int, reply string){
		"":                 func(*http.Request, http.Header) (int, string) { return 200, body },
		"status":           func(*http.Request, http.Header) (int, string) { return 202, body },
		"member missing":   func(*http.Request, http.Header) (int, string) { return 200, `{"ttl_ms":1}` },
		"member of a kind": func(*http.Request, http.Header) (int, string) { return 200, `{"ttl_ms":"1","expires_in_ms":1}` },
		"header missing": func(_ *http.Request, h http.Header) (int, string) {
			h.Del(api.HeaderRequestID)
			return 200, body
		},
		"header unknown": func(_ *http.Request, h http.Header) (int, string) { h.Set("ETag", `"1"`); return 200, body },
		"header wrong":   func(_ *http.Request, h http.Header) (int, string) { h.Set(api.HeaderSlot, "x"); return 200, body },
		"type": func(_ *http.Request, h http.Header) (int, string) {
			h.Set("Content-Type", "text/html")
			return 200, body
		},
		"query": func(r *http.Request, _ http.Header) (int, string) { r.URL.RawQuery = "a=b"; return 200, body },
		"condition": func(r *http.Request, _ http.Header) (int, string) {
			r.Header.Set("If-Match", `"1"`)
			return 200, body
		},
		"forward": func(r *http.Request, _ http.Header) (int, string) {
			r.Header.Set(api.HeaderForward, "yes")
			return 200, body
		},
		"code": func(_ *http.Request, h http.Header) (int, string) {
			h.Set("Content-Type", api.TypeProblem)
			return 410, `{"type":"t:t","title":"t","status":410,"code":"invalid","applied":"no","retryable":false,"request_id":"R"}`
		},
	} {
		r, h := good()
		status, reply := tc(r, h)
		note := &notes{TB: t}
		conforms(note, r, nil, status, h, []byte(reply))
		if wrong := name != ""; wrong != (note.errors > 0) {
			t.Errorf("%q: %d errors", name, note.errors)
		}
	}
}

// notes counts errors instead of failing.
type notes struct {
	testing.TB
	errors int
}

func (n *notes) Errorf(string, ...any) { n.errors++ }
