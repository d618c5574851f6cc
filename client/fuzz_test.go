package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prytany/prytany/internal/api"
)

// FuzzReplies has a client call a cluster that answers everything with garbage: one
// status, one header of the fuzzer's choice, one body. Whatever that is, no call panics
// or takes longer than its time, and an error says what is known: what failed is not
// said to have succeeded.
func FuzzReplies(f *testing.F) {
	for _, s := range []struct {
		status               int
		header, value, reply string
	}{
		{200, api.HeaderRevision, "7", `{"key":"k","value":"v","revision":7}`},
		{201, "", "", `{"id":"s-1","ttl_ms":15000,"expires_in_ms":15000}`},
		{201, "", "", `{"id":"s-1","ttl_ms":-1,"expires_in_ms":9223372036854775807}`},
		{200, "", "", `{"fence":37,"expires_in_ms":0}`},
		{200, "Content-Type", "text/html", "<html>"},
		{204, "", "", ""},
		{304, api.HeaderRevision, "-1", ""},
		{409, "", "", `{"code":"lock_held","status":409,"applied":"no","holders":[{}],"retry_after_ms":-5}`},
		{404, api.HeaderRequestID, "\t", `{"code":"session_unknown","applied":"maybe"}`},
		{429, "Retry-After", "99999999999", `{"code":"overloaded","applied":"no"}`},
		{503, "Retry-After", "-1", "null"},
		{301, "Location", "http://elsewhere/", ""},
		{200, "", "", `{"ttl_ms":1e400}`},
		{200, "", "", `{"entries":[],"next":"more"}`},
		{200, "", "", strings.Repeat("[", 20_000)},
	} {
		for call := range uint8(calls) {
			f.Add(s.status, s.header, s.value, []byte(s.reply), call)
		}
	}
	f.Fuzz(func(t *testing.T, status int, header, value string, reply []byte, call uint8) {
		if status < 200 || status > 599 { // net/http makes errors of others
			return
		}
		synctest.Test(t, func(t *testing.T) {
			c, _ := newFake(t, Config{Timeout: time.Second}, func(*fake, *http.Request) (*http.Response, error) {
				resp := &http.Response{
					Status: strconv.Itoa(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
					Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(reply))), ContentLength: -1,
				}
				if header != "" {
					resp.Header.Set(header, value)
				}
				return resp, nil
			})
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			began := time.Now()
			err := garbled(ctx, c, call)
			if took := time.Since(began); took > 10*time.Second {
				t.Fatalf("it took %v", took)
			}
			if status >= 400 && err == nil {
				t.Fatalf("%d is taken for success", status)
			}
			if err != nil && (err.Error() == "" || errors.Is(err, ErrClosed)) {
				t.Fatalf("it says nothing: %v", err)
			}
			cancel()
			_ = c.Close()
			synctest.Wait()
		})
	})
}

// calls is how many garbled knows.
const calls = 8

// garbled makes one call of c.
func garbled(ctx context.Context, c *Client, call uint8) error {
	var err error
	switch call % calls {
	case 0:
		_, err = c.TryLock(ctx, "l")
	case 1:
		_, err = c.Lock(ctx, "l")
	case 2:
		var s *Session
		if s, err = c.NewSession(ctx, SessionConfig{}); err == nil {
			_ = s.End(ctx) // it is its owner's, and not the client's
		}
	case 3:
		_, err = c.Get(ctx, "k")
	case 4:
		_, err = c.Put(ctx, "k", []byte("v"))
	case 5:
		err = c.Delete(ctx, "k")
	case 6:
		_, err = c.Call(ctx, Call{Path: "status"})
	default:
		_, err = c.List(ctx, "p")
	}
	return err
}

// A page that names itself as the next one does not make a listing endless.
func TestListThatDoesNotEnd(t *testing.T) {
	c, f := newFake(t, Config{}, func(*fake, *http.Request) (*http.Response, error) {
		return replyJSON(200, api.Entries{Entries: []api.Entry{{Key: "a"}}, Next: "more"}), nil
	})
	if _, err := c.List(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "more") {
		t.Errorf("%v after the requests %v; want an error that names the page", err, f.requests())
	}
}
