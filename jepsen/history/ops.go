package history

import (
	"encoding/json"
	"fmt"
)

// What is called: the F of a call. Args and Result are the types named; a result
// belongs to OK, and to a Fail with a slot.
const (
	// A register with compare-and-set: an entry of the config store. Values are
	// unique in a run.
	Put    = "put"    // PutArgs; PutResult
	Get    = "get"    // nothing; GetResult
	Delete = "delete" // DeleteArgs; DeleteResult

	// Several registers changed at once, Key is a name for the set.
	Txn = "txn" // TxnArgs; TxnResult

	// Sessions. Key is "" in the call that opens one.
	Open      = "open"      // OpenArgs; OpenResult. Session is in the event
	KeepAlive = "keepalive" // nothing; KeepAliveResult. An OK counts the lease from its Invoke
	CloseS    = "close"     // nothing; nothing

	// Locks, semaphores (Slots above 1) and elections (Value given), which wait for
	// their turn. Fence and Session are in the event.
	Acquire = "acquire" // AcquireArgs; AcquireResult. Fail with code lock_held: denied
	Release = "release" // ReleaseArgs; nothing
	Holder  = "holder"  // nothing; HolderResult: a linearizable read of who holds Key

	// Several locks at once, or none; Key is a name for the set. Session is in the event.
	AcquireAll = "acquire-all" // AcquireAllArgs; AcquireAllResult. Fail with code lock_held: none was granted
	// Whoever holds Key is asked to let go.
	Yield = "yield" // YieldArgs; nothing. Fail with code lock_unknown: nobody holds it

	// What leaders of the election Key do. Fence is the term, in the event too.
	Proclaim = "proclaim" // ProclaimArgs; nothing. Fail with code stale_fence: the term is over
	Transfer = "transfer" // TransferArgs; nothing. Fence and Session of an OK: of the new term

	// The register of fences of a resource, Key.
	Advance     = "advance"      // FenceArgs; FenceResult. Fail with code stale_fence: a higher one was seen
	ForgetFence = "forget-fence" // FenceArgs; FenceResult. Fail with code stale_fence: it is not that one
	GetFence    = "get-fence"    // nothing; FenceResult

	// What a holder believes: the interval in which the client library says that the
	// lock is held. Invoke when it begins, OK when it ends; Fence says of which grant.
	Belief = "belief" // nothing; nothing

	// A resource beside the service, guarded by the lock Key: a set of numbers, and a
	// counter that is read, then written. It has its own clock-free order: Result says
	// the place of the operation in it.
	ResourceRead  = "resource-read"  // ResourceArgs; ResourceResult
	ResourceWrite = "resource-write" // ResourceArgs; ResourceResult. Fail: a lower fence than the highest seen

	// One event of a watch, an OK without an Invoke; Process is the watcher. A watch that
	// says that it cannot go on (its start is too old) is a Fail, and one whose connection
	// breaks, or that the run ends, is an Info: the next event belongs to another stream.
	Watched = "watched" // WatchArgs; WatchResult
)

// The arguments and results; see the constants.
type (
	PutArgs struct {
		Value      string  `json:"value"`
		IfRevision *uint64 `json:"if_revision,omitempty"` // 0: only if there is none
	}
	PutResult struct {
		Revision uint64 `json:"revision,omitempty"` // of OK
		Current  uint64 `json:"current,omitempty"`  // of Fail with revision_mismatch: 0 if there is none
	}
	GetResult struct {
		Found    bool   `json:"found"`
		Value    string `json:"value,omitempty"`
		Revision uint64 `json:"revision,omitempty"`
	}
	DeleteArgs struct {
		IfRevision *uint64 `json:"if_revision,omitempty"`
	}
	DeleteResult struct {
		Revision uint64 `json:"revision,omitempty"` // of the deletion; 0: there was nothing to delete
		Current  uint64 `json:"current,omitempty"`  // of Fail with revision_mismatch
	}
	// TxnArgs: if all Guards hold, all Puts are made, else nothing. Then all Reads are read.
	TxnArgs struct {
		Guards map[string]uint64 `json:"guards,omitempty"` // key: its revision, 0 if there must be none
		Puts   map[string]string `json:"puts,omitempty"`
		Reads  []string          `json:"reads,omitempty"`
	}
	TxnResult struct {
		Done     bool                 `json:"done"`
		Revision uint64               `json:"revision,omitempty"`
		Read     map[string]GetResult `json:"read,omitempty"`
	}
	OpenArgs struct {
		TTL int64 `json:"ttl"` // ns
	}
	OpenResult struct {
		TTL int64 `json:"ttl"` // ns, as granted
	}
	KeepAliveResult struct {
		TTL int64 `json:"ttl"` // ns, that the lease lasts from the Invoke on
	}
	AcquireArgs struct {
		Wait   int64  `json:"wait,omitempty"` // ns; 0: at once or not at all
		Slots  int    `json:"slots,omitempty"`
		Shared bool   `json:"shared,omitempty"`
		Value  string `json:"value,omitempty"` // of a candidate
	}
	AcquireResult struct {
		HeldBy []Hold `json:"held_by,omitempty"` // of a Fail with lock_held, as far as it is told
	}
	ReleaseArgs struct {
		Fence uint64 `json:"fence,omitempty"`
	}
	Hold struct {
		Session string `json:"session"`
		Fence   uint64 `json:"fence"`
		Value   string `json:"value,omitempty"`
	}
	HolderResult struct {
		Holders []Hold `json:"holders"`
	}
	AcquireAllArgs struct {
		Locks []string `json:"locks"`
	}
	// AcquireAllResult: fences by lock, or one holder of each lock that was not to be had.
	AcquireAllResult struct {
		Fences map[string]uint64 `json:"fences,omitempty"`
		HeldBy map[string]Hold   `json:"held_by,omitempty"`
	}
	YieldArgs struct {
		Within int64 `json:"within,omitempty"` // ns, after which the grants end; 0: never
	}
	ProclaimArgs struct {
		Fence uint64 `json:"fence"`
		Value string `json:"value"`
	}
	TransferArgs struct {
		Fence uint64 `json:"fence,omitempty"` // the term that ends; 0: whichever there is
		To    string `json:"to"`              // the session of a candidate
	}
	FenceArgs struct {
		Fence uint64 `json:"fence"`
	}
	FenceResult struct {
		Highest uint64 `json:"highest,omitempty"` // 0: no fence was seen; of a Fail what was in the way
	}
	// ResourceArgs: Base is the Counter that the writer had read, Value what it adds
	// to the set. Unfenced resources take every write.
	ResourceArgs struct {
		Fenced bool   `json:"fenced"`
		Base   uint64 `json:"base,omitempty"`
		Value  uint64 `json:"value,omitempty"`
	}
	ResourceResult struct {
		Place   uint64   `json:"place"`             // order at the resource, from 1
		Counter uint64   `json:"counter"`           // as read, or after the write: Base + 1
		Set     []uint64 `json:"set,omitempty"`     // of a read
		Highest uint64   `json:"highest,omitempty"` // fence, as the resource has seen
	}
	WatchArgs struct {
		Prefix string `json:"prefix"`
		From   uint64 `json:"from"` // the revision from which on this stream (or its resumption) tells
		// Events are the types that were asked for, as the API names them; none means
		// those of the config store: put, delete and expire.
		Events []string `json:"events,omitempty"`
	}
	WatchResult struct {
		Type     string `json:"type"` // put, delete, progress, or what the API calls it
		Key      string `json:"key,omitempty"`
		Value    string `json:"value,omitempty"`
		Revision uint64 `json:"revision"`
	}
)

// Decode makes a T of Args or Result as they are read or written.
func Decode[T any](v any) (out T, err error) {
	if t, ok := v.(T); ok {
		return t, nil
	}
	b, err := json.Marshal(v)
	if err == nil && string(b) != "null" {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		return out, fmt.Errorf("history: %w", err)
	}
	return out, nil
}
