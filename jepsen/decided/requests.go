package decided

import "github.com/prytany/prytany/locks"

// requestOf returns whose command it is, the zero Request if it is nobody's. That of a
// Cancel is the one of the acquire that it is about.
func requestOf(cmd locks.Command) locks.Request {
	switch c := cmd.(type) {
	case *locks.OpenCommand:
		return c.Request
	case *locks.EndCommand:
		return c.Request
	case *locks.AcquireCommand:
		return c.Request
	case *locks.AcquireAllCommand:
		return c.Request
	case *locks.CancelCommand:
		return c.Request
	case *locks.ReleaseCommand:
		return c.Request
	case *locks.YieldCommand:
		return c.Request
	case *locks.ProclaimCommand:
		return c.Request
	case *locks.TransferCommand:
		return c.Request
	case *locks.AdvanceCommand:
		return c.Request
	case *locks.ForgetFenceCommand:
		return c.Request
	case *locks.TxnCommand:
		return c.Request
	case *locks.PutCommand:
		return c.Request
	case *locks.DeleteCommand:
		return c.Request
	}
	return locks.Request{}
}
