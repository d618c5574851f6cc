package cli

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/prytany/prytany/cmd/prytany/internal/curl"
	"github.com/prytany/prytany/internal/api"
)

// errPrinted ends a command that was to print its request, and did.
var errPrinted = errors.New("the request was printed")

// A printer stands in for the network with --curl.
type printer struct{ a *App }

// RoundTrip prints the first request as a line for a shell, and ends the
// command.
func (p printer) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		_ = r.Body.Close()
	}
	if p.a.Printed.CompareAndSwap(false, true) {
		// A key would give who runs the line twice the first answer twice.
		if _, err := fmt.Fprintln(p.a.Stdout, curl.Line(r, body, api.HeaderIdempotencyKey)); err != nil {
			return nil, err
		}
	}
	p.a.GiveUp()
	return nil, errPrinted
}

// noRequest are the commands that send no request to a node.
var noRequest = []string{"dev", "serve", "config", "completion", "version", "help"}

// Shown is a name as part of a line to copy.
func Shown(name string) string {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return Printable(string(r), "") != string(r) }) {
		return "NAME" // no shell takes it as it is printed
	}
	return curl.Quote(name)
}
