package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"sync"

	"github.com/waybill-network/waybill/node/peer"
	"github.com/waybill-network/waybill/node/signer"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
)

// memberSuite is about one member's work, which is the network's ceiling: each verifies every
// rollup and every certificate.
var memberSuite = Suite{
	Name: "member",
	What: "what one committee member can settle: rollups that nodes push to it, and certificates",
	Build: func(ctx context.Context, quick bool) ([]Comparison, error) {
		nodes, clients, certified := []int{1, 4, 8, 16}, 4096, []int{1000, 3000, 10_000}
		if quick {
			nodes, clients, certified = []int{8}, rollup.CircuitSizes[0], certified[:1]
		}
		list, err := feeds(ctx, nodes, clients, 16)
		if err != nil {
			return nil, err
		}
		for _, n := range certified {
			list = append(list, *certificates(n))
		}
		return list, nil
	},
}

// feeds measures members to which so many nodes push a rollup each at once, of all clients with so
// many acks each. The proofs of rung 3 come first.
func feeds(ctx context.Context, nodes []int, clients, acks int) ([]Comparison, error) {
	most := nodes[len(nodes)-1]
	c, err := newCrowdOf(clients, 1+most)
	if err != nil {
		return nil, err
	}
	proofs := &proving{ctx: ctx, size: clients}
	all := make([]*fed, most)
	for i := range all {
		w, err := c.statementWindow(rollup.WindowKey{Node: uint32(1 + i)}, clients, acks)
		if err != nil {
			return nil, err
		}
		proven, err := proofs.window(w)
		if err != nil {
			return nil, err
		}
		all[i] = &fed{proven: proven,
			own: rollup.SignOwn(c.network.Members[1+i].Transport, w.header)}
	}
	list := proofs.comparisons()
	for _, n := range nodes {
		f := &feed{ctx: ctx, crowd: c, proofs: proofs, rollups: all[:n], acks: n * clients * acks}
		list = append(list, f.comparison(clients, acks))
	}
	return list, nil
}

// fed is a rollup that a node pushes.
type fed struct {
	proven *provenWindow
	own    [rollup.WordSize]byte
	second *encodedRollup // on rung 2
	third  *encodedRollup
}

// feed is a member, a server as a node has it, and the nodes that push to it over TLS. A member
// signs a window once, so each run has another one with an empty store.
type feed struct {
	ctx     context.Context
	crowd   *crowd
	proofs  *proving
	rollups []*fed
	acks    int

	dir     string
	store   *store.Store
	member  *peer.Member
	server  *peer.Server
	serving sync.WaitGroup
	reach   []*peer.Members // of each node
}

func (f *feed) comparison(clients, acks int) Comparison {
	n := len(f.rollups)
	axis := fmt.Sprintf("acks of a member, %d clients with %d acks a rollup, by nodes", clients,
		acks)
	push := func(name string, of func(r *fed) *encodedRollup) Contender {
		return Contender{Name: name, Kind: KindOwn, Prepare: f.restart,
			Receive: func() (bytes int) {
				for _, r := range f.rollups {
					bytes += of(r).size()
				}
				return bytes
			},
			Run: func() (int, error) { return f.acks, f.pushAll(of) }}
	}
	c := Comparison{
		Name: fmt.Sprintf("Member/nodes=%d/clients=%d/acks=%d", n, clients, acks),
		What: fmt.Sprintf("a member to which %d nodes push at once over TLS: verified, kept, signed; "+
			"the nodes run on the same cores", n),
		Op: "ack", Rounds: 6, Curves: []Point{{axis, float64(n)}}, Close: f.close,
		Contenders: []Contender{push(rung2Name, func(r *fed) *encodedRollup { return r.second }),
			push(rung3Name, func(r *fed) *encodedRollup { return r.third })},
	}
	c.Extra = func(samples []Sample) string {
		second, third := 1e3/samples[0].CPUNsPerOp, 1e3/samples[1].CPUNsPerOp
		return fmt.Sprintf("by processor time, pushing included, a core does %.1f million acks a "+
			"second on rung 2 and %.1f on rung 3", second, third)
	}
	if n >= 8 && runtime.GOMAXPROCS(0) == 2 {
		for _, rung := range []string{rung2Name, rung3Name} {
			c.Goals = append(c.Goals, Goal{What: "a member settles ≥ 10 million acks a second on " +
				"two cores, fed by " + fmt.Sprint(n) + " nodes, " + rung, Of: rung, PerSecond: 10e6})
		}
	}
	return c
}

// encode needs the proofs.
func (f *feed) encode() (err error) {
	for _, r := range f.rollups {
		if r.third != nil {
			continue
		}
		r.second = encode(r.proven.header, r.proven.evidence)
		if r.third, err = r.proven.encode(); err != nil {
			return err
		}
	}
	return nil
}

func (f *feed) restart() (err error) {
	if err := errors.Join(f.close(), f.encode()); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.close())
		}
	}()
	if f.dir, err = os.MkdirTemp("", "waybill-bench-"); err != nil {
		return err
	}
	if f.store, err = newStore(f.dir); err != nil {
		return err
	}
	network, log := f.crowd.network, slog.New(slog.DiscardHandler)
	own := network.Members[0]
	f.member = peer.NewMember(peer.MemberConfig{Network: network.ID,
		Keys: signer.NewLocal(own.BLS, nil), Chain: network, Store: f.store,
		Proofs:  func(uint32) rollup.ProofVerifier { return f.proofs.check },
		Workers: runtime.GOMAXPROCS(0), Concurrent: 2, Waiting: 2 * len(f.rollups), Logger: log})
	certificate, err := peer.NewCertificate(own.Transport)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	f.server = peer.NewServer(peer.ServerConfig{Member: f.member, Chain: network,
		Certificate: certificate, Logger: log})
	f.serving.Go(func() { _ = f.server.Serve(listener) }) // an early end shows in the next push
	for i := range f.rollups {
		certificate, err := peer.NewCertificate(network.Members[1+i].Transport)
		if err != nil {
			return err
		}
		reach := peer.NewMembers(peer.MembersConfig{Chain: network,
			Certificate: certificate, Timeout: pushTimeout,
			Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, listener.Addr().String())
			}})
		f.reach = append(f.reach, reach)
		if _, err := reach.Contact(f.ctx, 0); err != nil { // nodes keep their connections
			return err
		}
	}
	return nil
}

var errUnsigned = errors.New("a member signed fewer rollups than were pushed")

// pushAll has every node push its rollup, at once.
func (f *feed) pushAll(of func(r *fed) *encodedRollup) error {
	errs := make([]error, len(f.rollups))
	var pushing sync.WaitGroup
	for i, r := range f.rollups {
		pushing.Go(func() {
			_, errs[i] = f.reach[i].Push(f.ctx, 0, of(r).header, r.own, of(r).evidence)
		})
	}
	pushing.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if f.member.Stats().Signed != uint64(len(f.rollups)) {
		return errUnsigned
	}
	return nil
}

// close ends everything; restart begins it again.
func (f *feed) close() error {
	for _, r := range f.reach {
		r.Close()
	}
	var errs []error
	if f.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), pushTimeout)
		defer cancel()
		errs = append(errs, f.server.Shutdown(ctx))
	}
	f.serving.Wait()
	if f.store != nil {
		errs = append(errs, f.store.Close())
	}
	if f.dir != "" {
		errs = append(errs, os.RemoveAll(f.dir))
	}
	f.reach, f.server, f.store, f.dir = nil, nil, nil, ""
	return errors.Join(errs...)
}
