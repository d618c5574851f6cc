package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/api"
)

// A writer changes one entry again and again, each time on the condition that it is as
// its last change has left it. A change that is lost or done twice breaks the chain.
type writer struct {
	group, key string
	urls       []string // of nodes, the first one asked first
	changes    atomic.Int64
	unknown    int                   // attempts of which nobody could tell what became of them
	longest    time.Duration         // that an attempt took
	err        atomic.Pointer[error] // why it has stopped
}

func (w *writer) path() string { return "/v1/groups/" + w.group + "/config/" + w.key }

// run makes changes until stop is closed.
func (w *writer) run(t *testing.T, stop <-chan struct{}) {
	match := []string{"If-None-Match", "*"}
	for {
		select {
		case <-stop:
			return
		default:
		}
		i := w.changes.Load() + 1
		put, err := w.change(t, i, append(match, "Idempotency-Key", fmt.Sprintf("%s-%d", w.key, i)))
		if err != nil {
			err = fmt.Errorf("change %d of %s in %s: %w", i, w.key, w.group, err)
			w.err.Store(&err)
			return
		}
		match = []string{"If-Match", strconv.Quote(strconv.FormatUint(put.Revision, 10))}
		w.changes.Store(i)
		if err := w.read(t, i); err != nil {
			err = fmt.Errorf("read of %s in %s after change %d: %w", w.key, w.group, i, err)
			w.err.Store(&err)
			return
		}
	}
}

// change makes one change, at one node after the other until it is acknowledged.
func (w *writer) change(t *testing.T, i int64, header []string) (put api.Put, err error) {
	for try := 0; ; try++ {
		begun := time.Now()
		status, body := call(t, http.MethodPut, w.urls[try%len(w.urls)]+w.path(), fmt.Sprint(i), header...)
		w.longest = max(w.longest, time.Since(begun))
		switch {
		case status == http.StatusOK || status == http.StatusCreated:
			if err := json.Unmarshal([]byte(body), &put); err != nil || put.Version != uint64(i) {
				return put, fmt.Errorf("acknowledged by %s (%w)", body, err)
			}
			return put, nil
		case status == http.StatusServiceUnavailable || status == http.StatusMisdirectedRequest:
		case status == http.StatusGatewayTimeout || status == 0:
			w.unknown++
		default:
			return put, fmt.Errorf("status %d: %s", status, body)
		}
		if try == 1000 {
			return put, fmt.Errorf("never acknowledged; last was %d %s", status, body)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// read reads what change i has left, at any node: nobody else changes it, and reads are
// linearizable.
func (w *writer) read(t *testing.T, i int64) error {
	for try := range int64(1000) {
		begun := time.Now()
		status, body := call(t, http.MethodGet, w.urls[(i+try)%int64(len(w.urls))]+w.path(), "")
		w.longest = max(w.longest, time.Since(begun))
		switch {
		case status == http.StatusOK && body == fmt.Sprint(i):
			return nil
		case status == http.StatusServiceUnavailable || status == 0:
			time.Sleep(10 * time.Millisecond)
		default:
			return fmt.Errorf("%d %s", status, body)
		}
	}
	return errors.New("no answer")
}

// writers has one client of each node change an entry in each of the groups. The
// function that it returns waits until each of them has made so many changes more.
func writers(t *testing.T, c *Cluster, groups ...string) (all []*writer, more func(n int64), end func()) {
	stop, running := make(chan struct{}), sync.WaitGroup{}
	for _, g := range groups {
		states := c.States()
		for i := range states {
			w := &writer{group: g, key: "w-" + states[i].Name}
			for k := range states {
				w.urls = append(w.urls, states[(i+k)%len(states)].URL)
			}
			all = append(all, w)
			running.Go(func() { w.run(t, stop) })
		}
	}
	more = func(n int64) {
		t.Helper()
		for _, w := range all {
			from := w.changes.Load()
			until(t, "changes of "+w.key+" in "+w.group, func() bool {
				if err := w.err.Load(); err != nil {
					t.Fatal(*err)
				}
				return w.changes.Load() >= from+n
			})
		}
	}
	return all, more, sync.OnceFunc(func() { close(stop); running.Wait() })
}

// A group and main grow to five voters and shrink to three, twice, and the leader of
// the group moves away, while five clients of each change entries. Every change that was
// acknowledged is there, each was made once, and who votes no more serves all the same.
func TestVotersComeAndGoUnderWrites(t *testing.T) {
	c := many(t, nil)
	makeGroup(t, c, "n1", "g", 3)
	all, more, end := writers(t, c, "g", "main")
	defer end()
	more(3)
	for i, size := range []int{5, 3, 5, 3} {
		for k, group := range []string{"g", "main"} {
			via := url(t, c, fmt.Sprintf("n%d", (i+3*k)%5+1))
			eventually(t, http.MethodPatch, via+"/v1/groups/"+group, fmt.Sprintf(`{"replicas":%d}`, size), 200, 202)
		}
		for _, group := range []string{"g", "main"} {
			settled(t, c, "n2", group, size)
		}
		more(3)
	}
	var g api.Group
	member := settled(t, c, "n1", "g", 3).Members[0].Name
	until(t, "a leader", func() bool { return get(t, c, member, "g", &g) == 200 && g.Leader != "" })
	from := g.Leader
	eventually(t, http.MethodPost, url(t, c, "n1")+"/v1/groups/g:move", fmt.Sprintf(`{"from":%q}`, from), 202)
	until(t, "the leader's place is another's", func() bool {
		return get(t, c, "n3", "g", &g) == 200 && len(g.Members) == 3 && !has(g, from) && g.Move == nil
	})
	more(3)
	end()

	changes, unknown, longest := int64(0), 0, time.Duration(0)
	for _, w := range all {
		if err := w.err.Load(); err != nil {
			t.Error(*err)
		}
		changes, unknown, longest = changes+w.changes.Load(), unknown+w.unknown, max(longest, w.longest)
		for _, s := range c.States() {
			body := eventually(t, http.MethodGet, s.URL+w.path(), "", 200)
			if want := fmt.Sprint(w.changes.Load()); body != want {
				t.Errorf("%s says that %s in %s is %q; %s changes were acknowledged", s.Name, w.key, w.group, body, want)
			}
		}
	}
	t.Logf("%d changes, %d attempts of unknown outcome; the longest took %v", changes, unknown, longest)
}
