//go:build linux

package main

import (
	"fmt"

	"github.com/prytany/prytany/jepsen/nemesis"
	"github.com/prytany/prytany/jepsen/workload"
)

// list prints all faults and workloads.
func list() {
	fmt.Println("FAULTS (--nemesis takes names, groups, all and none)")
	group := ""
	for _, f := range nemesis.Faults() {
		if f.Group != group {
			group = f.Group
			fmt.Printf("\n%s\n", group)
		}
		fmt.Printf("  %-15s %s\n", f.Name, f.What)
	}
	fmt.Print("\nWORKLOADS (--workload takes names and all: every one but the negative control)\n\n")
	for _, k := range workload.Kinds() {
		fmt.Printf("  %-15s %s\n", k.Name, k.What)
	}
}
