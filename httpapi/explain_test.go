package httpapi

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/locks/service"
)

func TestExplainReply(t *testing.T) {
	f := filled()
	rec := send(t, New(config(f)), "GET", "/v1/explain/locks/nightly?session=s-15&consistency=stale", "")
	var got api.Explanation
	if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil || got.Free || got.Position != 1 || len(got.Reasons) != 1 || got.Lock.Name != "nightly" {
		t.Errorf("%v %s", err, rec.Body)
	}
	if want := (getLockCall{"nightly", service.Read{Stale: true}}); f.count() != 1 || f.calls[0] != want {
		t.Errorf("%+v", f.calls)
	}
	f.lockErr = &locks.Error{Code: locks.LockUnknown}
	rec = send(t, New(config(f)), "GET", "/v1/explain/locks/a", "")
	if rec.Code != 200 || strings.TrimSpace(rec.Body.String()) != `{"name":"a","free":true,"reasons":[]}` {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	f.lockErr = &locks.Error{Code: locks.NoLeader}
	if rec := send(t, New(config(f)), "GET", "/v1/explain/locks/a", ""); rec.Code != 503 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}
