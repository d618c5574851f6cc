// Package curl writes HTTP requests as lines for a shell.
package curl

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"
)

// Quote returns s as one word for a POSIX shell.
func Quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:,@%+=", r)
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// Line returns the command that sends r with the given body. Headers in hide
// are left out.
func Line(r *http.Request, body []byte, hide ...string) string {
	words := []string{"curl", "-sS"}
	if streams(r) {
		words = append(words, "-N")
	}
	if r.Method != http.MethodGet {
		words = append(words, "-X", r.Method)
	}
	if strings.Contains(r.URL.EscapedPath(), "/%2E") || strings.Contains(r.URL.EscapedPath(), "//") {
		words = append(words, "--path-as-is")
	}
	words = append(words, Quote(r.URL.String()))
	names := make([]string, 0, len(r.Header))
	for name := range r.Header {
		if !slices.Contains(hide, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		for _, v := range r.Header[name] {
			words = append(words, "-H", Quote(name+": "+v))
		}
	}
	switch before := ""; {
	case len(body) == 0:
		return strings.Join(words, " ")
	case !utf8.Valid(body) || strings.ContainsRune(string(body), 0):
		before = "printf " + Quote(octal(body)) + " | "
		return before + strings.Join(append(words, "--data-binary", "@-"), " ")
	}
	if r.Header.Get("Content-Type") == "" {
		words = append(words, "-H", Quote("Content-Type: application/json"))
	}
	return strings.Join(append(words, "--data-raw", Quote(string(body))), " ")
}

// streams reports whether the answer comes bit by bit.
func streams(r *http.Request) bool {
	accept := r.Header.Get("Accept")
	return strings.Contains(accept, "event-stream") || strings.Contains(accept, "ndjson")
}

// octal writes b for printf(1).
func octal(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == ' ' {
			s.WriteByte(c)
			continue
		}
		fmt.Fprintf(&s, `\%03o`, c)
	}
	return s.String()
}
