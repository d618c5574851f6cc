package leader

// fit reports whether a node in this state should lead.
func (h Health) fit() bool { return h.Disk && h.Loop && !h.Draining }

// trouble returns what speaks against a node in this state, "" if nothing does.
func (h Health) trouble() string {
	switch {
	case h.Draining:
		return reasonDraining
	case !h.Disk:
		return reasonDisk
	case !h.Loop:
		return reasonLoop
	case h.Score > 1:
		return reasonScore
	}
	return ""
}

// mayClaim reports whether this node's own state lets it claim g. One that keeps
// up badly with the gossip leaves it to others: it is as likely to be the one that
// is wrong about who is gone ("Lifeguard"). But if nobody else has led for long,
// the gossip itself may be what is broken, for all.
func (n *Node) mayClaim(g *group, now Instant) bool {
	if !n.health.fit() {
		return false
	}
	return n.health.Score <= 1 || !g.content && int64(now-g.turned) >= lastResort*n.cfg.Silence
}

// SetHealth takes note of this node's state, as Tick does. A process that has stood
// still is told of that before it is given what has arrived meanwhile, so that it
// claims nothing by what it thought of itself before. What follows from a change
// is for the next Tick, which is due at once.
func (n *Node) SetHealth(h Health, out *Output) {
	was := n.health
	n.health = h
	n.unsettled = n.unsettled || was != h
	if was.trouble() != h.trouble() || was.fit() != h.fit() {
		for _, g := range n.groups {
			n.wake(g)
		}
	}
	switch why := h.trouble(); {
	case why == was.trouble():
	case why == "":
		out.Events = append(out.Events, Event{Kind: EvFit, Node: n.cfg.Self, Reason: reasonWell})
	default:
		out.Events = append(out.Events, Event{Kind: EvUnfit, Node: n.cfg.Self, Reason: why})
	}
}
