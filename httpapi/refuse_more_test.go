package httpapi

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
)

// refusals are bad requests of routes that take more than a name.
func refusals() []refusal {
	long := strings.Repeat("x", 513)
	many := func(n int, format string) string {
		var list []string
		for i := range n {
			list = append(list, strings.ReplaceAll(format, "#", fmt.Sprint(i)))
		}
		return strings.Join(list, ",")
	}
	return []refusal{
		// several locks
		{"POST", "/v1/locks:acquire", "", nil, 400, api.CodeInvalid, "session"},
		{"POST", "/v1/locks:acquire", `{"names":["a"]}`, nil, 400, api.CodeInvalid, "session"},
		{"POST", "/v1/locks:acquire", `{"session":"","names":["a"]}`, nil, 400, api.CodeInvalid, "session"},
		{"POST", "/v1/locks:acquire", `{"session":"s"}`, nil, 400, api.CodeInvalid, "names"},
		{"POST", "/v1/locks:acquire", `{"session":"s","names":[]}`, nil, 400, api.CodeInvalid, "names"},
		{"POST", "/v1/locks:acquire", `{"session":"s","names":null}`, nil, 400, api.CodeInvalid, "names"},
		{"POST", "/v1/locks:acquire", `{"session":"s","names":"a"}`, nil, 400, api.CodeInvalid, "names"},
		{"POST", "/v1/locks:acquire", `{"session":"s","names":["a",""]}`, nil, 400, api.CodeInvalid, "names[1]"},
		{"POST", "/v1/locks:acquire", `{"session":"s","names":["a",null]}`, nil, 400, api.CodeInvalid, "names[1]"},
		{"POST", "/v1/locks:acquire", `{"session":"s","names":["a",1]}`, nil, 400, api.CodeInvalid, "names[1]"},
		{"POST", "/v1/locks:acquire", `{"session":"s","names":["\udead"]}`, nil, 400, api.CodeInvalid, "names[0]"},
		{"POST", "/v1/locks:acquire", `{"session":"s","names":["a","b","a"]}`, nil, 400, api.CodeInvalid, "names[2]"},
		{"POST", "/v1/locks:acquire", `{"session":"s","names":["` + long + `"]}`, nil, 400, api.CodeInvalid, "names[0]"},
		{"POST", "/v1/locks:acquire", `{"session":"s","names":[` + many(129, `"#"`) + `]}`, nil, 400, api.CodeInvalid, "names"},
		{"POST", "/v1/locks:acquire", `{"session":"s","names":["a"],"wait":"1s"}`, nil, 400, api.CodeInvalid, "wait"},
		{"POST", "/v1/locks:acquire?wait=1s", `{"session":"s","names":["a"]}`, nil, 400, api.CodeInvalid, "wait"},
		{"POST", "/v1/locks:acquire", `{"session":"s","names":["` + strings.Repeat(" ", 500_000) + `"]}`, nil, 413, api.CodeTooLarge, "body"},
		{"GET", "/v1/locks:acquire", "", nil, 405, api.CodeMethodNotAllowed, "method"},
		// yield
		{"POST", "/v1/locks/:yield", "", nil, 400, api.CodeInvalid, "name"},
		{"POST", "/v1/locks/a%3Ayield", "", nil, 405, api.CodeMethodNotAllowed, "method"},
		{"POST", "/v1/locks/a:yields", "", nil, 405, api.CodeMethodNotAllowed, "method"},
		{"POST", "/v1/locks/a:transfer", "", nil, 405, api.CodeMethodNotAllowed, "method"},
		{"POST", "/v1/locks/a:yield", `{"within":"0s"}`, nil, 400, api.CodeInvalid, "within"},
		{"POST", "/v1/locks/a:yield", `{"within":"61m"}`, nil, 400, api.CodeInvalid, "within"},
		{"POST", "/v1/locks/a:yield", `{"within":10}`, nil, 400, api.CodeInvalid, "within"},
		{"POST", "/v1/locks/a:yield", `{"reason":"` + strings.Repeat("r", 1025) + `"}`, nil, 400, api.CodeInvalid, "reason"},
		{"POST", "/v1/locks/a:yield?within=1s", "", nil, 400, api.CodeInvalid, "within"},
		{"POST", "/v1/locks/a:yield", "", []string{"If-Match: 3"}, 400, api.CodeInvalid, "If-Match"},
		// release
		{"DELETE", "/v1/locks/a", "", []string{"If-Match: 3", "Prytany-Session:"}, 400, api.CodeInvalid, api.HeaderSession},
		{"DELETE", "/v1/locks/a", "", []string{"If-Match: 3", "Prytany-Guard: a;fence=1"}, 400, api.CodeInvalid, api.HeaderGuard},
		{"DELETE", "/v1/locks/a?force=true", "", []string{"Prytany-Session: s"}, 400, api.CodeInvalid, api.HeaderSession},
		{"PUT", "/v1/locks/a", "", []string{"Prytany-Session: s"}, 400, api.CodeInvalid, api.HeaderSession},
		{"PUT", "/v1/locks/a", "", []string{"Prytany-Guard: a;fence=1"}, 400, api.CodeInvalid, api.HeaderGuard},
		{"PUT", "/v1/locks/a", "", []string{"If-Match:"}, 400, api.CodeInvalid, "If-Match"},
		// keepalive
		{"PUT", "/v1/sessions/s?hold=5m1s", "", nil, 400, api.CodeInvalid, "hold"},
		{"PUT", "/v1/sessions/s?hold=", "", nil, 400, api.CodeInvalid, "hold"},
		{"PUT", "/v1/sessions/s?hold=5", "", nil, 400, api.CodeInvalid, "hold"},
		{"PUT", "/v1/sessions/s?since=5", "", nil, 400, api.CodeInvalid, "since"},
		{"PUT", "/v1/sessions/s?hold=5s&since=x", "", nil, 400, api.CodeInvalid, "since"},
		{"PUT", "/v1/sessions/s?hold=5s&since=", "", nil, 400, api.CodeInvalid, "since"},
		{"PUT", "/v1/sessions/s?wait=5s", "", nil, 400, api.CodeInvalid, "wait"},
		// elections
		{"PUT", "/v1/elections/", "", nil, 400, api.CodeInvalid, "name"},
		{"PUT", "/v1/elections/a", `{"value":"` + strings.Repeat("v", 4097) + `"}`, nil, 400, api.CodeInvalid, "value"},
		{"PUT", "/v1/elections/a", `{"session":""}`, nil, 400, api.CodeInvalid, "session"},
		{"PUT", "/v1/elections/a", `{"session":"s","ttl":"15s"}`, nil, 400, api.CodeInvalid, "ttl"},
		{"PUT", "/v1/elections/a", `{"mode":"shared"}`, nil, 400, api.CodeInvalid, "mode"},
		{"PUT", "/v1/elections/a", `{"slots":1}`, nil, 400, api.CodeInvalid, "slots"},
		{"PUT", "/v1/elections/a?wait=6m", "", nil, 400, api.CodeInvalid, "wait"},
		{"PUT", "/v1/elections/a", "", []string{"If-Match: 3"}, 400, api.CodeInvalid, "If-Match"},
		{"PATCH", "/v1/elections/a", `{"value":"v"}`, nil, 428, api.CodeFenceRequired, "If-Match"},
		{"PATCH", "/v1/elections/a", "", []string{"If-Match: 3"}, 400, api.CodeInvalid, "value"},
		{"PATCH", "/v1/elections/a", `{"value":"v"}`, []string{"If-Match: *"}, 400, api.CodeInvalid, "If-Match"},
		{"PATCH", "/v1/elections/a", `{"value":null}`, []string{"If-Match: 3"}, 400, api.CodeInvalid, "value"},
		{"PATCH", "/v1/elections/a", `{"value":"` + strings.Repeat("v", 4097) + `"}`, []string{"If-Match: 3"}, 400, api.CodeInvalid, "value"},
		{"DELETE", "/v1/elections/a", "", nil, 428, api.CodeFenceRequired, "If-Match"},
		{"DELETE", "/v1/elections/a?force=true", "", nil, 400, api.CodeInvalid, "force"},
		{"DELETE", "/v1/elections/a", "", []string{"If-Match: 3", "Prytany-Session: s"}, 400, api.CodeInvalid, api.HeaderSession},
		{"POST", "/v1/elections/a", "", nil, 405, api.CodeMethodNotAllowed, "method"},
		{"POST", "/v1/elections/a:transfer", "", nil, 400, api.CodeInvalid, "to"},
		{"POST", "/v1/elections/a:transfer", `{"to":""}`, nil, 400, api.CodeInvalid, "to"},
		{"POST", "/v1/elections/a:transfer", `{"to":"s"}`, []string{`If-Match: "0"`}, 400, api.CodeInvalid, "If-Match"},
		{"POST", "/v1/elections/:transfer", `{"to":"s"}`, nil, 400, api.CodeInvalid, "name"},
		{"GET", "/v1/elections/a?fence=3", "", nil, 400, api.CodeInvalid, "fence"},
		{"GET", "/v1/elections/a?wait=1s", "", []string{"Accept: text/event-stream"}, 400, api.CodeInvalid, "wait"},
		{"GET", "/v1/elections/a", "", []string{"Accept: application/x-ndjson", "If-None-Match: 3"}, 400, api.CodeInvalid, "If-None-Match"},
		// fences
		{"PUT", "/v1/fences/a", "", nil, 400, api.CodeInvalid, "fence"},
		{"PUT", "/v1/fences/a", `{"fence":0}`, nil, 400, api.CodeInvalid, "fence"},
		{"PUT", "/v1/fences/a", `{"fence":-1}`, nil, 400, api.CodeInvalid, "fence"},
		{"PUT", "/v1/fences/a", `{"fence":1.5}`, nil, 400, api.CodeInvalid, "fence"},
		{"PUT", "/v1/fences/a", `{"fence":"37"}`, nil, 400, api.CodeInvalid, "fence"},
		{"PUT", "/v1/fences/a", `{"fence":null}`, nil, 400, api.CodeInvalid, "fence"},
		{"PUT", "/v1/fences/a", `{"fence":9007199254740992}`, nil, 400, api.CodeInvalid, "fence"},
		{"PUT", "/v1/fences/" + long, `{"fence":1}`, nil, 400, api.CodeInvalid, "resource"},
		{"DELETE", "/v1/fences/a", "", nil, 428, api.CodeFenceRequired, "If-Match"},
		{"GET", "/v1/fences/a?wait=1s", "", nil, 400, api.CodeInvalid, "wait"},
		{"GET", "/v1/fences/a", "", []string{"If-None-Match: 3"}, 400, api.CodeInvalid, "If-None-Match"},
		// watch
		{"GET", "/v1/watch/" + long, "", nil, 400, api.CodeInvalid, "prefix"},
		{"GET", "/v1/watch/%ff", "", nil, 400, api.CodeInvalid, "prefix"},
		{"GET", "/v1/watch/a?from=0", "", nil, 400, api.CodeInvalid, "from"},
		{"GET", "/v1/watch/a?from=x", "", nil, 400, api.CodeInvalid, "from"},
		{"GET", "/v1/watch/a?events=", "", nil, 400, api.CodeInvalid, "events"},
		{"GET", "/v1/watch/a?events=put,", "", nil, 400, api.CodeInvalid, "events"},
		{"GET", "/v1/watch/a?events=bookmark", "", nil, 400, api.CodeInvalid, "events"},
		{"GET", "/v1/watch/a?consistency=stale", "", nil, 400, api.CodeInvalid, "consistency"},
		{"GET", "/v1/watch/a", "", []string{"Last-Event-ID:"}, 400, api.CodeInvalid, api.HeaderLastEventID},
		{"GET", "/v1/watch/a", "", []string{"Last-Event-ID: -1"}, 400, api.CodeInvalid, api.HeaderLastEventID},
		{"GET", "/v1/watch/a", "", []string{"Last-Event-ID: 9007199254740991"}, 400, api.CodeInvalid, api.HeaderLastEventID},
		{"GET", "/v1/watch/a", "x", nil, 400, api.CodeInvalid, "body"},
		{"POST", "/v1/watch/a", "", nil, 405, api.CodeMethodNotAllowed, "method"},
		// explain, lists
		{"GET", "/v1/explain/locks/", "", nil, 400, api.CodeInvalid, "name"},
		{"GET", "/v1/explain/locks/a?session=", "", nil, 400, api.CodeInvalid, "session"},
		{"GET", "/v1/config?delimiter=", "", nil, 400, api.CodeInvalid, "delimiter"},
		{"GET", "/v1/config?delimiter=" + long, "", nil, 400, api.CodeInvalid, "delimiter"},
		{"GET", "/v1/locks?delimiter=/", "", nil, 400, api.CodeInvalid, "delimiter"},
		// transactions
		{"POST", "/v1/transactions", "", nil, 400, api.CodeInvalid, "body"},
		{"POST", "/v1/transactions", `{"then":[],"else":[]}`, nil, 400, api.CodeInvalid, "body"},
		{"POST", "/v1/transactions", `{"then":{}}`, nil, 400, api.CodeInvalid, "then"},
		{"POST", "/v1/transactions", `{"then":null}`, nil, 400, api.CodeInvalid, "then"},
		{"POST", "/v1/transactions", `{"them":[]}`, nil, 400, api.CodeInvalid, "them"},
		{"POST", "/v1/transactions", `{"then":[{"get":"a"}],"then":[]}`, nil, 400, api.CodeInvalid, "then"},
		{"POST", "/v1/transactions", `{"":[]}`, nil, 400, api.CodeInvalid, `""`},
		{"POST", "/v1/transactions", `{"if":[{"":1}]}`, nil, 400, api.CodeInvalid, `if[0].""`},
		{"POST", "/v1/transactions", `{"then":[null]}`, nil, 400, api.CodeInvalid, "then[0]"},
		{"POST", "/v1/transactions", `{"then":["get"]}`, nil, 400, api.CodeInvalid, "then[0]"},
		{"POST", "/v1/transactions", `{"then":[{}]}`, nil, 400, api.CodeInvalid, "then[0]"},
		{"POST", "/v1/transactions", `{"then":[{"get":"a"},{"putt":"a"}]}`, nil, 400, api.CodeInvalid, "then[1].putt"},
		{"POST", "/v1/transactions", `{"then":[{"get":"a","put":"b","value":""}]}`, nil, 400, api.CodeInvalid, "then[0].get"},
		{"POST", "/v1/transactions", `{"then":[{"get":"a","delete":""}]}`, nil, 400, api.CodeInvalid, "then[0].delete"},
		{"POST", "/v1/transactions", `{"then":[{"get":"a","get":"b"}]}`, nil, 400, api.CodeInvalid, "then[0].get"},
		{"POST", "/v1/transactions", `{"then":[{"get":""}]}`, nil, 400, api.CodeInvalid, "then[0].get"},
		{"POST", "/v1/transactions", `{"then":[{"get":1}]}`, nil, 400, api.CodeInvalid, "then[0].get"},
		{"POST", "/v1/transactions", `{"then":[{"get":"a","value":""}]}`, nil, 400, api.CodeInvalid, "then[0].value"},
		{"POST", "/v1/transactions", `{"then":[{"delete":"a","session":"s"}]}`, nil, 400, api.CodeInvalid, "then[0].session"},
		{"POST", "/v1/transactions", `{"then":[{"delete_prefix":""}]}`, nil, 400, api.CodeInvalid, "then[0].delete_prefix"},
		{"POST", "/v1/transactions", `{"then":[{"put":"a"}]}`, nil, 400, api.CodeInvalid, "then[0]"},
		{"POST", "/v1/transactions", `{"then":[{"put":"a","value":"","value_base64":""}]}`, nil, 400, api.CodeInvalid, "then[0].value_base64"},
		{"POST", "/v1/transactions", `{"then":[{"put":"a","value_base64":"/w"}]}`, nil, 400, api.CodeInvalid, "then[0].value_base64"},
		{"POST", "/v1/transactions", `{"then":[{"put":"a","value_base64":"/x=="}]}`, nil, 400, api.CodeInvalid, "then[0].value_base64"},
		{"POST", "/v1/transactions", `{"then":[{"put":"a","value_base64":"/w==\n"}]}`, nil, 400, api.CodeInvalid, "then[0].value_base64"},
		{"POST", "/v1/transactions", `{"then":[{"put":"a","value":"","session":""}]}`, nil, 400, api.CodeInvalid, "then[0].session"},
		{"POST", "/v1/transactions", `{"then":[{"put":"a","value":"","content_type":""}]}`, nil, 400, api.CodeInvalid, "then[0].content_type"},
		{"POST", "/v1/transactions", `{"then":[{"put":"a","value":"","content_type":"a/b;c=\"\u0001\""}]}`, nil, 400, api.CodeInvalid, "then[0].content_type"},
		{"POST", "/v1/transactions", `{"then":[{"put":"a","value":"1"},{"put":"a","value":"2"}]}`, nil, 400, api.CodeInvalid, "then[1].put"},
		{"POST", "/v1/transactions", `{"else":[{"put":"` + long + `","value":""}]}`, nil, 400, api.CodeInvalid, "else[0].put"},
		{"POST", "/v1/transactions", `{"if":[{}]}`, nil, 400, api.CodeInvalid, "if[0]"},
		{"POST", "/v1/transactions", `{"if":[{"key":"a"}]}`, nil, 400, api.CodeInvalid, "if[0]"},
		{"POST", "/v1/transactions", `{"if":[{"key":"a","revision":1,"exists":true}]}`, nil, 400, api.CodeInvalid, "if[0].exists"},
		{"POST", "/v1/transactions", `{"if":[{"key":"a","session":"s"}]}`, nil, 400, api.CodeInvalid, "if[0].session"},
		{"POST", "/v1/transactions", `{"if":[{"key":"a","revision":1,"fence":1}]}`, nil, 400, api.CodeInvalid, "if[0].fence"},
		{"POST", "/v1/transactions", `{"if":[{"key":"a","revision":-1}]}`, nil, 400, api.CodeInvalid, "if[0].revision"},
		{"POST", "/v1/transactions", `{"if":[{"key":"a","revision":9007199254740992}]}`, nil, 400, api.CodeInvalid, "if[0].revision"},
		{"POST", "/v1/transactions", `{"if":[{"key":"a","exists":"yes"}]}`, nil, 400, api.CodeInvalid, "if[0].exists"},
		{"POST", "/v1/transactions", `{"if":[{"key":"a","exists":null}]}`, nil, 400, api.CodeInvalid, "if[0].exists"},
		{"POST", "/v1/transactions", `{"if":[{"lock":"a"}]}`, nil, 400, api.CodeInvalid, "if[0]"},
		{"POST", "/v1/transactions", `{"if":[{"lock":"a","fence":0}]}`, nil, 400, api.CodeInvalid, "if[0].fence"},
		{"POST", "/v1/transactions", `{"if":[{"lock":"a","fence":1,"value":""}]}`, nil, 400, api.CodeInvalid, "if[0].value"},
		{"POST", "/v1/transactions", `{"if":[{"session":"s","fence":1}]}`, nil, 400, api.CodeInvalid, "if[0].fence"},
		{"POST", "/v1/transactions", `{"if":[{"session":""}]}`, nil, 400, api.CodeInvalid, "if[0].session"},
		{"POST", "/v1/transactions", `{"then":[` + many(65, `{"get":"#"}`) + `],"else":[` + many(64, `{"get":"#"}`) + `]}`, nil, 400, api.CodeInvalid, "body"},
		{"POST", "/v1/transactions", `{"then":[{"put":"a","value":"` + strings.Repeat("v", 256<<10+1) + `"}]}`, nil, 413, api.CodeTooLarge, "then[0].value"},
		{"POST", "/v1/transactions", `{"then":[` + many(3, `{"put":"#","value":"`+strings.Repeat("v", 200<<10)+`"}`) + `]}`, nil, 413, api.CodeTooLarge, "body"},
		{"POST", "/v1/transactions", strings.Repeat(" ", 3<<20), nil, 413, api.CodeTooLarge, "body"},
		{"POST", "/v1/transactions", `{"then":[` + strings.Repeat("[", 100_000), nil, 400, api.CodeInvalid, "body"},
		{"POST", "/v1/transactions", `{"then":[{"get":"a"}]}`, []string{"Prytany-Guard: a;fence=1"}, 400, api.CodeInvalid, api.HeaderGuard},
		{"GET", "/v1/transactions", "", nil, 405, api.CodeMethodNotAllowed, "method"},
	}
}

// What the service refuses is said with all it tells.
func TestRefusedByTheService(t *testing.T) {
	held := func(name string, d locks.HeldInfo) locks.HeldLock { return locks.HeldLock{Name: name, HeldInfo: d} }
	for _, tc := range []struct {
		method, target, body string
		err                  locks.Error
		after                string
		check                func(p *api.Problem) bool
	}{
		{"PUT", "/v1/locks/a", `{"slots":4}`, locks.Error{Code: locks.LimitMismatch, Slots: 3}, "1",
			func(p *api.Problem) bool { return p.Slots == 3 && p.RequestedSlots == 4 }},
		{"PUT", "/v1/elections/a", "", locks.Error{Code: locks.LimitMismatch, Slots: 3}, "1",
			func(p *api.Problem) bool { return p.Slots == 3 && p.RequestedSlots == 1 }},
		{"POST", "/v1/locks:acquire", `{"session":"s","names":["a","b"]}`, locks.Error{Code: locks.LockHeld, All: []locks.HeldLock{
			held("a", locks.HeldInfo{Holder: &locks.Holder{Owner: "w", ExpiresIn: 4e9}, QueuePosition: 2}), held("b", locks.HeldInfo{LockDelayRemaining: 7e9}),
		}}, "7", func(p *api.Problem) bool {
			return len(p.Held) == 2 && p.Held[0].Name == "a" && p.Held[0].Holder.Owner == "w" && p.Held[0].QueuePosition == 2 &&
				p.Held[1].Name == "b" && p.Held[1].Holder == nil && p.Held[1].LockDelayRemainingMS == 7000 && p.Holder == nil
		}},
		{"PUT", "/v1/elections/a", "", locks.Error{Code: locks.LockHeld, Held: &locks.HeldInfo{Holder: &locks.Holder{Owner: "w", Value: "http://w"}}}, "1",
			func(p *api.Problem) bool { return p.Holder.Owner == "w" && p.Holder.Value == "http://w" }},
		{"PUT", "/v1/locks/a", "", locks.Error{Code: locks.UpgradeRefused}, "1", func(p *api.Problem) bool { return p.Retryable }},
		{"POST", "/v1/elections/a:transfer", `{"to":"s"}`, locks.Error{Code: locks.NotCandidate}, "", func(p *api.Problem) bool { return !p.Retryable }},
		{"GET", "/v1/watch/a", "", locks.Error{Code: locks.Compacted, Current: 70}, "", func(p *api.Problem) bool { return p.OldestRevision == 70 }},
		{"PUT", "/v1/fences/a", `{"fence":3}`, locks.Error{Code: locks.StaleFence, Current: 9}, "",
			func(p *api.Problem) bool { return *p.CurrentFence == 9 }},
		{"POST", "/v1/transactions", `{"then":[{"get":"a"}]}`, locks.Error{Code: locks.SessionExpired, Step: 1}, "",
			func(p *api.Problem) bool { return p.Operation != nil && *p.Operation == 0 }},
		{"GET", "/v1/elections/a", "", locks.Error{Code: locks.LockUnknown}, "", func(p *api.Problem) bool { return p.Status == 404 }},
	} {
		f := newFake()
		f.err = &tc.err
		rec := send(t, New(config(f)), tc.method, tc.target, tc.body)
		if p := problemIn(t, rec); !tc.check(p) || rec.Header().Get("Retry-After") != tc.after {
			t.Errorf("%s %s: Retry-After %q: %s", tc.method, tc.target, rec.Header().Get("Retry-After"), rec.Body)
		}
	}
}
