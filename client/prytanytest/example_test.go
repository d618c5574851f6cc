package prytanytest_test

import (
	"context"
	"fmt"
	"log"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/client/prytanytest"
)

// In tests NewCluster(t, 3) does the same and needs no Stop.
func Example() {
	cluster, err := prytanytest.Start(3)
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Stop()
	c := cluster.Client(client.Config{})
	ctx := context.Background()

	h, err := c.Lock(ctx, "nightly")
	if err != nil {
		log.Fatal(err)
	}
	killed := cluster.KillLeader()
	fmt.Println("another leads:", cluster.AwaitLeader() != killed)
	fmt.Println("still held:", h.Err() == nil)
	fmt.Println("released:", h.Unlock(ctx))
	// Output:
	// another leads: true
	// still held: true
	// released: <nil>
}
