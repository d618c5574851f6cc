package check

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/internal/sabotage"
	"github.com/prytany/prytany/jepsen/model"
	"github.com/prytany/prytany/jepsen/ops"
	"github.com/prytany/prytany/locks"
)

const (
	sessionExpired = string(api.CodeSessionExpired)
	sessionUnknown = string(api.CodeSessionUnknown)
	lockHeld       = string(api.CodeLockHeld)
)

// codes are the names of the machine's codes in the API.
var codes = map[locks.Code]string{
	locks.Internal: string(api.CodeInternal), locks.Invalid: string(api.CodeInvalid), locks.LockHeld: lockHeld,
	locks.LockUnknown: string(api.CodeLockUnknown), locks.SessionUnknown: sessionUnknown, locks.SessionExpired: sessionExpired,
	locks.StaleFence: string(api.CodeStaleFence), locks.RevisionMismatch: string(api.CodeRevisionMismatch),
	locks.KeyNotFound: string(api.CodeKeyNotFound), locks.KeyReused: string(api.CodeKeyReused),
	locks.Overloaded: string(api.CodeOverloaded), locks.OutcomeUnknown: string(api.CodeOutcomeUnknown),
	locks.TooLarge: string(api.CodeTooLarge), locks.LimitMismatch: string(api.CodeLimitMismatch),
	locks.UpgradeRefused: string(api.CodeUpgradeRefused), locks.SessionNeeded: string(api.CodeSessionNeeded),
	locks.NotCandidate: string(api.CodeNotCandidate),
}

// differs says how the machine's result differs from the model's answer, "" if it does
// not.
func differs(cmd locks.Command, r locks.Result, a model.Answer) string {
	if r.Refused != (a.Code != "") || r.Refused && codes[r.Code] != a.Code {
		return fmt.Sprintf("the machine says %q, the model %q", codeOf(r), a.Code)
	}
	if r.Refused {
		if r.Current != a.Current {
			return fmt.Sprintf("the machine refuses because of %d, the model because of %d", r.Current, a.Current)
		}
		return differsAll(cmd, r, a)
	}
	switch cmd.(type) {
	case *locks.LeadCommand, *locks.ExpireCommand, *locks.DelayCommand, *locks.EndYieldCommand, *locks.ForgetCommand, *locks.CompactCommand:
		return ""
	case *locks.AcquireAllCommand:
		if text := differsAll(cmd, r, a); text != "" {
			return text
		}
	case *locks.AcquireCommand, *locks.ReleaseCommand, *locks.OpenCommand, *locks.EndCommand, *locks.YieldCommand, *locks.ProclaimCommand,
		*locks.TransferCommand, *locks.AdvanceCommand, *locks.ForgetFenceCommand:
		if r.Session != a.Session || r.Fence != a.Fence || r.Queued != a.Queued {
			return fmt.Sprintf("the machine says session %s, fence %d, queued %v; the model session %s, fence %d, queued %v",
				r.Session, r.Fence, r.Queued, a.Session, a.Fence, a.Queued)
		}
	case *locks.TxnCommand:
		t, err := locks.DecodeTxn(r.Body)
		if err != nil {
			return fmt.Sprintf("the machine's answer cannot be read: %v", err)
		}
		got := map[string]model.Entry{}
		for _, d := range t.Steps {
			if d.Kind == locks.OpGet {
				got[d.Key] = model.Entry{Value: string(d.Value), Revision: d.Revision, Session: d.Session}
			}
		}
		if t.Succeeded != a.Done || !maps.Equal(got, a.Reads) {
			return fmt.Sprintf("the machine says %v and read %v; the model %v and %v", t.Succeeded, got, a.Done, a.Reads)
		}
	}
	if r.Revision != a.Revision {
		return fmt.Sprintf("the machine says revision %d, the model %d", r.Revision, a.Revision)
	}
	return ""
}

// differsAll compares what is said of each of several locks.
func differsAll(cmd locks.Command, r locks.Result, a model.Answer) string {
	if _, ok := cmd.(*locks.AcquireAllCommand); !ok || r.Refused && r.Code != locks.LockHeld {
		return ""
	}
	items, err := locks.DecodeHeld(r.Body)
	if err != nil {
		return fmt.Sprintf("the machine's answer cannot be read: %v", err)
	}
	is, must := map[string]string{}, map[string]string{}
	for _, h := range items {
		is[h.Name] = fmt.Sprintf("%s with fence %d", h.Holder.Session, h.Holder.Fence)
	}
	for name, g := range a.All {
		must[name] = fmt.Sprintf("%s with fence %d", g.Session, g.Fence)
	}
	if !maps.Equal(is, must) {
		return fmt.Sprintf("the machine says %v, the model %v", is, must)
	}
	return ""
}

func codeOf(r locks.Result) string {
	if !r.Refused {
		return ""
	}
	return codes[r.Code]
}

// change puts a change to its place in the log.
func (p *proof) change(o *ops.Op) {
	p.answers.Counts["changes"]++
	if o.Request == "" && o.Answered() && (o.Revision == 0 || o.Revision > p.log.Last()) {
		p.answers.Doubt("line %d is a change without a request and without a revision of the log", o.Seq)
		return
	}
	where := p.byID[o.Request]
	versions := slices.Concat(p.state.Answers(o.Request), p.cancels[o.Request])
	if o.Request == "" {
		if !o.Answered() {
			return // nobody can tell which it would be
		}
		where, versions = []int{int(o.Revision - 1)}, []model.Answer{p.at[o.Revision-1]}
	}
	for _, i := range where {
		if text := otherwise(o, p.log.Commands[i].Command); text != "" {
			p.answers.Fail(fmt.Sprintf("revision %d of the log is not what was asked: %s", i+1, text), about(o))
			return
		}
	}
	if p.strange != "" && len(versions) == 0 {
		return
	}
	switch {
	case len(where) == 0 && o.Kind == history.OK:
		p.effects.Fail("it was acknowledged, and is not in the log", about(o))
	case len(where) == 0 && o.Answered() && !p.excused(o, nil):
		p.effects.Fail("it was answered by the log, and is not in it", about(o))
	case len(where) == 0 && o.Kind == history.Info && !p.final:
		p.effects.Doubt("the logs of a majority are not here: nobody can tell that line %d did not happen", o.Seq)
	case o.Kind == history.OK:
		p.acknowledged(o, where, versions)
	case o.Answered():
		p.refused(o, where, versions)
	case o.Kind == history.Fail:
		for _, a := range versions {
			if granted(a) && !p.excused(o, versions) {
				p.effects.Fail(fmt.Sprintf("it was said to have failed, and took effect at revision %d", a.Revision), about(o))
				return
			}
		}
	case o.Kind == history.Info:
		p.effects.Counts["unknown"]++
		if i := slices.IndexFunc(versions, granted); i >= 0 {
			p.effects.Counts["of these in the log"]++
			p.points = append(p.points, point{o, versions[i].Revision, versions[i].Revision, true})
		}
	}
}

func granted(a model.Answer) bool { return a.Code == "" && !a.Queued }

// acknowledged compares a success with the answers that the log gave.
func (p *proof) acknowledged(o *ops.Op, where []int, versions []model.Answer) {
	why := "the log has it waiting"
	for _, a := range versions {
		if a.Queued {
			continue
		}
		if why = mismatch(o, a); why != "" {
			continue
		}
		p.points = append(p.points, point{o, a.Revision, a.Revision, true})
		if o.F == history.Acquire { // the answer may come from anywhere after the grant
			if _, to, ok := p.log.At(o.Slot); o.Slot != 0 && (!ok || to < a.Revision) {
				p.answers.Fail(fmt.Sprintf("it took effect at revision %d, and the answer names an earlier slot, or none", a.Revision), about(o))
			}
			return
		}
		if o.Revision != 0 && o.Revision != a.Revision {
			p.answers.Fail(fmt.Sprintf("it took effect at revision %d, and the answer names another", a.Revision), about(o))
		}
		if o.Slot != 0 && !slices.ContainsFunc(where, func(i int) bool { return p.log.Commands[i].Slot == o.Slot }) {
			p.answers.Fail("it is not in the slot that the answer names", about(o))
		}
		return
	}
	p.answers.Fail(why, about(o))
}

// refused compares a refusal with the answers that the log gave.
func (p *proof) refused(o *ops.Op, where []int, versions []model.Answer) {
	for _, a := range versions {
		if a.Code != o.Code || !sameCurrent(o, a) {
			continue
		}
		p.points = append(p.points, point{o, a.Revision, a.Revision, true})
		return
	}
	for _, i := range where { // one of several attempts may have found something full
		if p.at[i].Code == o.Code {
			return
		}
	}
	if !p.excused(o, versions) {
		p.answers.Fail(fmt.Sprintf("it was refused as %s, and the log says %s", o.Code, spell(versions)), about(o))
	}
}

// spell names answers.
func spell(versions []model.Answer) string {
	var out []string
	for _, a := range versions {
		switch {
		case a.Code != "":
			out = append(out, a.Code)
		case a.Queued:
			out = append(out, "wait")
		default:
			out = append(out, "yes")
		}
	}
	return fmt.Sprint(out)
}

// sameCurrent reports whether a refusal tells of the revision that was in the way.
func sameCurrent(o *ops.Op, a model.Answer) bool {
	if o.Code != string(api.CodeRevisionMismatch) {
		return sameWhy(o, a)
	}
	switch o.F {
	case history.Put:
		r, err := history.Decode[history.PutResult](o.Result)
		return err == nil && r.Current == a.Current
	case history.Delete:
		r, err := history.Decode[history.DeleteResult](o.Result)
		return err == nil && r.Current == a.Current
	}
	return true
}

// excused reports whether a refusal that no answer of the log to this request gives
// follows from the rest of the log: who asks for a lock, or a session, may be told that
// the session ended before the answer, or that the grant did.
func (p *proof) excused(o *ops.Op, versions []model.Answer) bool {
	ids := []string{o.Session}
	for _, a := range versions {
		ids = append(ids, a.Session)
	}
	dead := slices.ContainsFunc(ids, func(id string) bool { return p.dead[id] != 0 })
	switch o.Code {
	case sessionExpired:
		return dead
	case lockHeld:
		return o.F == history.Acquire && slices.ContainsFunc(versions, func(a model.Answer) bool {
			s := p.grants[grant{o.Key, a.Fence, a.Session}]
			_, seen, _ := p.log.At(o.Slot)
			return granted(a) && s != nil && s.to != 0 && s.to <= cmp.Or(o.Revision, seen)
		})
	}
	return false
}

// mismatch says how a success differs from an answer, "" if it does not.
func mismatch(o *ops.Op, a model.Answer) string {
	if sabotage.On(sabotage.AcceptAll) {
		return ""
	}
	if a.Code == sessionExpired && o.Soft() {
		return ""
	}
	if a.Code != "" {
		return fmt.Sprintf("it was acknowledged, and the log refuses it as %s", a.Code)
	}
	bad := ""
	differ := func(what string, got, want any) {
		if bad == "" && got != want {
			bad = fmt.Sprintf("the answer says %s %v, and the log %v", what, got, want)
		}
	}
	var err error
	switch o.F {
	case history.Put:
		var r history.PutResult
		r, err = history.Decode[history.PutResult](o.Result)
		differ("revision", r.Revision, a.Revision)
	case history.Txn:
		var r history.TxnResult
		r, err = history.Decode[history.TxnResult](o.Result)
		differ("done", r.Done, a.Done)
		if r.Revision != 0 {
			differ("revision", r.Revision, a.Revision)
		}
		for key, e := range r.Read {
			want, asked := a.Reads[key]
			differ("read "+key, asked, true)
			differ(key, e, history.GetResult{Found: want.Revision != 0, Value: want.Value, Revision: want.Revision})
		}
		differ("number of reads", len(r.Read), len(a.Reads))
	case history.Open:
		var r history.OpenResult
		r, err = history.Decode[history.OpenResult](o.Result)
		differ("session", o.Session, a.Session)
		if r.TTL != 0 {
			differ("ttl", time.Duration(r.TTL).Truncate(time.Millisecond), a.TTL.Truncate(time.Millisecond))
		}
	case history.Acquire:
		differ("session", o.Session, a.Session)
		differ("fence", o.Fence, a.Fence)
	default:
		err = mistoldOrder(o, a, differ)
	}
	if err != nil {
		return err.Error()
	}
	return bad
}
