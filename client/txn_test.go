package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prytany/prytany/internal/api"
)

func TestTxnOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var body []byte
		c, _ := newFake(t, Config{}, func(_ *fake, req *http.Request) (*http.Response, error) {
			if what(req) != "POST transactions" {
				return nil, nil
			}
			body, _ = io.ReadAll(req.Body)
			return replyJSON(200, api.Transacted{
				Revision: 44, Failed: []api.Failed{{Index: 1, Current: 41}},
				Results: []api.Result{
					{Op: "get", Key: "g", Entry: &api.Entry{Key: "g", Value: new("x"), Revision: 40}},
					{Op: "get", Key: "absent"},
					{Op: "delete_prefix", Key: "p/", Deleted: new(3)},
				},
			}), nil
		})
		h := mustLock(t, c, "job")
		res, err := c.Txn(t.Context(), Txn{
			If:   []If{KeyRevision("a", 0), KeyExists("b"), KeyAbsent("c"), KeyValue("d", nil), KeyValue("e", []byte{0xff}), SessionAlive(h.Session()), LockHeld(h)},
			Then: []Op{PutOp("k", []byte("v"), ContentType("text/plain"), Ephemeral(h.Session())), PutOp("l", []byte{0xff})},
			Else: []Op{GetOp("g"), GetOp("absent"), DeleteOp("d"), DeletePrefixOp("")},
		})
		if err != nil {
			t.Fatal(err)
		}
		want := `{"if":[{"key":"a","revision":0},{"key":"b","exists":true},{"key":"c","exists":false},{"key":"d","value":""},` +
			`{"key":"e","value_base64":"/w=="},{"session":"s1-15s"},{"lock":"job","fence":1}],` +
			`"then":[{"put":"k","value":"v","content_type":"text/plain","session":"s1-15s"},{"put":"l","value_base64":"/w==","content_type":"application/octet-stream"}],` +
			`"else":[{"get":"g"},{"get":"absent"},{"delete":"d"},{"delete_prefix":""}]}`
		if string(body) != want {
			t.Errorf("sent %s; want %s", body, want)
		}
		if res.Succeeded || res.Revision != 44 || !slices.Equal(res.Failed, []FailedIf{{1, 41}}) || len(res.Results) != 3 ||
			string(res.Results[0].Entry.Value) != "x" || res.Results[1].Entry != nil || res.Results[2].Deleted != 3 {
			t.Errorf("got %+v", res)
		}
		after(t, c)
	})
}

func TestTxnRefused(t *testing.T) {
	c, f := newFake(t, Config{}, func(*fake, *http.Request) (*http.Response, error) {
		return replyJSON(410, api.Problem{Code: api.CodeSessionExpired, Applied: api.AppliedNo, Operation: new(0)}), nil
	})
	if _, err := c.Txn(t.Context(), Txn{Then: []Op{PutOp("k", nil, IfAbsent())}}); !errors.Is(err, errRequest) || len(f.keys) != 0 {
		t.Errorf("a condition in an operation: %v", err)
	}
	_, err := c.Txn(t.Context(), Txn{Then: []Op{PutOp("k", nil)}})
	var p *ProblemError
	if !errors.Is(err, ErrSessionExpired) || !errors.As(err, &p) || p.Operation != 0 {
		t.Errorf("%v: %+v", err, p)
	}
	if q := problemError(&api.Problem{}, 0); q.Operation != -1 {
		t.Errorf("no operation is %d", q.Operation)
	}
}

// TestChangesAreRepeatedSafely loses the answer to each kind of change: it is
// sent again, with the same body and key.
func TestChangesAreRepeatedSafely(t *testing.T) {
	for name, change := range map[string]func(ctx context.Context, c *Client) error{
		"txn":     func(ctx context.Context, c *Client) error { _, err := c.Txn(ctx, Txn{}); return err },
		"advance": func(ctx context.Context, c *Client) error { _, err := c.AdvanceFence(ctx, "r", 5); return err },
		"forget":  func(ctx context.Context, c *Client) error { return c.ForgetFence(ctx, "r", 5) },
		"break":   func(ctx context.Context, c *Client) error { return c.Break(ctx, "job", "stuck") },
		"yield":   func(ctx context.Context, c *Client) error { return c.AskYield(ctx, "job", time.Second, "deploy") },
		"transfer": func(ctx context.Context, c *Client) error {
			return c.Election("e", ElectionConfig{}).Transfer(ctx, "s")
		},
		"rlock": func(ctx context.Context, c *Client) error { _, err := c.RLock(ctx, "job"); return err },
		"all": func(ctx context.Context, c *Client) error {
			_, err := c.AcquireAll(ctx, []string{"job"}, Options{})
			return err
		},
		"campaign": func(ctx context.Context, c *Client) error {
			_, err := c.Election("e", ElectionConfig{}).Campaign(ctx)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var keys, bodies []string
				c, _ := newFake(t, Config{}, func(f *fake, req *http.Request) (*http.Response, error) {
					if strings.Contains(what(req), " sessions") {
						return nil, nil
					}
					body, _ := io.ReadAll(req.Body)
					keys, bodies = append(keys, req.Header.Get(api.HeaderIdempotencyKey)), append(bodies, string(body))
					switch {
					case len(keys) == 1:
						return nil, errLost
					case len(keys) == 2:
						return silence(req)
					}
					return replyJSON(200, map[string]any{"highest": 5, "fence": 5, "term": 5, "locks": []api.Held{{Name: "job", Fence: 5}}}), nil
				})
				if err := change(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				if len(keys) != 3 || keys[0] == "" || len(slices.Compact(keys)) != 1 || len(slices.Compact(bodies)) != 1 {
					t.Errorf("keys %q, bodies %q", keys, bodies)
				}
				after(t, c)
			})
		})
	}
}

func TestFencesOnTheWire(t *testing.T) {
	var got []string
	c, _ := newFake(t, Config{}, func(_ *fake, req *http.Request) (*http.Response, error) {
		var b bytes.Buffer
		_, _ = b.ReadFrom(req.Body)
		got = append(got, strings.TrimSpace(what(req)+" "+req.URL.RawQuery+" "+b.String()+" "+req.Header.Get("If-Match")))
		if req.URL.Query().Has("fence") {
			return replyJSON(412, api.Problem{Code: api.CodeStaleFence, Applied: api.AppliedNo, CurrentFence: new(uint64(40))}), nil
		}
		return replyJSON(200, api.Highest{Highest: 37}), nil
	})
	var p *ProblemError
	if err := c.CheckFence(t.Context(), "a/b", 37); !errors.Is(err, ErrStaleFence) || !errors.As(err, &p) || p.CurrentFence != 40 {
		t.Errorf("check: %v", err)
	}
	if n, err := c.AdvanceFence(t.Context(), "disk 1", 37); n != 37 || err != nil {
		t.Errorf("advance: %d, %v", n, err)
	}
	if n, err := c.HighestFence(t.Context(), "disk 1"); n != 37 || err != nil {
		t.Errorf("highest: %d, %v", n, err)
	}
	for _, err := range []error{
		c.ForgetFence(t.Context(), "disk 1", 37), c.Break(t.Context(), "a/b", "stuck & dead"), c.Break(t.Context(), "a/b", ""),
		c.AskYield(t.Context(), "a/b", 0, ""), c.AskYield(t.Context(), "a/b", 10*time.Second, "deploy"),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	want := []string{
		"GET locks/a/b fence=37",
		`PUT fences/disk%201  {"fence":37}`,
		"GET fences/disk%201",
		`DELETE fences/disk%201   "37"`,
		"DELETE locks/a/b force=true&reason=stuck+%26+dead",
		"DELETE locks/a/b force=true",
		"POST locks/a/b:yield  {}",
		`POST locks/a/b:yield  {"within":"10s","reason":"deploy"}`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("sent %q; want %q", got, want)
	}
}

func TestBrowse(t *testing.T) {
	c, _ := newFake(t, Config{}, func(_ *fake, req *http.Request) (*http.Response, error) {
		q := req.URL.Query()
		if q.Get("delimiter") != "/" || q.Get("prefix") != "a/" || q.Get("keys_only") != "true" {
			t.Errorf("asked for %v", q)
		}
		page := api.Entries{Revision: 9, Entries: []api.Entry{{Key: "a/x"}}, Prefixes: []string{"a/b/"}, Next: "more"}
		if q.Get("cursor") == "more" {
			page = api.Entries{Revision: 9, Entries: []api.Entry{{Key: "a/y"}}, Prefixes: []string{"a/c/"}}
		}
		return replyJSON(200, page), nil
	})
	l, err := c.Browse(t.Context(), "a/", ListOptions{Delimiter: "/", KeysOnly: true})
	if err != nil || l.Revision != 9 || len(l.Entries) != 2 || !slices.Equal(l.Prefixes, []string{"a/b/", "a/c/"}) {
		got, _ := json.Marshal(l)
		t.Errorf("%s, %v", got, err)
	}
}
