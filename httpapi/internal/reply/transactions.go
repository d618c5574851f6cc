package reply

import (
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
)

// The Operations of a transaction, by their names.
var Operations = map[string]locks.OpKind{
	"put": locks.OpPut, "get": locks.OpGet, "delete": locks.OpDelete, "delete_prefix": locks.OpDeletePrefix,
}

// Transacted returns what a transaction did at a revision.
func Transacted(r locks.TxnResult, revision uint64) api.Transacted {
	return api.Transacted{Succeeded: r.Succeeded, Revision: revision, Failed: failed(r.Failed), Results: Each(r.Steps, result)}
}

func failed(list []locks.Failed) (out []api.Failed) {
	for _, f := range list {
		out = append(out, api.Failed{Index: f.Index, Current: f.Current})
	}
	return out
}

func result(d locks.Done) api.Result {
	out := api.Result{Key: d.Key}
	for name, kind := range Operations {
		if kind == d.Kind {
			out.Op = name
		}
	}
	switch {
	case d.Kind == locks.OpDelete || d.Kind == locks.OpDeletePrefix:
		n := int(d.Deleted)
		out.Deleted = &n
	case d.Kind == locks.OpPut || d.Found:
		out.Entry = &api.Entry{
			Key: d.Key, ContentType: d.ContentType, Revision: d.Revision,
			CreatedRevision: d.Created, Version: d.Version, Session: d.Session,
		}
		if d.Found {
			out.Entry.Value, out.Entry.ValueBase64 = api.EncodeValue(d.Value)
		}
	}
	return out
}
