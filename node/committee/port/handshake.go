package port

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/libs/protoio"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/p2p/conn"
	pb "github.com/cometbft/cometbft/proto/tendermint/p2p"
)

// live is a connection that fails when it brings nothing for so long as it is waited for. A node
// that does not read, because it is busy, does not count the time.
type live struct {
	net.Conn
	head    []byte       // was read already
	silence atomic.Int64 // nanoseconds; 0: the deadline stands as it is set
}

func (l *live) Read(b []byte) (int, error) {
	if len(l.head) > 0 {
		n := copy(b, l.head)
		l.head = l.head[n:]
		return n, nil
	}
	if s := time.Duration(l.silence.Load()); s > 0 {
		if err := l.SetReadDeadline(time.Now().Add(s)); err != nil {
			return 0, err
		}
	}
	return l.Conn.Read(b)
}

// watch ends the deadline of the handshake, and begins that of silence.
func (l *live) watch(silence time.Duration) error {
	l.silence.Store(int64(silence))
	return l.SetDeadline(time.Time{})
}

// shake authenticates the other side, which has to be want unless that is empty, and exchanges node
// infos with it once it is known. The connection has a deadline.
func (s *Switch) shake(c *caller, want p2p.ID) (
	_ *conn.SecretConnection, info p2p.DefaultNodeInfo, who Identity, err error,
) {
	secret, err := conn.MakeSecretConnection(c.live, s.key)
	if err != nil {
		return nil, info, who, err
	}
	key, ok := secret.RemotePubKey().(cmted25519.PubKey)
	if !ok {
		return nil, info, who, ReasonProtocol
	}
	id := p2p.PubKeyToID(key)
	info.DefaultNodeID = id
	if want != "" && id != want {
		return nil, info, who, refuse(ReasonIdentity, fmt.Errorf("%s, expected %s", id, want))
	}
	if id == s.c.Info.ID() {
		return nil, info, who, refuse(ReasonIdentity, errors.New("this node's own"))
	}
	// A peer that the operator named is one to dial, whoever else is admitted.
	if who, ok = s.c.Admit(ed25519.PublicKey(key)); !ok && want == "" {
		return nil, info, who, ReasonUnregistered
	}
	if info, err = s.introduce(secret); err != nil {
		info.DefaultNodeID = id
		return nil, info, who, err
	}
	if info.ID() != id {
		return nil, info, who, refuse(ReasonIdentity,
			fmt.Errorf("%s, by its own account %s", id, info.ID()))
	}
	return secret, info, who, s.compatible(info)
}

// introduce exchanges node infos. Both sides write first, and what they write fits into the buffers
// of a connection.
func (s *Switch) introduce(secret *conn.SecretConnection) (info p2p.DefaultNodeInfo, err error) {
	if _, err := protoio.NewDelimitedWriter(secret).WriteMsg(s.c.Info.ToProto()); err != nil {
		return info, err
	}
	var message pb.DefaultNodeInfo
	_, err = protoio.NewDelimitedReader(secret, p2p.MaxNodeInfoSize()).ReadMsg(&message)
	if err != nil {
		if errors.Is(err, io.EOF) || ReasonOf(err) == ReasonClosed {
			// It knows our key by now, and did not like it.
			return info, refuse(ReasonNotAdmitted, err)
		}
		return info, err
	}
	return p2p.DefaultNodeInfoFromToProto(&message)
}

// compatible says whether the two can talk. Engines of different lines judge blocks by different
// rules.
func (s *Switch) compatible(info p2p.DefaultNodeInfo) error {
	own := s.c.Info
	if line(info.Version) != line(own.Version) {
		return refuse(ReasonEngine, fmt.Errorf("%q, here %q", info.Version, own.Version))
	}
	if err := own.CompatibleWith(info); err != nil {
		return refuse(ReasonNetwork, err)
	}
	if !info.HasChannel(heartbeatChannel) {
		return refuse(ReasonEngine, fmt.Errorf("%q without heartbeats", info.Version))
	}
	return nil
}

// line is what versions that work together have in common: 0.39 of 0.39.4.
func line(version string) string {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	return major + "." + minor
}
