package api

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func ptr[T any](v T) *T { return &v }

var holder = Holder{Session: "s-14", Owner: "web-2", Fence: 37, Mode: ModeExclusive, Note: "n", Value: "v", Since: 37,
	HeldMS: ptr(int64(5)), ExpiresInMS: ptr(int64(9))}

var lock = Lock{Name: "nightly", Slots: 2, Holders: []Holder{holder}, Waiters: []Waiter{{"s-15", "web-3", ModeShared, "n", 40}},
	Past: []Past{{"s-1", "web-1", 12, 30, "expired"}}, Yield: &Yield{41, "deploy", ptr(int64(3))}, ChangedRevision: 37, LockDelayRemainingMS: 3}

var entry = Entry{Key: "a", Value: ptr(""), ContentType: "text/plain", Revision: 42, CreatedRevision: 41, Version: 2, Session: "s-14"}

var op = Op{Put: ptr("k"), Get: ptr("k"), Delete: ptr("k"), DeletePrefix: ptr("a/"), Value: ptr("v"), ValueBase64: ptr("/w=="),
	ContentType: "text/plain", Session: "s-14"}

var problem = &Problem{Type: ProblemType(CodeLockHeld), Title: "Somebody else holds the lock", Status: 409, Detail: "held by web-2",
	Code: CodeLockHeld, Applied: AppliedNo, Retryable: true, RequestID: "R", Name: "nightly", Field: "f", Limit: "l", Value: "v",
	Leader: "http://n2:7480", CurrentRevision: ptr(uint64(0)), CurrentFence: ptr(uint64(0)),
	Holder: &holder, Held: []HeldBy{{"nightly", &holder, 2, 7}}, QueuePosition: 2, Slots: 3, RequestedSlots: 4, OldestRevision: 5, OldestID: 1<<32 + 7,
	Operation: ptr(0), LockDelayRemainingMS: 7}

var groupStatus = GroupStatus{Group: MainGroup, Role: RoleLeader, Leader: "n1", LeaderURL: "http://n1:7480", Content: true, Why: "a quorum is in reach", SinceMS: 9, Leased: true, Ballot: "3.1",
	Config: 2, Voters: []string{"n1"}, Decided: 41, Applied: 40, First: 1, Revision: 39, InFlight: 1, Sessions: 2, Locks: 3}

var group = Group{Name: "orders", ID: 2, Replicas: 3, Zones: []string{"a", "b"}, Near: "n1", Config: 4, Leader: "n1", LeaderURL: "http://n1:7480",
	Members: []GroupMember{{"00000000000000a1", "n1", "a", "alive"}}, Move: &Move{"n4", "n1", "asked for"}, Here: &groupStatus}

// golden holds a value of each type that goes over the wire, every field set.
var golden = map[string]any{
	"create_session":  &CreateSession{TTL: "15s", Name: "web-2:4711", LockDelay: "0s"},
	"session_created": &SessionCreated{ID: "s-14", TTLMS: 15000, ExpiresInMS: ptr(int64(14990))},
	"kept_alive":      &KeptAlive{TTLMS: 15000, ExpiresInMS: 14990, HeldMS: 5000, Revision: 50, Events: []Event{event}, Missed: true},
	"acquire":         &Acquire{Session: "s-14", TTL: "30s", Mode: ModeExclusive, Slots: 1, Note: "nightly"},
	"grant":           &Grant{Name: "nightly", Session: "s-14", Fence: 37, Mode: ModeExclusive, Slots: 2, ExpiresInMS: ptr(int64(15000)), WaitedMS: 12},
	"acquire_all":     &AcquireAll{Session: "s-14", Names: []string{"a", "b"}, Note: "n"},
	"grants":          &Grants{Locks: []Held{{"a", 37}, {"b", 37}}},
	"ask_yield":       &AskYield{Within: "10s", Reason: "deploy"},
	"fence":           &Fence{Fence: 37},
	"highest":         &Highest{Highest: 37},
	"campaign":        &Campaign{Session: "s-14", TTL: "30s", Value: "http://n1", Note: "n"},
	"proclaim":        &Proclaim{Value: "http://n1"},
	"transfer":        &Transfer{To: "s-15"},
	"term":            &Term{Name: "web", Session: "s-14", Term: 37, ExpiresInMS: ptr(int64(15000)), WaitedMS: 12},
	"election": &Election{Name: "web", Leader: &Leader{"s-14", "web-2", 37, "http://n1", ptr(int64(5)), ptr(int64(9))},
		Candidates: []Candidate{{"s-15", "web-3", "http://n2", 40}}, Past: []Past{{"s-1", "web-1", 12, 30, "transferred"}}, ChangedRevision: 38},
	"put": &Put{Key: "app/color", Revision: 42, Version: 2, Created: true},
	"sessions": &Sessions{Revision: 50, Next: "s-14", Sessions: []SessionInfo{{ID: "s-14", Name: "web-2", TTLMS: 15000, LockDelayMS: 1,
		ExpiresInMS: ptr(int64(9000)), CreatedRevision: 14, Bound: "nightly"}}},
	"session": &Session{SessionInfo: SessionInfo{ID: "s-14", TTLMS: 15000, CreatedRevision: 14},
		Holds: []Held{{"nightly", 37}}, Waits: []string{"a"}, Keys: []string{"k"}},
	"locks": &Locks{Revision: 50, Next: "nightly", Locks: []Lock{lock}},
	"entries": &Entries{Revision: 50, Next: "b", Prefixes: []string{"c/"}, Entries: []Entry{entry,
		{Key: "b", ValueBase64: ptr("/w=="), Revision: 43, CreatedRevision: 43, Version: 1}}},
	"transaction": &Transaction{
		If: []If{{Key: ptr("k"), Revision: ptr(uint64(0)), Exists: ptr(true), Value: ptr("v"), ValueBase64: ptr("/w=="), Session: ptr("s-14"),
			Lock: ptr("nightly"), Fence: ptr(uint64(37))}},
		Then: []Op{op}, Else: []Op{op}},
	"transacted": &Transacted{Succeeded: true, Revision: 50, Failed: []Failed{{1, 41}},
		Results: []Result{{Op: "get", Key: "a", Entry: &entry, Deleted: ptr(0)}}},
	"event":       &event,
	"explanation": &Explanation{Name: "nightly", Free: true, Reasons: []Reason{{ReasonHeld, "web-2 holds it"}}, Position: 2, Lock: &lock},
	"problem":     problem,
	"status": &Status{ID: "00000000000000a1", Name: "n1", Cluster: "c", Version: "v1", Zone: "z", HTTP: "http://n1:7480", UptimeMS: 1,
		Groups: []GroupStatus{groupStatus},
		Links:  []Link{{"n2", true, "alive", 0.3}}, Counts: GroupCounts{4, 1, 2, 9}, Disk: Disk{true, "r", 0.5, 10, 20, "append"}, Health: Health{true, "r", 1}},
	"members": &Members{Members: []Member{{ID: "00000000000000a1", Name: "n1", HTTP: "http://n1:7480", Peer: "n1:7481", Zone: "z",
		Version: "v1", Gossip: "alive", Link: "self", RTTMS: 0.5, Roles: map[string]string{MainGroup: RoleLeader}, Groups: 3, Removed: true}}},
	"node_event":     &nodeEvent,
	"node_events":    &NodeEvents{Events: []NodeEvent{nodeEvent}, Next: 1<<32 + 8},
	"rtt":            &RTT{Node: "n1", QuorumMS: 0.5, RoundTrips: []RoundTrip{{"n2", 0.5, 1.5, 0.75, 0.25, 0.625}}},
	"hand_over":      &HandOver{To: "n2"},
	"handed_over":    &HandedOver{From: "n1", To: "n2", TookMS: 1.5},
	"group":          &group,
	"groups":         &Groups{Groups: []Group{group}, Cursor: "orders"},
	"create_group":   &CreateGroup{Name: "orders", Replicas: 3, Zones: []string{"a", "b"}, Near: "n1"},
	"resize_group":   &ResizeGroup{Replicas: 5},
	"move_member":    &MoveMember{From: "n1", To: "n4"},
	"rebalance":      &Rebalance{DryRun: true, Limit: 10},
	"rebalanced":     &Rebalanced{DryRun: true, Steps: []RebalanceStep{{"orders", "member", "n1", "n4", "two members in zone a", "another change is under way"}}},
	"add_member":     &AddMember{Node: "n4"},
	"replace_member": &ReplaceMember{By: "n4"},
	"member_change":  &MemberChange{Node: "00000000000000a1", Name: "n1", By: "n4", Groups: []string{MainGroup, "orders"}},
	"ready":          &Ready{Ready: false, Checks: []Check{{"joined", true, "d"}}},
}

var nodeEvent = NodeEvent{ID: 1<<32 + 7, Time: "2026-01-02T03:04:05.678901234Z", Node: "n1", Kind: "link-down", Group: MainGroup, Peer: "n2",
	Ballot: "3.1", Reason: "no answer for too long", Text: "n1 lost its link to n2: no answer for too long", Problem: problem}

var event = Event{Type: EventPut, Revision: 42, More: true, Name: "a", Entry: &entry, Session: "s-14", Owner: "web-2", Fence: 37, Mode: ModeExclusive,
	Value: "v", WithinMS: 10000, Reason: "deploy", Problem: problem}

// The files in testdata are promises to clients: a change of one breaks them.
// UPDATE=1 writes them anew.
func TestGolden(t *testing.T) {
	for name, v := range golden {
		got, err := json.MarshalIndent(v, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, '\n')
		file := filepath.Join("testdata", name+".json")
		if os.Getenv("UPDATE") != "" {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("%s changed:\n%s", name, got)
		}
		back := reflect.New(reflect.TypeOf(v).Elem()).Interface()
		if err := json.Unmarshal(want, back); err != nil || !reflect.DeepEqual(back, v) {
			t.Errorf("%s does not come back: %+v, %v", name, back, err)
		}
		if hole := unset(reflect.ValueOf(v).Elem()); hole != "" && name != "ready" {
			t.Errorf("%s: %s is not set, so its name is not tested", name, hole)
		}
	}
}

// unset returns the first field of v that is zero, not looking into pointers,
// maps and further elements of lists.
func unset(v reflect.Value) string {
	for i := range v.NumField() {
		f, name := v.Field(i), v.Type().Field(i).Name
		switch {
		case f.IsZero() && name != "ValueBase64":
			return name
		case f.Kind() == reflect.Slice && f.Index(0).Kind() == reflect.Struct:
			if hole := unset(f.Index(0)); hole != "" {
				return name + "." + hole
			}
		}
	}
	return ""
}

func TestProblemIsAnError(t *testing.T) {
	var err error = golden["problem"].(*Problem)
	if p, ok := errors.AsType[*Problem](err); !ok || p.Error() != "409 lock-held: held by web-2" {
		t.Errorf("%v", err)
	}
	if s := (&Problem{Status: 503, Code: CodeNoLeader, Title: "No leader"}).Error(); s != "503 no-leader: No leader" {
		t.Error(s)
	}
}

func TestGuard(t *testing.T) {
	for _, name := range []string{"nightly", "a/b//..", "semi;fence=1", "100%", `qu"ote`, "grüße", " blank ", "new\nline", "a,b"} {
		s := FormatGuard(name, 37)
		if strings.ContainsAny(s, "\n\r ") {
			t.Errorf("%q cannot be a header", s)
		}
		if lock, fence, err := ParseGuard(s); lock != name || fence != 37 || err != nil {
			t.Errorf("%q came back from %q as %q, %d, %v", name, s, lock, fence, err)
		}
	}
	if lock, fence, err := ParseGuard("a/b ; fence=7"); lock != "a/b" || fence != 7 || err != nil {
		t.Errorf("by hand: %q, %d, %v", lock, fence, err)
	}
	for _, s := range []string{"", ";", "a", "a;", ";fence=1", "a;fence=", "a;fence=0", "a;fence=-1", "a;fence=1;x=2", "a;fence=9007199254740992", "%zz;fence=1", "a;fence=1e3"} {
		if lock, fence, err := ParseGuard(s); err == nil {
			t.Errorf("%q passes as %q, %d", s, lock, fence)
		}
	}
}

func TestGroupNames(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "0": true, "orders-eu.2_x": true, strings.Repeat("a", 64): true,
		"": false, strings.Repeat("a", 65): false, ".": false, "..": false, ".a": false, "-a": false, "_a": false,
		"A": false, "a/b": false, "a:move": false, "a b": false, "ä": false, "a\x00": false, "a%41": false,
	} {
		if got := ValidGroupName(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestETag(t *testing.T) {
	for s, want := range map[string]uint64{`"41"`: 41, `41`: 41, ` "41" `: 41, `"0"`: 0, `"9007199254740991"`: MaxNumber} {
		if n, weak, err := ParseETag(s); n != want || weak || err != nil {
			t.Errorf("%s: %d, %v, %v", s, n, weak, err)
		}
	}
	if n, weak, err := ParseETag(`W/"41"`); n != 41 || !weak || err != nil {
		t.Errorf("weak: %d, %v, %v", n, weak, err)
	}
	for _, s := range []string{"", `"`, `""`, `"41`, `"a"`, "+1", "-1", "1 2", "0x1", "9007199254740992", "99999999999999999999", "٤١"} {
		if n, _, err := ParseETag(s); err == nil {
			t.Errorf("%s passes as %d", s, n)
		}
	}
	if FormatETag(41) != `"41"` {
		t.Error(FormatETag(41))
	}
}
