package locks

import "testing"

// A value that a leader has proposed and nobody has chosen stays in its log,
// and a later leader whose quorum sees it proposes it again: any time later.
// These tests apply such left-overs late.

func TestFirstAttemptLeftOver(t *testing.T) {
	for _, own := range []bool{true, false} {
		w := newWorld(t)
		w.lead(b(1))
		r := Request{ID: "x", Own: own, Since: w.m.revision}
		first := Encode(&PutCommand{Request: r, Key: "k", Value: []byte("old")})
		r.Retry = true
		if got := w.do(&PutCommand{Request: r, Key: "k", Value: []byte("old")}); got.Refused {
			t.Fatalf("second attempt: %+v", got)
		}
		w.do(&PutCommand{Key: "k", Value: []byte("new")})
		for range 3 { // until the answer is forgotten
			w.now += keepAnswers + second
			w.lead(b(1))
		}
		if got := w.raw(first); !got.Refused || got.Code != Overloaded {
			t.Errorf("own %v: the first attempt, late: %+v; want refused", own, got)
		}
		if e, _ := w.m.entries.Get("k"); string(e.Value) != "new" {
			t.Errorf("own %v: the entry is %q; the request had its effect twice", own, e.Value)
		}
		fresh := Request{ID: "y", Own: own, Since: w.m.revision}
		if got := w.do(&PutCommand{Request: fresh, Key: "k"}); got.Refused {
			t.Errorf("own %v: a new request: %+v", own, got)
		}
	}
}

// Leader 1 has a second LeadCommand and, behind it, an expiry in slots that are
// not chosen, when leader 2 takes over and keeps the session alive. Leader 3
// sees both and proposes them again: if there were a second LeadCommand, the
// expiry would count.
func TestLeadIsProposedOnce(t *testing.T) {
	w := newWorld(t)
	if got := w.m.Lead(b(1), w.now); len(got) != 1 {
		t.Fatalf("%d commands; want the LeadCommand", len(got))
	}
	for range 5 { // the disk is slow, or a quorum far away
		w.now += 2 * repeatAfter
		if got := w.m.Lead(b(1), w.now); len(got) != 0 {
			t.Fatalf("proposed again: %q", got)
		}
	}
	w.do(&LeadCommand{Ballot: b(1)})
	w.open("a")
	w.now += 10 * second
	if got := w.lead(b(1)); len(got) != 1 || w.alive("a") {
		t.Errorf("once it is applied: %v; want the expiry of a", got)
	}
}

// A request waits for longer than its answer is remembered, and its caller takes
// the key for something else. The grant is not the answer to that.
func TestLateGrantIsNotAnothersAnswer(t *testing.T) {
	w := ledWorld(t)
	w.acquire("l", "a")
	key := Request{ID: "key", Hash: 1, Since: w.m.revision}
	if got := w.do(&AcquireCommand{Request: key, Lock: "l", Session: "b", Wait: true}); !got.Queued {
		t.Fatalf("not queued: %+v", got)
	}
	w.do(&ForgetCommand{UpTo: w.m.revision})
	key.Hash, key.Since = 2, w.m.revision
	first := w.do(&PutCommand{Request: key, Key: "k"})
	w.release("l", "a")
	if len(w.lock("l").Holders) != 1 {
		t.Fatalf("not granted: %s", w.show("l"))
	}
	again := w.do(&PutCommand{Request: key, Key: "k"})
	if first.Repeated = true; again != first {
		t.Errorf("the put's answer is %+v; want %+v", again, first)
	}
}
