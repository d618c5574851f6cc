package locks

import "github.com/prytany/prytany/internal/mutant"

// applyAdvance is the check that a resource which cannot compare fences by
// itself leaves to the group.
func (m *Machine) applyAdvance(c *AdvanceCommand) Result {
	highest, ok := m.fences.Get(c.Resource)
	if c.Fence < highest && !mutant.On(mutant.LowFences) {
		no := refused(StaleFence, "the resource has seen a higher fence")
		no.Current = highest
		return no
	}
	if !ok {
		if no, ok := m.crowded(1); ok {
			return no
		}
		if no, ok := m.full(len(c.Resource)); ok {
			return no
		}
		m.bytes += int64(len(c.Resource))
	}
	m.fences.Set(c.Resource, c.Fence)
	return Result{Fence: c.Fence}
}

func (m *Machine) applyForgetFence(c *ForgetFenceCommand) Result {
	highest, ok := m.fences.Get(c.Resource)
	if !ok || highest != c.Fence {
		no := refused(StaleFence, "the resource has seen another fence")
		no.Current = highest
		return no
	}
	m.fences.Delete(c.Resource)
	m.bytes -= int64(len(c.Resource))
	return Result{Fence: highest}
}
