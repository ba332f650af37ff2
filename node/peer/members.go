package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/pinned"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// ErrNoMember is returned for a node that is not in the committee.
var ErrNoMember = errors.New("no such committee member")

// MembersConfig is what Members works with.
type MembersConfig struct {
	Chain       Chain
	Certificate tls.Certificate // of this node's transport key, see NewCertificate
	Proofs      EpochProofs     // of evidence of rung 3 that is pulled; nil: it is refused

	// Local is this node's own member, nil when it is none, and Self then its node index. Pushes to
	// it take the same path as a stranger's, without the network.
	Local *Member
	Self  uint32

	Timeout time.Duration // of one push or pull; 0: 30 seconds

	// Dial opens connections; nil means a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Members talks to the committee's members. Connections are kept, shared by all calls, and opened
// again when they break or the registry changes. It is safe for concurrent use.
type Members struct {
	cfg MembersConfig

	mu    sync.Mutex
	links map[uint32]*link // by node
}

// link is the connection to one member.
type link struct {
	address   string
	key       TransportKey
	transport *http.Transport
	client    api.PeerServiceClient
}

// NewMembers returns the members; Close it.
func NewMembers(cfg MembersConfig) *Members {
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{Timeout: handshakeTimeout}).DialContext
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 30 * time.Second
	}
	return &Members{cfg: cfg, links: make(map[uint32]*link)}
}

// Close closes idle connections. Calls that run end with their own contexts.
func (m *Members) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for node, l := range m.links {
		l.transport.CloseIdleConnections()
		delete(m.links, node)
	}
}

// Push asks the committee member that a node is to verify a rollup of this node, which has its word
// on that, and to sign it. The
// share is the member's word alone: the caller verifies it. Errors are a *Refusal, or what the
// connection gave; all but a final Refusal may be tried again.
func (m *Members) Push(
	ctx context.Context, node uint32, header []byte, own [rollup.WordSize]byte, evidence []byte,
) (share [bls.SignatureSize]byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	defer cancel()
	if m.cfg.Local == nil || node != m.cfg.Self {
		return m.push(ctx, node, &push{header, own, evidence})
	}
	self, err := pinned.KeyOf(m.cfg.Certificate)
	if err != nil {
		return share, err
	}
	return m.cfg.Local.Push(ctx, self, header, own, evidence)
}

func (m *Members) push(
	ctx context.Context, node uint32, p *push,
) (share [bls.SignatureSize]byte, err error) {
	l, err := m.link(node)
	if err != nil {
		return share, err
	}
	response, err := l.client.Push(ctx, connect.NewRequest(
		&api.PushRequest{Header: p.header, Own: p.own[:], Evidence: p.evidence}))
	if err != nil {
		return share, fmt.Errorf("member %d at %s: %w", node, l.address, refusalOf(err))
	}
	if len(response.Msg.Share) != len(share) {
		return share, fmt.Errorf("member %d at %s: a share of %d bytes",
			node, l.address, len(response.Msg.Share))
	}
	return [bls.SignatureSize]byte(response.Msg.Share), nil
}

// Pull fetches a rollup from the committee member that a node is, with evidence of a rung, the
// highest that it keeps when that is 0. It checks that header and evidence are those of the id: the
// header by its digest, the evidence by the header's roots and its proofs. ErrMismatch says that
// they are not.
func (m *Members) Pull(
	ctx context.Context, node uint32, id rollup.Hash, rung rollup.Rung,
) (header, evidence []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	defer cancel()
	l, err := m.link(node)
	if err != nil {
		return nil, nil, err
	}
	response, err := l.client.Pull(ctx,
		connect.NewRequest(&api.PullRequest{RollupId: id[:], Rung: uint32(rung)}))
	if err != nil {
		return nil, nil, fmt.Errorf("member %d at %s: %w", node, l.address, err)
	}
	header, evidence = response.Msg.Header, response.Msg.Evidence
	if err := match(id, rung, header, evidence, m.cfg.Chain.View(), m.cfg.Proofs); err != nil {
		return nil, nil, fmt.Errorf("member %d at %s: %w", node, l.address, err)
	}
	return header, evidence, nil
}

// Contact asks a registered node, member or not, where it delivers content: the base of a URL, or
// nothing when it does not. No connection to a node that is no member is kept.
func (m *Members) Contact(ctx context.Context, node uint32) (string, error) {
	registered, ok := m.cfg.Chain.View().Node(node)
	if !ok {
		return "", fmt.Errorf("%w: node %d is not registered", ErrNoMember, node)
	}
	l, err := m.link(node)
	if errors.Is(err, ErrNoMember) {
		l, err = m.dial(&registered), nil
		defer l.transport.CloseIdleConnections()
	}
	if err != nil {
		return "", err
	}
	response, err := l.client.Contact(ctx, connect.NewRequest(&api.ContactRequest{}))
	if err != nil {
		return "", fmt.Errorf("node %d at %s: %w", node, l.address, err)
	}
	return contentURL(response.Msg.ContentUrl, registered.PeerAddress)
}

// Probe sends a probe to a registered node, member or not, and returns its answer. A connection
// that is kept is used to members only, and not when a fresh one is asked for.
func (m *Members) Probe(
	ctx context.Context, node uint32, probe []byte, fresh bool,
) ([]byte, error) {
	registered, ok := m.cfg.Chain.View().Node(node)
	if !ok {
		return nil, fmt.Errorf("%w: node %d is not registered", ErrNoMember, node)
	}
	l, err := m.link(node)
	if fresh || errors.Is(err, ErrNoMember) {
		l, err = m.dial(&registered), nil
		defer l.transport.CloseIdleConnections()
	}
	if err != nil {
		return nil, err
	}
	response, err := l.client.Probe(ctx, connect.NewRequest(&api.ProbeRequest{Probe: probe}))
	if err != nil {
		return nil, fmt.Errorf("node %d at %s: %w", node, l.address, err)
	}
	return response.Msg.Answer, nil
}

// OwnURL reads what this node, of an index, would say of itself, as others do.
func (m *Members) OwnURL(said string, node uint32) (string, error) {
	registered, ok := m.cfg.Chain.View().Node(node)
	if !ok {
		return "", fmt.Errorf("%w: node %d is not registered", ErrNoMember, node)
	}
	return contentURL(said, registered.PeerAddress)
}

// contentURL reads what a node says of itself. Without a host it is the one at which the node's
// peers find it.
func contentURL(said, peerAddress string) (string, error) {
	if said == "" {
		return "", nil
	}
	u, err := url.Parse(said)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("%q is no address of content", said)
	}
	if u.Hostname() == "" {
		host, _, err := net.SplitHostPort(peerAddress)
		if err != nil {
			return "", err
		}
		u.Host = net.JoinHostPort(host, u.Port())
	}
	return u.Scheme + "://" + u.Host, nil
}

// link returns the connection to a member, by its node, a new one when its address or key changed.
func (m *Members) link(member uint32) (*link, error) {
	view := m.cfg.Chain.View()
	if !view.Judges(member) {
		return nil, fmt.Errorf("%w: node %d", ErrNoMember, member)
	}
	node, ok := view.Node(member)
	if !ok {
		return nil, fmt.Errorf("%w: node %d is not registered", ErrNoMember, member)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.links[member]
	if l != nil && l.address == node.PeerAddress && l.key == TransportKey(node.TransportKey) {
		return l, nil
	}
	if l != nil {
		l.transport.CloseIdleConnections()
	}
	l = m.dial(&node)
	m.links[member] = l
	return l, nil
}

func (m *Members) dial(node *ledger.Node) *link {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	transport := &http.Transport{
		DialContext:         m.cfg.Dial,
		TLSClientConfig:     pinned.Client(m.cfg.Certificate, TransportKey(node.TransportKey)),
		TLSHandshakeTimeout: handshakeTimeout,
		IdleConnTimeout:     idleTimeout * 3 / 4,
		DisableCompression:  true,
		Protocols:           protocols,
		HTTP2: &http.HTTP2Config{
			SendPingTimeout:  10 * time.Second, // finds a peer that vanished without closing
			PingTimeout:      5 * time.Second,
			WriteByteTimeout: 30 * time.Second,
		},
	}
	client := api.NewPeerServiceClient(bounded{transport}, "https://"+node.PeerAddress,
		connect.WithReadMaxBytes(MaxMessageSize),
		connect.WithAcceptCompression("gzip", nil, nil),
	)
	return &link{address: node.PeerAddress, key: TransportKey(node.TransportKey),
		transport: transport, client: client}
}

// bounded makes HTTP calls whose answers are read to the bound of messages and no further.
type bounded struct{ transport *http.Transport }

func (b bounded) Do(r *http.Request) (*http.Response, error) {
	response, err := b.transport.RoundTrip(r)
	if err == nil {
		api.LimitAnswer(response, MaxMessageSize)
	}
	return response, err
}
