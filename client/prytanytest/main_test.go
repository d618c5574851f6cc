package prytanytest_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/prytany/prytany/internal/leaktest"
)

func TestMain(m *testing.M) {
	leaktest.Main(m,
		// memberlist does not wait for a probe or exchange that is under way
		// when it shuts down; they end by their own timeouts.
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probe"),
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).pushPull"),
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).handleConn"),
	)
}
