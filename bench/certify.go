package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/peer"
	"github.com/waybill-network/waybill/node/signer"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

var certifySuite = Suite{
	Name: "certify",
	What: "a rollup from sealing to its place in the ledger, with a committee of four",
	Build: func(ctx context.Context, quick bool) ([]Comparison, error) {
		acks := rollup.MaxAcks
		if quick {
			acks = 4096
		}
		return certification(ctx, acks, 256)
	},
}

// members is the size of the committee. A full rollup takes a slow machine a while.
const (
	members     = 4
	pushTimeout = 10 * time.Minute
)

// certification measures one rollup's way in parts, each with all cores, one after the other; and
// what a push costs beyond the verification in it.
func certification(ctx context.Context, acks, clients int) ([]Comparison, error) {
	// Each round starts the same network anew: its start is part of its name.
	c := &committee{config: pipelinetest.Config{Members: members, Clients: clients, Payers: 8,
		Services: services, Start: time.Now()}}
	if err := c.restart(); err != nil {
		return nil, err
	}
	t := newTraffic(c.network.ID, rollup.WindowKey{}, c.network.Clients, acks)
	r := newRollup(t, acks)
	part := func(name string, run func(*rollupWay) error) Contender {
		return Contender{Name: name, Kind: KindOwn, Run: func() (int, error) { return 1, run(r) }}
	}
	parts := []Contender{{Name: "seal: sort, tree, rows, header; durable", Kind: KindOwn,
		Prepare: c.restart, Run: func() (int, error) { return 1, r.seal(c) }}}
	for i := range members {
		where := "over TLS"
		if i == 0 {
			where = "own, in process"
		}
		parts = append(parts,
			part(fmt.Sprintf("member %d (%s): verify, keep, lock, sign", i, where),
				func(r *rollupWay) error { return r.push(ctx, c, i) }))
	}
	parts = append(parts,
		part("verify the four shares", func(r *rollupWay) error { return r.verifyShares(c) }),
		part("certificate and its transaction", func(r *rollupWay) error { return r.certify(c) }),
		part("order: check, execute, block", func(r *rollupWay) error { return r.order(ctx, c) }))
	few := min(acks, 8192)
	small := newRollup(t, few)
	return []Comparison{{
		Name: fmt.Sprintf("Certify/acks=%d/clients=%d", acks, clients),
		What: fmt.Sprintf("parts of certifying a rollup of %d acks", acks), Op: "rollup",
		Contenders: parts, View: ViewParts, Rounds: 3, Cold: true, Close: c.close,
		Extra: func(samples []Sample) string {
			verifying := 0.0
			for _, s := range samples[1 : 1+members] {
				verifying += s.Share
			}
			return fmt.Sprintf("the four members' verification is %.1f %% of the work; here they "+
				"share a machine and take turns, "+
				"on machines of their own a certificate takes about as long as the slowest of "+
				"three", 100*verifying)
		},
	}, {
		Name: fmt.Sprintf("Push/acks=%d/clients=%d", few, clients),
		What: "what a push over TLS costs beyond the verification in it", Op: "ack", Rounds: 6,
		Contenders: []Contender{
			{Name: "rollup.Verify alone", Kind: KindOwn, Prepare: func() error {
				return errors.Join(c.restart(), small.seal(c))
			}, Run: func() (int, error) { return few, small.verify(c) }},
			{Name: "push to a member over TLS", Kind: KindOwn,
				Run: func() (int, error) { return few, small.push(ctx, c, 1) }},
		},
		Close: c.close,
	}}, nil
}

// rollupWay is a rollup and what it has gathered on its way.
type rollupWay struct {
	frames      []byte
	aggregate   [bls.SignatureSize]byte
	sealer      rollup.Sealer
	header      *rollup.Header
	evidence    rollup.Acks
	encoded     []byte // the header
	own         [rollup.WordSize]byte
	shares      [members][bls.SignatureSize]byte
	parsed      []bls.Signature
	transaction []byte
}

func newRollup(t *traffic, acks int) *rollupWay {
	return &rollupWay{frames: t.frames[:acks*rollup.AckSize], aggregate: t.aggregate(acks)}
}

func (r *rollupWay) seal(c *committee) (err error) {
	if r.header, r.evidence, err = r.sealer.Seal(c.network.ID, rollup.WindowKey{}, r.frames,
		r.aggregate, c.network.View()); err != nil {
		return err
	}
	r.encoded = r.header.Append(nil)
	transport := c.network.Members[0].Transport
	r.own = rollup.SignOwn(transport, r.header)
	return c.stores[0].PutSealed(rollup.NewArchive(r.header, r.evidence, nil, nil))
}

func (r *rollupWay) verify(c *committee) error {
	return rollup.Verify(r.header, rollup.AcksEvidence(r.evidence), c.network.ID, c.network.View(),
		nil, runtime.GOMAXPROCS(0))
}

func (r *rollupWay) push(ctx context.Context, c *committee, member int) (err error) {
	r.shares[member], err = c.reach.Push(ctx, uint32(member), r.encoded, r.own, r.evidence)
	return err
}

func (r *rollupWay) verifyShares(c *committee) error {
	message := rollup.CertificateMessage(&c.network.ID, 0, r.header.Key(), r.header.ID())
	r.parsed = r.parsed[:0]
	for i, m := range c.network.View().Committee().Members {
		share, err := bls.ParseSignature(r.shares[i][:])
		if err == nil && !bls.Default.Verify(m.Key, message, &share) {
			err = bls.VerdictBadSignature
		}
		if err != nil {
			return fmt.Errorf("share of member %d: %w", i, err)
		}
		r.parsed = append(r.parsed, share)
	}
	return nil
}

func (r *rollupWay) certify(c *committee) error {
	signers := rollup.NewBitmap(members)
	for i := range members {
		signers.Set(i)
	}
	aggregate := bls.AggregateSignatures(r.parsed)
	certificate := &rollup.Certificate{Header: *r.header, Own: r.own, Signers: signers,
		Signature: aggregate.Bytes()}
	r.transaction = ledger.NewTicket(c.network.ID, certificate)
	return c.stores[0].PutCertificate(r.header.Key(), certificate.Append(nil))
}

func (r *rollupWay) order(ctx context.Context, c *committee) error {
	if err := c.network.SubmitTx(ctx, r.transaction); err != nil {
		return err
	}
	if !c.network.View().IsOrdered(r.header.Key()) {
		return fmt.Errorf("%v was not ordered", r.header.Key())
	}
	return nil
}

// committee is four members with stores on disk, who serve the peer API over TLS on loopback; node
// 0 reaches them.
type committee struct {
	config  pipelinetest.Config
	network *pipelinetest.Network
	dir     string
	stores  []*store.Store
	servers []*peer.Server
	serving sync.WaitGroup
	reach   *peer.Members
}

// restart begins with a new ledger and empty stores: members sign a window once, and the ledger
// orders it once.
func (c *committee) restart() (err error) {
	if err := c.close(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	if c.network, err = pipelinetest.New(c.config); err != nil {
		return err
	}
	view := c.network.View()
	// decoded at first use, which is no part of the work
	parallel(int(view.Clients()), func(i int) { view.Client(uint64(i)) })
	if c.dir, err = os.MkdirTemp("", "waybill-bench-"); err != nil {
		return err
	}
	addresses := make(map[string]string) // where a registered address is served
	var own *peer.Member
	for i := range members {
		member, err := c.member(i)
		if err != nil {
			return err
		}
		if i == 0 {
			own = member
			continue
		}
		address, err := c.serve(i, member)
		if err != nil {
			return err
		}
		node, _ := view.Node(uint32(i))
		addresses[node.PeerAddress] = address
	}
	transport := c.network.Members[0].Transport
	certificate, err := peer.NewCertificate(transport)
	if err != nil {
		return err
	}
	c.reach = peer.NewMembers(peer.MembersConfig{Chain: c.network, Certificate: certificate,
		Local: own, Self: 0, Timeout: pushTimeout,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addresses[address])
		}})
	return nil
}

func (c *committee) member(i int) (*peer.Member, error) {
	s, err := newStore(filepath.Join(c.dir, fmt.Sprint(i)))
	if err != nil {
		return nil, err
	}
	c.stores = append(c.stores, s)
	key := c.network.Members[i].BLS
	return peer.NewMember(peer.MemberConfig{Network: c.network.ID,
		Keys: signer.NewLocal(key, nil), Chain: c.network,
		Store: s, Workers: runtime.GOMAXPROCS(0),
		Concurrent: 1, Waiting: 1, Logger: slog.New(slog.DiscardHandler)}), nil
}

func (c *committee) serve(i int, member *peer.Member) (address string, err error) {
	transport := c.network.Members[i].Transport
	certificate, err := peer.NewCertificate(transport)
	if err != nil {
		return "", err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := peer.NewServer(peer.ServerConfig{Member: member, Chain: c.network,
		Certificate: certificate, Logger: slog.New(slog.DiscardHandler)})
	c.servers = append(c.servers, server)
	c.serving.Go(func() { _ = server.Serve(listener) }) // an early end shows in the next push
	return listener.Addr().String(), nil
}

// close ends everything; restart begins it again.
func (c *committee) close() error {
	var errs []error
	if c.reach != nil {
		c.reach.Close()
		c.reach = nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), pushTimeout)
	defer cancel()
	for _, s := range c.servers {
		errs = append(errs, s.Shutdown(ctx))
	}
	c.serving.Wait()
	for _, s := range c.stores {
		errs = append(errs, s.Close())
	}
	if c.dir != "" {
		errs = append(errs, os.RemoveAll(c.dir))
	}
	c.servers, c.stores, c.dir = nil, nil, ""
	return errors.Join(errs...)
}
