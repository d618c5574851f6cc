package curl

import (
	"net/http"
	"os/exec"
	"strings"
	"testing"
)

func TestQuote(t *testing.T) {
	for _, s := range []string{"", "plain", "two words", "it's", `"`, "$HOME", "`x`", "a\nb", "*", "~", "a;b", "\\", "é", "!"} {
		out, err := exec.Command("sh", "-c", "printf %s "+Quote(s)).Output()
		if string(out) != s || err != nil {
			t.Errorf("%q came back as %q, %v", s, out, err)
		}
	}
}

func TestOctal(t *testing.T) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	out, err := exec.Command("sh", "-c", "printf "+Quote(octal(all))).Output()
	if string(out) != string(all) || err != nil {
		t.Errorf("came back as %q, %v", out, err)
	}
}

func TestLine(t *testing.T) {
	tests := []struct {
		method, url string
		header      http.Header
		body, want  string
	}{
		{"GET", "http://h:1/v1/locks/a", nil, "", "curl -sS http://h:1/v1/locks/a"},
		{"GET", "http://h:1/v1/locks/a?wait=1s&x=y", nil, "", "curl -sS 'http://h:1/v1/locks/a?wait=1s&x=y'"},
		{"GET", "http://h:1/v1/config/a//%2E%2E/b", nil, "", "curl -sS --path-as-is http://h:1/v1/config/a//%2E%2E/b"},
		{"DELETE", "http://h:1/v1/locks/a", http.Header{"If-Match": {`"7"`}}, "", `curl -sS -X DELETE http://h:1/v1/locks/a -H 'If-Match: "7"'`},
		{"PUT", "http://h:1/v1/config/a", http.Header{"Content-Type": {"text/plain"}, "Idempotency-Key": {"K"}}, "it's",
			`curl -sS -X PUT http://h:1/v1/config/a -H 'Content-Type: text/plain' --data-raw 'it'\''s'`},
		{"POST", "http://h:1/v1/sessions", nil, "{}", `curl -sS -X POST http://h:1/v1/sessions -H 'Content-Type: application/json' --data-raw '{}'`},
		{"PUT", "http://h:1/v1/config/a", http.Header{"Content-Type": {"x/y"}}, "a\x00", `printf 'a\000' | curl -sS -X PUT http://h:1/v1/config/a -H 'Content-Type: x/y' --data-binary @-`},
		{"GET", "http://h:1/v1/watch/", http.Header{"Accept": {"application/x-ndjson"}}, "", `curl -sS -N http://h:1/v1/watch/ -H 'Accept: application/x-ndjson'`},
	}
	for _, tt := range tests {
		r, err := http.NewRequest(tt.method, tt.url, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = tt.header
		if got := Line(r, []byte(tt.body), "Idempotency-Key"); got != tt.want {
			t.Errorf("Line = %s; want %s", got, tt.want)
		}
	}
}
