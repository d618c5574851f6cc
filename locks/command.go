package locks

import "github.com/prytany/prytany/locks/internal/command"

// What the log of a group carries, and what comes back. Whoever looks into a
// log, as a simulator does, reads these; others need only the [Service].
type (
	// A Command is one change, as [Decode] returns it.
	Command = command.Command
	// A Request makes a command recognisable when it comes again.
	Request = command.Request

	// LeadCommand begins a leadership.
	LeadCommand = command.Lead
	// ForgetCommand drops old answers.
	ForgetCommand = command.Forget
	// DelayCommand ends a lock-delay.
	DelayCommand = command.EndDelay
	// ExpireCommand ends a session whose lease ran out.
	ExpireCommand = command.Expire
	// OpenCommand makes a session.
	OpenCommand = command.Open
	// EndCommand ends one at its wish.
	EndCommand = command.End
	// AcquireCommand asks for a lock.
	AcquireCommand = command.Acquire
	// AcquireAllCommand asks for several, all or none.
	AcquireAllCommand = command.AcquireAll
	// CancelCommand gives up a place in a queue.
	CancelCommand = command.Cancel
	// ReleaseCommand ends a grant.
	ReleaseCommand = command.Release
	// YieldCommand asks holders to let go.
	YieldCommand = command.Yield
	// EndYieldCommand ends grants whose holders did not.
	EndYieldCommand = command.EndYield
	// ProclaimCommand changes what a leader publishes.
	ProclaimCommand = command.Proclaim
	// TransferCommand hands leadership over.
	TransferCommand = command.Transfer
	// AdvanceCommand raises the highest fence that a resource has seen.
	AdvanceCommand = command.Advance
	// ForgetFenceCommand removes the register of a resource.
	ForgetFenceCommand = command.ForgetFence
	// TxnCommand is a transaction.
	TxnCommand = command.Txn
	// CompactCommand drops old events.
	CompactCommand = command.Compact
	// PutCommand changes a config entry.
	PutCommand = command.Put
	// DeleteCommand removes a config entry.
	DeleteCommand = command.Delete

	// A Result is what applying a command returned.
	Result = command.Result
	// A Code classifies an error for programs. Codes are part of the API: never
	// renumber or reuse one.
	Code = command.Code
	// A Guard admits a change only while the grant of Fence on Lock is current.
	Guard = command.Guard

	// An If is a condition of a transaction.
	If = command.If
	// An IfKind says what an If is about.
	IfKind = command.IfKind
	// An Op is one step of a transaction.
	Op = command.Op
	// An OpKind says what an Op does.
	OpKind = command.OpKind
	// A TxnResult is what a transaction did.
	TxnResult = command.TxnResult
	// A HeldItem tells of one lock in the answer to an AcquireAll.
	HeldItem = command.HeldLock
	// A Failed condition of a transaction.
	Failed = command.Failed
	// A Done is what one operation of a transaction did.
	Done = command.Done

	// A Question is what [Machine.Ask] takes.
	Question = command.Question
	// An Answer is what it returns.
	Answer = command.Answer
	// A Lease is the leader's answer about one session.
	Lease = command.Lease
	// A LeaseState is what became of one.
	LeaseState = command.LeaseState
)

// The states of a lease.
const (
	LeaseAlive   = command.LeaseAlive
	LeaseEnding  = command.LeaseEnding
	LeaseUnknown = command.LeaseUnknown
	LeaseOver    = command.LeaseOver
)

// The kinds of conditions of a transaction.
const (
	IfRevision = command.IfRevision // the entry Name has Revision; 0: it is absent
	IfExists   = command.IfExists   // there is an entry Name
	IfAbsent   = command.IfAbsent   // there is no entry Name
	IfValue    = command.IfValue    // the entry Name has Value
	IfAlive    = command.IfAlive    // the session Name is alive
	IfCurrent  = command.IfCurrent  // a grant of Revision on the lock Name is current
)

// The kinds of operations of a transaction.
const (
	OpPut          = command.OpPut
	OpGet          = command.OpGet
	OpDelete       = command.OpDelete
	OpDeletePrefix = command.OpDeletePrefix // of all entries whose keys begin with Key
)

// Encode returns the bytes of cmd.
func Encode(cmd Command) []byte { return command.Encode(cmd) }

// Decode is the inverse of [Encode]. It never panics.
func Decode(data []byte) (Command, error) { return command.Decode(data) }

// DecodeResult reads what [Machine.Apply] returned.
func DecodeResult(data []byte) (Result, error) { return command.DecodeResult(data) }

// DecodeHeld reads the Body of the [Result] of an [AcquireAllCommand].
func DecodeHeld(body string) ([]HeldItem, error) { return command.DecodeHeld(body) }

// EncodeHeld is the inverse of [DecodeHeld].
func EncodeHeld(items []HeldItem) string { return command.EncodeHeld(items) }

// DecodeAnswer reads what [Machine.Ask] returned.
func DecodeAnswer(data []byte) (Answer, error) { return command.DecodeAnswer(data) }

// refused returns the result of a command without effect.
func refused(code Code, detail string) Result {
	return Result{Refused: true, Code: code, Detail: detail}
}

// DecodeTxn reads the body of a transaction's result.
func DecodeTxn(body string) (TxnResult, error) { return command.DecodeTxn(body) }
