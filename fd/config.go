package fd

import (
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"
)

// Config configures a Detector. Fields without a stated default are required.
type Config struct {
	// Self describes this node. ID is required; GossipAddr and State are set by
	// the Detector. The texts and the incarnation must fit together into 512
	// bytes, each text with one byte of overhead.
	Self Node

	// Bind is the host:port to gossip on, TCP and UDP both. Port 0 lets the
	// kernel choose.
	Bind string

	// Advertise is the host:port, or host, under which others reach Bind.
	// Empty means the address bound to, or a private address of this machine
	// if that is 0.0.0.0.
	Advertise string

	// Join lists the gossip addresses (host:port) of nodes to find the others
	// through. Empty means to wait for others to join this one.
	Join []string

	// Known lists gossip addresses at which members were seen earlier. They are
	// tried like those of Join, but may have changed hands since.
	Known []string

	// Label keeps apart clusters that can reach each other: packets with
	// another label are dropped unread. At most 255 bytes; empty means none.
	Label string

	// SecretKey of 16, 24 or 32 bytes encrypts and authenticates gossip by AES.
	// nil means plain text.
	SecretKey []byte

	// Allowed says whether to exchange anything with the peer at a gossip
	// address: fault injection for tests. Streams that a peer opens come from a
	// port the kernel gave it, so to cut a link, cut it at both ends. It is
	// called from many goroutines. nil allows all.
	Allowed func(gossipAddr string) bool

	// ProbeTimeout is how long to wait for the answer to a probe before others
	// are asked. Longer round trips are never measured, so that there are no
	// coordinates for them. A crash shows after about ten times as long, with 50
	// nodes after 25 times. 0 means 100 ms.
	ProbeTimeout time.Duration

	// KeepDead is how long the dead are remembered, and looked for. 0 means 1h.
	KeepDead time.Duration

	// Log receives what an operator should see. nil means silence.
	Log *slog.Logger

	// transport, if not nil, takes the place of the sockets, in tests that have
	// a clock of their own.
	transport memberlist.NodeAwareTransport
}

// withDefaults fills in the defaults and checks what can be checked now.
func (c Config) withDefaults() (Config, error) {
	if c.Self.ID == 0 || c.Bind == "" {
		return c, errors.New("fd: Self.ID and Bind are required")
	}
	if c.SecretKey != nil {
		if err := memberlist.ValidateKey(c.SecretKey); err != nil {
			return c, errors.New("fd: the gossip key must have 16, 24 or 32 bytes")
		}
	}
	if len(c.Label) > memberlist.LabelMaxSize {
		return c, fmt.Errorf("fd: a label of %d bytes; at most %d fit", len(c.Label), memberlist.LabelMaxSize)
	}
	c.Self.State, c.Self.GossipAddr = Alive, ""
	if c.KeepDead == 0 {
		c.KeepDead = time.Hour
	}
	if c.ProbeTimeout == 0 {
		c.ProbeTimeout = 100 * time.Millisecond
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	_, err := encodeMeta(c.Self)
	return c, err
}

// settings are memberlist's, for a cluster of a few dozen nodes: a crash shows
// within about a second, with 50 nodes within two or three, a loss of 30 % of all packets does not.
func (c *Config) settings(logger *log.Logger) *memberlist.Config {
	m := memberlist.DefaultLANConfig()
	m.Name = c.Self.ID.String() // a host name could come back as another node
	m.ProbeTimeout = c.ProbeTimeout
	// Whoever is asked to probe another in our place waits for ProbeTimeout, too,
	// before it says that there was no answer. If that comes after the interval
	// it counts against ourselves: with an interval of only twice the timeout,
	// one crash made all survivors think that they were unwell.
	m.ProbeInterval = c.ProbeTimeout * 5 / 2
	m.SuspicionMult = 3
	m.SuspicionMaxTimeoutMult = 2
	m.GossipInterval = 50 * time.Millisecond
	// A rumour told n times by everybody misses a node with a probability of about
	// exp(-n), and n is this times the logarithm: with memberlist's 4, one in three
	// thousand, 50 nodes that start together left one out for seconds, often.
	m.RetransmitMult = 6
	m.PushPullInterval = 5 * time.Second
	m.TCPTimeout = 2 * time.Second
	m.DisableTcpPings = false // without them, loss of packets looks like death
	m.IndirectChecks = 3
	m.AwarenessMaxMultiplier = 8
	m.DeadNodeReclaimTime = time.Second // a node may come back at another address
	m.EnableCompression = false         // a packet is small, and its compressor is not
	m.Label = c.Label
	m.SecretKey = c.SecretKey
	m.Logger = logger
	return m
}

// listen opens the sockets and fills in what settings need to know of them.
func (c *Config) listen(m *memberlist.Config) error {
	if c.transport != nil {
		m.Transport = c.transport
		return nil
	}
	bind, err := net.ResolveTCPAddr("tcp", c.Bind)
	if err != nil {
		return fmt.Errorf("fd: gossip address %q: %w", c.Bind, err)
	}
	ip := "0.0.0.0"
	if bind.IP != nil {
		ip = bind.IP.String()
	}
	if bind.IP != nil && bind.IP.IsUnspecified() && ip != "0.0.0.0" && c.Advertise == "" {
		return fmt.Errorf("fd: gossip address %q is every address; say under which one others reach it", c.Bind)
	}
	tries := 1
	if bind.Port == 0 {
		tries = 10 // the port chosen for TCP may be taken for UDP
	}
	var t *memberlist.NetTransport
	for range tries {
		t, err = memberlist.NewNetTransport(&memberlist.NetTransportConfig{BindAddrs: []string{ip}, BindPort: bind.Port, Logger: m.Logger})
		if err == nil {
			break
		}
	}
	if err != nil {
		return listenError(c.Bind, err)
	}
	m.BindAddr, m.BindPort = ip, t.GetAutoBindPort()
	if m.AdvertiseAddr, m.AdvertisePort, err = c.advertise(m.BindPort); err == nil {
		_, _, err = t.FinalAdvertiseAddr(m.AdvertiseAddr, m.AdvertisePort)
	}
	if err != nil {
		err = errors.Join(err, t.Shutdown())
		return fmt.Errorf("fd: no address to advertise for %s; say under which one others reach it: %w", c.Bind, err)
	}
	m.Transport = t
	if c.Allowed != nil {
		m.Transport = newGate(t, c.Allowed)
	}
	return nil
}

// listenError says what to do about an address that cannot be had. Memberlist
// hands over the text of the cause only.
func listenError(addr string, err error) error {
	if strings.Contains(err.Error(), "address already in use") {
		return fmt.Errorf("fd: gossip address %s (TCP and UDP) is taken; stop the process that has it, or choose another port: %w", addr, err)
	}
	return fmt.Errorf("fd: cannot gossip on %s (TCP and UDP); choose an address of this machine: %w", addr, err)
}

// advertise returns the IP and port to tell others: an empty IP if Advertise
// is empty, the port bound to if it has none.
func (c *Config) advertise(bound int) (ip string, port int, err error) {
	if c.Advertise == "" {
		return "", 0, nil
	}
	host, text, err := net.SplitHostPort(c.Advertise)
	if err != nil {
		host, text = c.Advertise, "0"
	}
	if port, err = strconv.Atoi(text); err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("%q: port %q is not one", c.Advertise, text)
	}
	if port == 0 {
		port = bound
	}
	addr, err := net.ResolveIPAddr("ip", host)
	if err != nil {
		return "", 0, err
	}
	return addr.IP.String(), port, nil
}
