package reply

import (
	"reflect"
	"testing"
	"time"

	"github.com/prytany/prytany/locks"
)

func TestExplain(t *testing.T) {
	holder := func(session, owner string, fence uint64, left time.Duration) locks.Holder {
		return locks.Holder{Session: session, Owner: owner, Fence: fence, Since: fence, Held: -1, ExpiresIn: left}
	}
	reader := func(session string, fence uint64) locks.Holder {
		h := holder(session, session, fence, -1)
		h.Mode = locks.Shared
		return h
	}
	wait := func(sessions ...string) (out []locks.Waiter) {
		for _, s := range sessions {
			out = append(out, locks.Waiter{Session: s, Owner: s})
		}
		return out
	}
	web := holder("s-1", "web-2", 37, 9400*time.Millisecond)
	for name, tc := range map[string]struct {
		lock     locks.Lock
		session  string
		want     []string // "code: text"
		position int
	}{
		"free":    {lock: locks.Lock{}},
		"free, 3": {lock: locks.Lock{Slots: 3}},
		"held": {lock: locks.Lock{Holders: []locks.Holder{web}},
			want: []string{"held: it is held by web-2 (s-1) with fence 37, whose lease lasts for 9.4s more unless it is renewed"}},
		"held, unknown lease": {lock: locks.Lock{Holders: []locks.Holder{holder("s-1", "s-1", 37, -1)}},
			want: []string{"held: it is held by s-1 with fence 37"}},
		"held by oneself": {lock: locks.Lock{Holders: []locks.Holder{web}, Waiters: wait("s-2")}, session: "s-1"},
		"held, asked to yield": {lock: locks.Lock{Holders: []locks.Holder{web}, Yield: &locks.Yield{Within: time.Minute, Remaining: 8 * time.Second, Reason: "deploy"}},
			want: []string{"held: it is held by web-2 (s-1) with fence 37, whose lease lasts for 9.4s more unless it is renewed; they were asked to yield (deploy) and lose it in 8s"}},
		"held, asked only": {lock: locks.Lock{Holders: []locks.Holder{web}, Yield: &locks.Yield{}},
			want: []string{"held: it is held by web-2 (s-1) with fence 37, whose lease lasts for 9.4s more unless it is renewed; they were asked to yield"}},
		"held and waited for": {lock: locks.Lock{Holders: []locks.Holder{holder("s-1", "s-1", 37, -1)}, Waiters: wait("s-2", "s-3")},
			want: []string{"held: it is held by s-1 with fence 37", "queue: 2 others wait for longer; s-2 is next"}},
		"second in line": {lock: locks.Lock{Holders: []locks.Holder{holder("s-1", "s-1", 37, -1)}, Waiters: wait("s-2", "s-3")}, session: "s-3", position: 2,
			want: []string{"held: it is held by s-1 with fence 37", "queue: 1 other waits for longer; s-2 is next"}},
		"first in line": {lock: locks.Lock{Holders: []locks.Holder{holder("s-1", "s-1", 37, -1)}, Waiters: wait("s-2", "s-3")}, session: "s-2", position: 1,
			want: []string{"held: it is held by s-1 with fence 37"}},
		"shared": {lock: locks.Lock{Holders: []locks.Holder{reader("s-1", 37), reader("s-2", 37)}},
			want: []string{"shared: 2 readers share it: s-1 with fence 37; s-2 with fence 37"}},
		"shared by many": {lock: locks.Lock{Holders: []locks.Holder{reader("s-1", 37), reader("s-2", 37), reader("s-3", 37), reader("s-4", 40), reader("s-5", 40)}},
			want: []string{"shared: 5 readers share it: s-1 with fence 37; s-2 with fence 37; s-3 with fence 37; 2 more"}},
		"upgrade":         {lock: locks.Lock{Holders: []locks.Holder{reader("s-1", 37)}, Waiters: wait("s-2")}, session: "s-1"},
		"upgrade refused": {lock: locks.Lock{Holders: []locks.Holder{reader("s-1", 37), reader("s-2", 37)}, Waiters: wait("s-3")}, session: "s-1", want: []string{"shared: 1 reader shares it: s-2 with fence 37"}},
		"full": {lock: locks.Lock{Slots: 2, Holders: []locks.Holder{web, holder("s-2", "s-2", 38, 0)}},
			want: []string{"full: all 2 slots are taken: web-2 (s-1) with fence 37, whose lease lasts for 9.4s more unless it is renewed; s-2 with fence 38, whose lease lasts for 0s more unless it is renewed"}},
		"one slot left":  {lock: locks.Lock{Slots: 3, Holders: []locks.Holder{web, holder("s-2", "s-2", 38, 0)}}},
		"a slot of mine": {lock: locks.Lock{Slots: 2, Holders: []locks.Holder{web, holder("s-2", "s-2", 38, 0)}}, session: "s-2"},
		"lock-delay": {lock: locks.Lock{LockDelayRemaining: 2540 * time.Millisecond},
			want: []string{"lock-delay: its last holder expired, and its lock-delay keeps it closed for 2.5s more"}},
		"lock-delay and queue": {lock: locks.Lock{LockDelayRemaining: -1, Waiters: wait("s-2")},
			want: []string{"lock-delay: its last holder expired, and its lock-delay keeps it closed for a while", "queue: 1 other waits for longer; s-2 is next"}},
		"lock-delay of a slot": {lock: locks.Lock{Slots: 2, LockDelayRemaining: time.Second, Holders: []locks.Holder{holder("s-1", "s-1", 37, -1)}},
			want: []string{"lock-delay: its last holder expired, and its lock-delay keeps it closed for 1s more"}},
	} {
		reasons, position := Explain(tc.lock, tc.session)
		var got []string
		for _, r := range reasons {
			got = append(got, r.Code+": "+r.Text)
		}
		if !reflect.DeepEqual(got, tc.want) || position != tc.position {
			t.Errorf("%s: position %d\n%q, want\n%q", name, position, got, tc.want)
		}
	}
}
