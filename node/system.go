package node

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/store"
)

// System is what a node has of the machine that it runs on. Package internal/virtual gives nodes
// one that is made. The zero value is the operating system's.
type System struct {
	// Net is where all ports are opened, and where members, peers and candidates are dialled.
	// Origins of content, certificate authorities and a signer are reached by the operating system's
	// network, whatever stands here, and so are candidates from an address of their own.
	Net Net
	// Disk has the store. Everything else in a home is on the operating system's.
	Disk store.FS
}

// Net is a network of streams, as package net has it. Its connections bring bytes in order and know
// deadlines, and methods are safe for concurrent use.
type Net interface {
	Listen(network, address string) (net.Listener, error)
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// systemNet is the operating system's.
type systemNet struct{ net.Dialer }

func (*systemNet) Listen(network, address string) (net.Listener, error) {
	return net.Listen(network, address)
}

// dialTimeout bounds the opening of a connection, besides the context of whoever needs it.
const dialTimeout = 10 * time.Second

// Start starts a node on a system and returns when it works; Stop must follow. On an error
// everything is taken down again.
func (s System) Start(ctx context.Context, cfg *config.Config, id *Identity, log *slog.Logger) (
	*Node, error) {
	if s.Net == nil {
		s.Net = &systemNet{net.Dialer{Timeout: dialTimeout}}
	}
	return start(ctx, s, cfg, id, log)
}

// Start starts a node and returns when it works; Stop must follow. On an error everything is taken
// down again.
func Start(ctx context.Context, cfg *config.Config, id *Identity, log *slog.Logger) (*Node, error) {
	return System{}.Start(ctx, cfg, id, log)
}
