package leader

import (
	"testing"

	"github.com/prytany/prytany/synod"
)

// A tape gives numbers out of the fuzzer's bytes, zeros after their end.
type tape struct{ b []byte }

func (x *tape) below(n int) int {
	if len(x.b) == 0 {
		return 0
	}
	c := int(x.b[0])
	x.b = x.b[1:]
	return c % n
}

func (x *tape) flag() bool { return x.below(2) == 1 }

// number is small, or as large as there are.
func (x *tape) number() uint64 {
	if n := x.below(16); n < 14 {
		return uint64(n)
	}
	return ^uint64(0) >> x.below(64)
}

func (x *tape) ballot() synod.Ballot {
	b := synod.Ballot{Round: uint64(x.below(6)), Member: synod.Ordinal(x.below(5))}
	if b.Round == 5 {
		b.Round = synod.MaxRound
	}
	return b
}

func (x *tape) group() uint64 { return uint64(x.below(3)) }

func (x *tape) report() Report {
	return Report{
		Group: x.group(), Config: uint32(x.below(3)), Asks: x.flag(), Own: x.ballot(), Followed: x.ballot(), Content: x.flag(),
		Leading: x.flag(), Bound: x.ballot(), Decided: x.number(), Distance: int64(x.number() >> 1),
	}
}

// message is any that a peer can send: of heartbeats, those that go on where the last
// one ended, too.
func (x *tape) message(now Instant, seq, told *uint64) Message {
	claim := func() Claim { return Claim{x.group(), uint32(x.below(3)), x.ballot()} }
	grant := func() Grant { return Grant{x.group(), uint32(x.below(3)), x.ballot(), x.flag(), uint8(x.below(10))} }
	switch x.below(7) {
	case 0:
		return claim()
	case 1:
		return grant()
	case 2:
		return Claims{[]Claim{claim(), claim()}}
	case 3:
		return Grants{[]Grant{grant(), grant()}}
	case 4:
		return Release{x.group(), uint32(x.below(3)), x.ballot(), synod.NodeID(x.below(5))}
	default:
		m := Heartbeat{
			Reply: x.flag(), Seq: *seq, Sent: now, Clock: now, Lease: int64(x.number() >> 1), Incarnation: 1, Healthy: x.flag(),
			Have: x.number(), Since: *told, Version: *told + 1, Whole: x.flag(), Taken: x.flag(),
		}
		*seq, *told = *seq+1, *told+1
		if x.below(4) == 0 { // one that does not fit
			m.Seq, m.Sent, m.Clock = x.number(), Instant(x.number()>>1), Instant(x.number()>>1)
			m.Incarnation, m.Since, m.Version = x.number(), x.number(), x.number()
		}
		for range x.below(4) {
			m.Groups = append(m.Groups, x.report())
		}
		return m
	}
}

// FuzzNode gives one of three voters any messages, facts, news of links and time, in any
// order, in two groups. Nothing that a peer sends may make it panic, have it campaign
// with another's ballot or below its promise, ask for a tick in the past for ever, or
// claim a lease for a group that it does not lead.
func FuzzNode(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 1, 1, 5, 1, 1, 2, 3, 5, 0, 1, 0, 9, 9, 8, 200, 8, 250, 10, 1, 1, 1})
	f.Add([]byte{8, 255, 8, 255, 8, 255, 0, 1, 1, 1, 0, 2, 1, 1, 1, 2, 1, 1, 9, 1, 1, 2, 1, 12, 3, 1, 13, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		now := Instant(0)
		n := NewNode(Config{Self: 1, Incarnation: 1, Seed: 1}, now)
		facts := [3]Facts{}
		var out Output
		var seq, told [6]uint64
		set := func(g uint64) { n.SetGroup(g, facts[g], now, &out) }
		for g := range facts {
			facts[g] = Facts{Config: 1, Voters: three}
		}
		set(1)
		for x := (&tape{b[:min(len(b), 512)]}); len(x.b) > 0; {
			switch op := x.below(16); op {
			case 8, 14, 15:
				now += Instant(x.below(256)) * ms
				n.Tick(now, Health{Disk: x.below(8) > 0, Loop: x.below(8) > 0}, &out)
				if next := n.Next(); next <= now {
					if n.Tick(now, n.health, &out) <= now {
						t.Fatalf("at %d a tick is asked for at %d, again and again", now, next)
					}
				}
			case 9:
				g := x.group()
				if p := x.ballot(); p.Member < 4 && !p.Less(facts[g].Promised) { // a promise never falls
					facts[g].Promised = p
				}
				own := facts[g].Promised.Member == 1 && x.flag()
				facts[g].Own = synod.Ballot{}
				if own {
					facts[g].Own = facts[g].Promised
				}
				facts[g].Leading = own && x.flag()
				set(g)
			case 10:
				n.Disconnected(synod.NodeID(x.below(5)), now, &out)
			case 11:
				n.SetGossip(synod.NodeID(x.below(5)), Gossip(x.below(4)), now, &out)
			case 12:
				n.DropGroup(x.group())
			case 13:
				g := x.group()
				facts[g] = Facts{Config: facts[g].Config + 1, Voters: three[:1+x.below(3)]}
				set(g)
			default:
				from := 1 + x.below(5) // 1 is this node itself, 4 and 5 are none of the voters
				n.Receive(synod.NodeID(from), x.message(now, &seq[from], &told[from]), now, &out)
			}
			for _, a := range out.Advice {
				if a.Campaign.IsZero() {
					continue
				}
				if c := a.Campaign; a.Group > 2 || c.Member != 1 || c.Less(facts[a.Group].Promised) {
					t.Fatalf("it is to campaign with %v in group %d after it has promised %v", c, a.Group, facts[a.Group].Promised)
				}
			}
			for g := range uint64(3) {
				if n.Leased(g, now) && !facts[g].Leading {
					t.Fatalf("a lease in group %d, which it does not lead", g)
				}
				n.Why(g)
				n.Leader(g)
				n.Relay(g)
				n.MayPromise(g, 2, now)
			}
			n.Links()
			out.Reset()
		}
	})
}
