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
	// CancelCommand gives up a place in a queue.
	CancelCommand = command.Cancel
	// ReleaseCommand ends a grant.
	ReleaseCommand = command.Release
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

// Encode returns the bytes of cmd.
func Encode(cmd Command) []byte { return command.Encode(cmd) }

// Decode is the inverse of [Encode]. It never panics.
func Decode(data []byte) (Command, error) { return command.Decode(data) }

// DecodeResult reads what [Machine.Apply] returned.
func DecodeResult(data []byte) (Result, error) { return command.DecodeResult(data) }

// DecodeAnswer reads what [Machine.Ask] returned.
func DecodeAnswer(data []byte) (Answer, error) { return command.DecodeAnswer(data) }

// refused returns the result of a command without effect.
func refused(code Code, detail string) Result {
	return Result{Refused: true, Code: code, Detail: detail}
}
