package client

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/prytany/prytany/internal/leaktest"
)

func TestMain(m *testing.M) {
	leaktest.Main(m,
		// memberlist, of the clusters in the examples, does not wait for what
		// is under way when it shuts down; it ends by its own timeouts.
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probe"),
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).pushPull"),
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).handleConn"),
	)
}
