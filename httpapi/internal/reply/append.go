package reply

import (
	"strconv"
	"unicode/utf8"

	"github.com/prytany/prytany/internal/api"
)

// The functions here write what [JSON] writes, byte for byte, without reflection:
// for the replies that there are most of. FuzzAppend compares.

// AppendPut appends a put's reply to b.
func AppendPut(b []byte, v *api.Put) []byte {
	b = text(b, `{"key":`, v.Key)
	b = number(b, `,"revision":`, v.Revision)
	b = number(b, `,"version":`, v.Version)
	b = strconv.AppendBool(append(b, `,"created":`...), v.Created)
	return append(b, "}\n"...)
}

// AppendGrant appends a grant.
func AppendGrant(b []byte, v *api.Grant) []byte {
	b = text(b, `{"name":`, v.Name)
	b = text(b, `,"session":`, v.Session)
	b = number(b, `,"fence":`, v.Fence)
	b = text(b, `,"mode":`, v.Mode)
	b = someInt(b, `,"slots":`, int64(v.Slots))
	b = known(b, `,"expires_in_ms":`, v.ExpiresInMS)
	b = integer(b, `,"waited_ms":`, v.WaitedMS)
	return append(b, "}\n"...)
}

// AppendKept appends the reply to a keepalive.
func AppendKept(b []byte, v *api.KeptAlive) []byte {
	if len(v.Events) > 0 {
		return append(b, JSON(v)...)
	}
	b = integer(b, `{"ttl_ms":`, v.TTLMS)
	b = integer(b, `,"expires_in_ms":`, v.ExpiresInMS)
	b = someInt(b, `,"held_ms":`, v.HeldMS)
	b = some(b, `,"revision":`, v.Revision)
	if v.Missed {
		b = append(b, `,"missed":true`...)
	}
	return append(b, "}\n"...)
}

// AppendLock appends a lock.
func AppendLock(b []byte, v *api.Lock) []byte {
	b = text(b, `{"name":`, v.Name)
	b = someInt(b, `,"slots":`, int64(v.Slots))
	b = list(b, `,"holders":`, v.Holders, holder)
	b = list(b, `,"waiters":`, v.Waiters, waiting)
	b = list(b, `,"past":`, v.Past, gone)
	if v.Yield != nil {
		b = number(b, `,"yield":{"since":`, v.Yield.Since)
		b = someText(b, `,"reason":`, v.Yield.Reason)
		b = known(b, `,"remaining_ms":`, v.Yield.RemainingMS)
		b = append(b, '}')
	}
	b = number(b, `,"changed_revision":`, v.ChangedRevision)
	b = someInt(b, `,"lock_delay_remaining_ms":`, v.LockDelayRemainingMS)
	return append(b, "}\n"...)
}

// AppendProblem appends a problem.
func AppendProblem(b []byte, v *api.Problem) []byte {
	if len(v.Held) > 0 {
		return append(b, JSON(v)...)
	}
	b = text(b, `{"type":`, v.Type)
	b = text(b, `,"title":`, v.Title)
	b = integer(b, `,"status":`, int64(v.Status))
	b = someText(b, `,"detail":`, v.Detail)
	b = text(b, `,"code":`, string(v.Code))
	b = text(b, `,"applied":`, string(v.Applied))
	b = strconv.AppendBool(append(b, `,"retryable":`...), v.Retryable)
	b = text(b, `,"request_id":`, v.RequestID)
	b = someText(b, `,"name":`, v.Name)
	b = someText(b, `,"field":`, v.Field)
	b = someText(b, `,"limit":`, v.Limit)
	b = someText(b, `,"value":`, v.Value)
	b = someText(b, `,"leader":`, v.Leader)
	if v.CurrentRevision != nil {
		b = number(b, `,"current_revision":`, *v.CurrentRevision)
	}
	if v.CurrentFence != nil {
		b = number(b, `,"current_fence":`, *v.CurrentFence)
	}
	if v.Holder != nil {
		b = holder(append(b, `,"holder":`...), v.Holder)
	}
	b = someInt(b, `,"queue_position":`, int64(v.QueuePosition))
	b = someInt(b, `,"slots":`, int64(v.Slots))
	b = someInt(b, `,"requested_slots":`, int64(v.RequestedSlots))
	b = some(b, `,"oldest_revision":`, v.OldestRevision)
	b = some(b, `,"oldest_id":`, v.OldestID)
	if v.Operation != nil {
		b = integer(b, `,"operation":`, int64(*v.Operation))
	}
	b = someInt(b, `,"lock_delay_remaining_ms":`, v.LockDelayRemainingMS)
	return append(b, "}\n"...)
}

func holder(b []byte, v *api.Holder) []byte {
	b = text(b, `{"session":`, v.Session)
	b = text(b, `,"owner":`, v.Owner)
	b = number(b, `,"fence":`, v.Fence)
	b = text(b, `,"mode":`, v.Mode)
	b = someText(b, `,"note":`, v.Note)
	b = someText(b, `,"value":`, v.Value)
	b = number(b, `,"since":`, v.Since)
	b = known(b, `,"held_ms":`, v.HeldMS)
	b = known(b, `,"expires_in_ms":`, v.ExpiresInMS)
	return append(b, '}')
}

func waiting(b []byte, v *api.Waiter) []byte {
	b = text(b, `{"session":`, v.Session)
	b = text(b, `,"owner":`, v.Owner)
	b = text(b, `,"mode":`, v.Mode)
	b = someText(b, `,"note":`, v.Note)
	b = number(b, `,"since":`, v.Since)
	return append(b, '}')
}

func gone(b []byte, v *api.Past) []byte {
	b = text(b, `{"session":`, v.Session)
	b = text(b, `,"owner":`, v.Owner)
	b = number(b, `,"fence":`, v.Fence)
	b = number(b, `,"ended":`, v.Ended)
	b = text(b, `,"reason":`, v.Reason)
	return append(b, '}')
}

// list appends a list after name, with what stands before it.
func list[T any](b []byte, name string, items []T, item func([]byte, *T) []byte) []byte {
	b = append(b, name...)
	if items == nil {
		return append(b, "null"...)
	}
	b = append(b, '[')
	for i := range items {
		if i > 0 {
			b = append(b, ',')
		}
		b = item(b, &items[i])
	}
	return append(b, ']')
}

func number(b []byte, name string, n uint64) []byte {
	return strconv.AppendUint(append(b, name...), n, 10)
}

func integer(b []byte, name string, n int64) []byte {
	return strconv.AppendInt(append(b, name...), n, 10)
}

// some is number that leaves out 0.
func some(b []byte, name string, n uint64) []byte {
	if n == 0 {
		return b
	}
	return number(b, name, n)
}

// someInt is integer that leaves out 0.
func someInt(b []byte, name string, n int64) []byte {
	if n == 0 {
		return b
	}
	return integer(b, name, n)
}

// known is integer that leaves out what is not known.
func known(b []byte, name string, n *int64) []byte {
	if n == nil {
		return b
	}
	return integer(b, name, *n)
}

// someText is text that leaves out "".
func someText(b []byte, name, s string) []byte {
	if s == "" {
		return b
	}
	return text(b, name, s)
}

// text appends name, with what stands before it, and s as a JSON string.
func text(b []byte, name, s string) []byte {
	b = append(append(b, name...), '"')
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return append(odd(append(b, s[:i]...), s[i:]), '"')
		}
	}
	return append(append(b, s...), '"')
}

// odd appends s as it stands in a JSON string, whatever is in it. Line ends of
// Unicode, which JavaScript once took for its own, are escaped, too, and what is no
// UTF-8 becomes U+FFFD.
func odd(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\b':
			b = append(b, `\b`...)
		case r == '\f':
			b = append(b, `\f`...)
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		case r == utf8.RuneError && n == 1:
			b = append(b, `\ufffd`...)
		case r == '\u2028' || r == '\u2029':
			b = append(b, '\\', 'u', '2', '0', '2', hex[r&15])
		default:
			b = append(b, s[i:i+n]...)
		}
		i += n
	}
	return b
}
