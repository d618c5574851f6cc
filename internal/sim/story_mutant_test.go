package sim

import (
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos/replica"
)

// storyMutants are known-bad variants that some story must notice, by what it is
// about.
var storyMutants = []struct {
	name    string
	story   string
	why     string // what the failure must say
	options func(o *Options)
	happens func(s *scene) // beside the story
}{
	{
		name: "links count as down too soon", story: "leader starved, short stalls", why: "changes of leader",
		options: func(o *Options) { o.Silence, o.Lease = 60*ms, 55*ms },
	},
	{
		name: "links count as down too late", story: "leader stopped 4 s, 3 nodes", why: "no write is acknowledged",
		options: func(o *Options) { o.Silence = time.Second },
	},
	{
		name: "leases are long", story: "leader killed, 3 nodes", why: "no write is acknowledged",
		options: func(o *Options) { o.Lease = 600 * ms },
	},
	{
		name: "a crash is not noticed", story: "leader killed, 3 nodes", why: "no write is acknowledged", options: unseen,
	},
	{
		name: "nodes are told that their links are down", story: "follower killed and restarted", why: "changes of leader",
		happens: func(s *scene) { s.disconnect() },
	},
	{
		name: "nobody says that all is well", story: "one link cut, leader at the end", why: "changes of leader",
		happens: sending(func(p replica.Packet) replica.Packet {
			if h, ok := p.Msg.(leader.Heartbeat); ok {
				h.Groups = append([]leader.Report(nil), h.Groups...)
				for i := range h.Groups {
					h.Groups[i].Content, h.Groups[i].Leading = false, false
				}
				p.Msg = h
			}
			return p
		}),
	},
	{
		name: "neighbours pass nothing on", story: "one link cut, leader at the end", why: "a request at node",
		happens: sending(func(p replica.Packet) replica.Packet {
			if f, ok := p.Msg.(replica.Forward); ok {
				f.Hops = 0
				p.Msg = f
			}
			return p
		}),
	},
	{
		name: "reads are served by whoever is asked", story: "leader stopped 4 s, 3 nodes", why: "I8",
		options: func(o *Options) { o.Think.Max, o.KeyShare = 20*ms, 1 },
		happens: func(s *scene) { s.opt.Hooks.Read = true },
	},
	{
		name: "reads are served by whoever believes that it leads", story: "split, leader alone", why: "I8",
		options: func(o *Options) { o.Think.Max, o.KeyShare = 20*ms, 1 },
		happens: func(s *scene) { s.opt.Hooks.Leads = true },
	},
	{
		name: "who hands over goes on leading", story: "the lead goes round", why: "I9",
		happens: func(s *scene) { s.opt.Hooks.Releases = true },
	},
	{
		name: "a slow disk is not noticed", story: "leader's writes take 1 to 5 s", why: "changes of leader",
		options: func(o *Options) {
			o.Hooks.Storage = func(st replica.Storage) replica.Storage { return st }
			o.Silence = 10 * time.Second
		},
	},
}

// sending has all nodes send what change makes of their packets.
func sending(change func(replica.Packet) replica.Packet) func(s *scene) {
	return func(s *scene) { s.opt.Hooks.Send = change }
}

// disconnect tells everybody again and again that everybody else is gone.
func (s *scene) disconnect() {
	if s.healed {
		return
	}
	for _, n := range s.nodes {
		for _, peer := range s.nodes {
			if n.host != nil && n != peer {
				n.host.Disconnected(peer.id)
				n.pollBy(s.now)
			}
		}
	}
	s.in(s.between(20*ms, 100*ms), s.disconnect)
}

func TestStoriesNotice(t *testing.T) {
	for _, m := range storyMutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			y := storyOf(t, m.story)
			happens, options := y.happens, y.options
			y.happens = func(s *scene) {
				happens(s)
				if m.happens != nil {
					m.happens(s)
				}
			}
			y.options = func(o *Options) {
				if options != nil {
					options(o)
				}
				if m.options != nil {
					m.options(o)
				}
			}
			for seed := range uint64(5) {
				_, err := y.tell(storyOptions(y.nodes, seed+1))
				if err == nil {
					continue
				}
				if !strings.Contains(err.Error(), m.why) {
					t.Fatalf("seed %d: the failure does not say %q: %v", seed+1, m.why, err)
				}
				t.Logf("seed %d: %.200s", seed+1, err)
				return
			}
			t.Error("not noticed in 5 seeds")
		})
	}
}

// storyOf returns a copy of the story of that name.
func storyOf(t *testing.T, name string) story {
	for _, y := range stories {
		if y.name == name {
			return y
		}
	}
	t.Fatalf("no story is called %q", name)
	return story{}
}
