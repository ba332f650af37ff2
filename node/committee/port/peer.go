package port

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cometbft/cometbft/libs/log"
	"github.com/cometbft/cometbft/libs/service"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/p2p/conn"
	"github.com/cosmos/gogoproto/proto"
)

// channel is where a message goes, and what it is.
type channel struct {
	reactor p2p.Reactor
	message proto.Message
}

// peer is a connected node. It implements p2p.Peer.
type peer struct {
	service.BaseService
	s        *Switch
	raw      *live
	mconn    *conn.MConnection
	info     p2p.DefaultNodeInfo
	who      Identity
	outbound bool
	since    time.Time
	socket   *p2p.NetAddress
	data     sync.Map
	unwanted atomic.Bool // it was taken out before it was put in
}

var _ p2p.Peer = (*peer)(nil)

func newPeer(
	s *Switch, raw *live, secret *conn.SecretConnection, info p2p.DefaultNodeInfo, who Identity,
	outbound bool,
) *peer {
	p := &peer{s: s, raw: raw, info: info, who: who, outbound: outbound, since: time.Now(),
		socket: p2p.NewNetAddress(info.ID(), raw.RemoteAddr())}
	p.mconn = conn.NewMConnectionWithConfig(secret, s.channels, p.receive, p.fail, s.c.Mconn)
	p.mconn.SetLogger(log.NewNopLogger()) // it tells p.fail what matters
	p.BaseService = *service.NewBaseService(log.NewNopLogger(), "Peer", p)
	return p
}

// OnStart starts the connection and its heartbeats.
func (p *peer) OnStart() error {
	if err := p.raw.watch(p.s.c.silence); err != nil {
		return err
	}
	if err := p.mconn.Start(); err != nil {
		return err
	}
	p.s.tasks.Go(p.beat)
	return nil
}

// OnStop closes the connection.
func (p *peer) OnStop() {
	_ = p.mconn.Stop() // fails only when it is stopped
}

func (p *peer) beat() {
	every := time.NewTicker(p.s.c.silence / (Silence / Heartbeat))
	defer every.Stop()
	for {
		select {
		case <-every.C:
			p.mconn.TrySend(heartbeatChannel, []byte{1})
		case <-p.Quit():
			return
		}
	}
}

// fail is told why the connection ended.
func (p *peer) fail(why any) {
	err, ok := why.(error)
	if !ok {
		err = fmt.Errorf("%v", why)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = ReasonSilent
	}
	p.s.StopPeerForError(p, err)
}

// receive hands a message to its reactor. A panic ends the connection: the engine's reactors, too,
// panic on what no honest peer sends.
func (p *peer) receive(id byte, b []byte) {
	if id == heartbeatChannel {
		return
	}
	if id == p.s.c.Metered && !p.s.isMember(p) && !p.s.meter.take(p.ID()) {
		return
	}
	c := p.s.byID[id]
	if f, ok := c.reactor.(p2p.MsgBytesFilter); ok {
		if err := f.FilterMsgBytes(id, p, b); err != nil {
			panic(err)
		}
	}
	m := proto.Clone(c.message)
	if err := proto.Unmarshal(b, m); err != nil {
		panic(err)
	}
	if w, ok := m.(p2p.Unwrapper); ok {
		inner, err := w.Unwrap()
		if err != nil {
			panic(err)
		}
		m = inner
	}
	c.reactor.Receive(p2p.Envelope{ChannelID: id, Src: p, Message: m})
}

// Send queues a message, and waits for room. It returns false when there is none for long.
func (p *peer) Send(e p2p.Envelope) bool { return p.send(e, p.mconn.Send) }

// TrySend queues a message if there is room.
func (p *peer) TrySend(e p2p.Envelope) bool { return p.send(e, p.mconn.TrySend) }

func (p *peer) send(e p2p.Envelope, queue func(byte, []byte) bool) bool {
	if !p.IsRunning() || !p.info.HasChannel(e.ChannelID) {
		return false
	}
	m := e.Message
	if w, ok := m.(p2p.Wrapper); ok {
		m = w.Wrap()
	}
	b, err := proto.Marshal(m)
	return err == nil && queue(e.ChannelID, b)
}

// FlushStop sends what is queued and closes the connection.
func (p *peer) FlushStop() { p.mconn.FlushStop() }

// CloseConn closes the connection of a peer that was not started.
func (p *peer) CloseConn() error { return p.raw.Close() }

func (p *peer) ID() p2p.ID                    { return p.info.ID() }
func (p *peer) NodeInfo() p2p.NodeInfo        { return p.info }
func (p *peer) IsOutbound() bool              { return p.outbound }
func (p *peer) IsPersistent() bool            { return true }
func (p *peer) RemoteAddr() net.Addr          { return p.raw.RemoteAddr() }
func (p *peer) RemoteIP() net.IP              { return p.socket.IP }
func (p *peer) SocketAddr() *p2p.NetAddress   { return p.socket }
func (p *peer) Status() conn.ConnectionStatus { return p.mconn.Status() }
func (p *peer) SetRemovalFailed()             { p.unwanted.Store(true) }
func (p *peer) GetRemovalFailed() bool        { return p.unwanted.Load() }
func (p *peer) Set(key string, value any)     { p.data.Store(key, value) }
func (p *peer) String() string {
	return fmt.Sprintf("%s@%v", p.ID(), p.RemoteAddr())
}

// Get returns what a reactor has put under a key.
func (p *peer) Get(key string) any {
	v, _ := p.data.Load(key)
	return v
}
