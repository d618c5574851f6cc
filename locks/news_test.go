package locks

import (
	"maps"
	"slices"
	"testing"
)

// rung reports whether ch is closed.
func rung(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

func TestWhoIsWokenByWhat(t *testing.T) {
	w := ledWorld(t)
	w.acquire("locks/l", "a") // 7
	w.acquire("locks/l", "b")
	w.acquire("locks/e", "a", campaign("v"))
	w.do(&PutCommand{Key: "config/k", Session: "a"})
	tests := []struct {
		name string
		cmd  Command
		want []string
	}{
		{"a put", &PutCommand{Key: "config/k", Session: "a"}, []string{"every name", "key", "session a"}},
		{"a put of nobody", &PutCommand{Key: "other"}, []string{"every name"}},
		{"a refused put", &PutCommand{Key: "config/k", IfRevision: new(uint64)}, nil},
		{"a queued acquire", &AcquireCommand{Lock: "locks/l", Session: "c", Wait: true}, []string{"lock"}},
		{"a release", &ReleaseCommand{Lock: "locks/l", Fence: 7}, []string{"every name", "lock", "names of locks", "session a", "session b"}},
		{"a proclamation", &ProclaimCommand{Lock: "locks/e", Fence: 9, Value: "w"}, []string{"every name", "names of locks", "session a"}},
		{"a request to yield", &YieldCommand{Lock: "locks/l"}, []string{"every name", "lock", "names of locks", "session b"}},
		{"an end", &EndCommand{ID: "b"}, []string{"every name", "lock", "names of locks", "session b"}},
		{"a fence", &AdvanceCommand{Resource: "config/k"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			heard := map[string]Ring{}
			var cancels []func()
			w.m.View(func(v View) {
				for name, topic := range map[string]Topic{
					"lock": LockTopic("locks/l"), "key": KeyTopic("config/k"), "session a": SessionTopic("a"), "session b": SessionTopic("b"),
				} {
					r, cancel := v.Subscribe(topic)
					heard[name], cancels = r, append(cancels, cancel)
				}
				for name, prefix := range map[string]string{"every name": "", "names of locks": "locks/", "other": "locks/longer", "x": "x"} {
					r, cancel := v.SubscribePrefix(prefix)
					heard[name], cancels = r, append(cancels, cancel)
				}
			})
			w.do(tt.cmd)
			maps.DeleteFunc(heard, func(_ string, r Ring) bool { return !r.Rung() })
			if got := slices.Sorted(maps.Keys(heard)); !slices.Equal(got, tt.want) {
				t.Errorf("woken: %q; want %q", got, tt.want)
			}
			for _, cancel := range cancels {
				cancel()
			}
		})
	}
}

func TestRestoreWakesEverybody(t *testing.T) {
	w := busy(t)
	data, err := encoded(w.m.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	var chs []<-chan struct{}
	m := NewMachine()
	reached, cancel := m.Reach(w.m.Revision())
	defer cancel()
	m.View(func(v View) {
		key, _ := v.Subscribe(KeyTopic("k"))
		names, _ := v.SubscribePrefix("x/")
		chs = append(chs, reached, key.C, names.C)
	})
	if err := install(m, data); err != nil {
		t.Fatal(err)
	}
	for i, ch := range chs {
		if !rung(ch) {
			t.Errorf("%d still sleeps", i)
		}
	}
}

// A request that was granted has its place's answer, whatever the session did to
// the lock since.
func TestPlaceOfWhoLooksLate(t *testing.T) {
	w := ledWorld(t)
	place := func(c *AcquireCommand) (p Place) {
		w.m.View(func(v View) { p = v.Place(c) })
		if p.Cancel != nil {
			defer p.Cancel()
		}
		return p
	}
	first := &AcquireCommand{Request: req("1"), Lock: "l", Session: "b", Wait: true}
	other := &AcquireCommand{Request: req("2"), Lock: "l", Session: "b", Wait: true, Shared: true}
	w.acquire("l", "a") // 7
	w.do(first)
	w.do(other)
	if p := place(first); p.Changed == nil || rung(p.Changed) {
		t.Errorf("in the queue: %+v", p)
	}
	w.release("l", "a") // 10
	w.acquire("l", "b", shared)
	if p := place(first); p.Fence != 10 {
		t.Errorf("granted, and the lock is shared by now: %+v", p)
	}
	if p := place(other); p.Gone.Code != UpgradeRefused {
		t.Errorf("in the other mode: %+v", p)
	}
	w.release("l", "b")
	if p := place(first); p.Gone.Code != LockHeld {
		t.Errorf("released: %+v", p)
	}
	w.do(&EndCommand{ID: "b"})
	if p := place(first); p.Gone.Code != SessionExpired {
		t.Errorf("the session is over: %+v", p)
	}
}
