package ask

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A node answers with what it is told to, and reports what it was asked.
func TestAsk(t *testing.T) {
	var asked, answer string
	code := http.StatusOK
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = r.Method + " " + r.URL.Path + " " + string(body)
		w.WriteHeader(code)
		_, _ = io.WriteString(w, answer)
	}))
	ctx := context.Background()
	answer = "not yet"
	code = http.StatusServiceUnavailable
	status, reply, err := Do(ctx, node.Client(), node.URL, http.MethodPut, "/v1/config/a", "x")
	if status != code || string(reply) != answer || err != nil || asked != "PUT /v1/config/a x" {
		t.Errorf("%d %q %v, asked %q", status, reply, err, asked)
	}
	for _, tt := range []struct {
		name, answer string
		code         int
		want         string // of the error
	}{
		{"main", `{"id":"n1","groups":[{"group":"other"},{"group":"main","decided":7}]}`, http.StatusOK, ""},
		{"without main", `{"groups":[{"group":"other"}]}`, http.StatusOK, "no group main"},
		{"refused", `{"groups":[{"group":"main"}]}`, http.StatusServiceUnavailable, "503"},
		{"cut off", `{"groups":[`, http.StatusOK, "unexpected end"},
	} {
		answer, code = tt.answer, tt.code
		st, main, err := Status(ctx, node.Client(), node.URL)
		switch {
		case tt.want != "":
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v; want %q", tt.name, err, tt.want)
			}
		case err != nil || st.ID != "n1" || main.Decided != 7:
			t.Errorf("%s: %+v, %+v, %v", tt.name, st, main, err)
		}
	}
	node.Close()
	if _, _, err := Status(ctx, node.Client(), node.URL); err == nil {
		t.Error("a node that does not listen answers")
	}
}
