package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"

	"github.com/prytany/prytany/internal/api"
)

// A register is an entry that counts up, each write on the condition that the one before
// is the newest, so that none can be lost or happen twice unnoticed. One client writes it
// at a time.
type register struct {
	key string

	mu       sync.Mutex // held by whoever writes
	state    sync.Mutex
	version  uint64 // of the newest acknowledged write; each adds 1
	revision uint64
	open     bool // the fate of a try for the next one is not known
}

// A pair is two entries that are written together.
type pair struct {
	mu   sync.Mutex
	a, b register
}

func (r *register) acknowledge(revision uint64) {
	r.state.Lock()
	defer r.state.Unlock()
	r.version, r.revision, r.open = r.version+1, revision, false
}

func (r *register) doubt() {
	r.state.Lock()
	defer r.state.Unlock()
	r.open = true
}

// known returns the newest version that was acknowledged.
func (r *register) known() (version uint64, open bool) {
	r.state.Lock()
	defer r.state.Unlock()
	return r.version, r.open
}

// put writes a register, one time in five under a key of its own.
func (l *workload) put(ctx context.Context, dice *rand.Rand) ending {
	r := l.registers[dice.IntN(len(l.registers))]
	if !r.mu.TryLock() {
		return skipped
	}
	defer r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	headers := []string{"If-None-Match", "*"}
	if r.version > 0 {
		headers = []string{"If-Match", api.FormatETag(r.revision)}
	}
	if dice.IntN(5) == 0 {
		headers = append(headers, api.HeaderIdempotencyKey, strconv.FormatUint(dice.Uint64(), 36))
	}
	n := l.any(dice)
	l.sent.Add(valueSize)
	a := l.call(ctx, n, n.HTTP1, http.MethodPut, "/v1/config/"+r.key, value(r.version+1), headers...)
	var put api.Put
	switch e := a.ending(); {
	case e == done:
		if err := json.Unmarshal(a.body, &put); err != nil || put.Version != r.version+1 || put.Revision <= r.revision {
			l.breach(lostWrites, "%s: version %d at revision %d after version %d at %d", r.key, put.Version, put.Revision, r.version, r.revision)
		}
		r.acknowledge(put.Revision)
		return done
	case a.problem.Code == api.CodeRevisionMismatch:
		// Nobody else writes here: it must have been an earlier try.
		now := uint64(0)
		if a.problem.CurrentRevision != nil {
			now = *a.problem.CurrentRevision
		}
		if !r.open || now <= r.revision {
			l.breach(lostWrites, "%s: revision %d is current after version %d at %d was acknowledged", r.key, now, r.version, r.revision)
		}
		r.acknowledge(now)
		return done
	case e == unknown:
		r.doubt()
		return unknown
	}
	return refused
}

// get reads a register: what was acknowledged before must be seen.
func (l *workload) get(ctx context.Context, dice *rand.Rand) ending {
	r := l.registers[dice.IntN(len(l.registers))]
	least, _ := r.known()
	v, e := l.read(ctx, l.any(dice), r.key)
	if e == done && v < least {
		l.breach(lostWrites, "%s: version %d was read after %d was acknowledged", r.key, v, least)
	}
	return e
}

// read returns the version of an entry, 0 if there is none.
func (l *workload) read(ctx context.Context, n *node, key string) (version uint64, e ending) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	a := l.call(ctx, n, n.HTTP1, http.MethodGet, "/v1/config/"+key, "")
	var entry api.Entry
	switch {
	case a.status == http.StatusNotFound && a.problem.Code == api.CodeKeyNotFound:
		return 0, done
	case a.status != http.StatusOK || json.Unmarshal(a.body, &entry) != nil:
		return 0, refused
	}
	return entry.Version, done
}

// transact writes a pair.
func (l *workload) transact(ctx context.Context, dice *rand.Rand) ending {
	p := l.pairs[dice.IntN(len(l.pairs))]
	if !p.mu.TryLock() {
		return skipped
	}
	defer p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	text := value(p.a.version + 1)
	body, err := json.Marshal(api.Transaction{
		If:   []api.If{{Key: &p.a.key, Revision: &p.a.revision}, {Key: &p.b.key, Revision: &p.b.revision}},
		Then: []api.Op{{Put: &p.a.key, Value: &text}, {Put: &p.b.key, Value: &text}},
	})
	if err != nil {
		panic(err) // it is data
	}
	n := l.any(dice)
	l.sent.Add(2 * valueSize)
	a := l.call(ctx, n, n.HTTP1, http.MethodPost, "/v1/transactions", string(body))
	var out api.Transacted
	switch e := a.ending(); {
	case e == unknown:
		p.a.doubt()
		p.b.doubt()
		return unknown
	case e == refused:
		return refused
	}
	if err := json.Unmarshal(a.body, &out); err != nil {
		l.breach(lostWrites, "%s: an answer that is none: %s", p.a.key, a.body)
		return unknown
	}
	l.transacted(p, out)
	return done
}

// transacted takes the answer to the writing of a pair.
func (l *workload) transacted(p *pair, out api.Transacted) {
	if out.Succeeded {
		for i, r := range []*register{&p.a, &p.b} {
			if len(out.Results) != 2 || out.Results[i].Entry == nil || out.Results[i].Entry.Version != r.version+1 || out.Results[i].Entry.Revision <= r.revision {
				l.breach(lostWrites, "%s: %+v after version %d at %d", r.key, out.Results, r.version, r.revision)
				return
			}
			r.acknowledge(out.Results[i].Entry.Revision)
		}
		return
	}
	if !p.a.open || len(out.Failed) != 2 || out.Failed[0].Current != out.Failed[1].Current || out.Failed[0].Current <= p.a.revision {
		l.breach(lostWrites, "%s: %+v after version %d at %d was acknowledged", p.a.key, out.Failed, p.a.version, p.a.revision)
		return
	}
	p.a.acknowledge(out.Failed[0].Current)
	p.b.acknowledge(out.Failed[1].Current)
}

// verify reads everything at every node, and compares it with what was acknowledged.
func (l *workload) verify(ctx context.Context) {
	for _, n := range l.c.nodes {
		for _, r := range l.registers {
			if v, ok := l.surely(ctx, n, r.key); ok {
				l.compare(n.Name, r, v)
			}
		}
		for _, p := range l.pairs {
			a, ok := l.surely(ctx, n, p.a.key)
			b, ok2 := l.surely(ctx, n, p.b.key)
			if !ok || !ok2 {
				continue
			}
			l.compare(n.Name, &p.a, a)
			l.compare(n.Name, &p.b, b)
			if a != b {
				l.breach(lostWrites, "%s at %s: version %d, and the other of the pair %d", p.a.key, n.Name, a, b)
			}
		}
	}
}

// surely reads an entry, again and again if it must.
func (l *workload) surely(ctx context.Context, n *node, key string) (version uint64, ok bool) {
	for range 5 {
		if v, e := l.read(ctx, n, key); e == done {
			return v, true
		}
	}
	l.breach(lostWrites, "%s cannot be read at %s", key, n.Name)
	return 0, false
}

func (l *workload) compare(at string, r *register, version uint64) {
	known, open := r.known()
	if version == known || version == known+1 && open {
		return
	}
	l.breach(lostWrites, "%s", fmt.Sprintf("%s at %s: version %d; version %d was acknowledged", r.key, at, version, known))
}
