package check

import (
	"bufio"
	"fmt"
	"os"

	"github.com/prytany/prytany/jepsen/decided"
	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/ops"
)

// Load reads a history, and the logs of nodes as [decided.Save] writes them. log is
// nil if there are none.
func Load(path string, logs []string) (h *ops.History, log *decided.Log, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("check: %w", err)
	}
	defer func() { _ = f.Close() }()
	run, events, err := history.Read(bufio.NewReader(f))
	if err != nil {
		return nil, nil, fmt.Errorf("check: %s: %w", path, err)
	}
	var nodes []decided.Node
	for _, name := range logs {
		n, err := readLog(name)
		if err != nil {
			return nil, nil, fmt.Errorf("check: %s: %w", name, err)
		}
		nodes = append(nodes, n)
	}
	if len(nodes) > 0 {
		log = decided.Merge(nodes)
	}
	return ops.Pair(run, events), log, nil
}

func readLog(path string) (decided.Node, error) {
	f, err := os.Open(path)
	if err != nil {
		return decided.Node{}, err
	}
	defer func() { _ = f.Close() }()
	return decided.Read(f)
}
