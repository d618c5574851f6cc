package reply

import (
	"testing"

	"github.com/prytany/prytany/internal/api"
)

// The appended replies are what encoding/json makes of the same values.
func FuzzAppend(f *testing.F) {
	f.Add("a", "s-1", "", uint64(37), int64(15000), uint16(0))
	f.Add("<b>&amp;\u2028\u2029", "\x00\x01\b\f\n\r\t\x1f\x7f\"\\/", "\xff\xfe ü\xc3", uint64(1)<<63, int64(-1), uint16(0xffff))
	f.Add("\ufffd\U0001f600", "\xed\xa0\x80", "\xf4\x90\x80\x80", uint64(0), int64(0), uint16(0x5555))
	f.Add("", "", "", uint64(0), int64(0), uint16(0xaaaa))
	f.Fuzz(func(t *testing.T, one, two, three string, n uint64, ms int64, bits uint16) {
		has := func(i int) bool { return bits&(1<<i) != 0 }
		h := api.Holder{Session: one, Owner: two, Fence: n, Mode: three, Note: two, Value: three, Since: n / 2}
		if has(0) {
			h.HeldMS = &ms
		}
		if has(1) {
			h.ExpiresInMS, h.Note = &ms, ""
		}
		l := api.Lock{Name: two, Slots: int(ms), ChangedRevision: n, LockDelayRemainingMS: ms}
		p := api.Problem{
			Type: one, Title: two, Status: int(ms), Detail: three, Code: api.Code(one), Applied: api.Applied(two), Retryable: has(2), RequestID: three,
			Name: one, Field: two, Limit: three, Value: one, Leader: two, QueuePosition: int(ms), LockDelayRemainingMS: ms,
		}
		if has(3) {
			p.CurrentRevision, p.Holder, p.Slots = &n, &h, int(ms)
			l.Holders, l.Yield = []api.Holder{h}, &api.Yield{Since: n, Reason: three}
		}
		if has(4) {
			p.CurrentFence, p.RequestedSlots, p.OldestRevision, p.OldestID = &n, int(ms), n, n
			l.Holders, l.Waiters, l.Past = append(l.Holders, h), []api.Waiter{}, []api.Past{}
		}
		if has(5) {
			i := int(ms)
			p.Operation = &i
			l.Waiters = append(l.Waiters, api.Waiter{Session: two, Owner: one, Mode: three, Since: n}, api.Waiter{Note: one})
		}
		if has(6) {
			p.Held = []api.HeldBy{{Name: one, Holder: &h}}
			l.Past = append(l.Past, api.Past{Session: one, Owner: two, Fence: n, Ended: n, Reason: three}, api.Past{})
		}
		if has(7) && l.Yield != nil {
			l.Yield.RemainingMS = &ms
		}
		k := api.KeptAlive{TTLMS: ms, ExpiresInMS: ms / 2, HeldMS: ms, Revision: n, Missed: has(2)}
		if has(8) {
			k.Events = []api.Event{{Type: one, Revision: n}}
		}
		put := api.Put{Key: one, Revision: n, Version: n / 2, Created: has(2)}
		g := api.Grant{Name: one, Session: two, Fence: n, Mode: three, Slots: int(ms), ExpiresInMS: h.HeldMS, WaitedMS: ms}
		for _, tc := range []struct{ got, want []byte }{
			{AppendPut(nil, &put), JSON(put)},
			{AppendGrant([]byte{}, &g), JSON(g)},
			{AppendKept(nil, &k), JSON(k)},
			{AppendLock(nil, &l), JSON(l)},
			{AppendProblem(nil, &p), JSON(&p)},
		} {
			if string(tc.got) != string(tc.want) {
				t.Errorf("appended is\n%s\nencoding/json says\n%s", tc.got, tc.want)
			}
		}
	})
}
