package loopback

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/waybill-network/waybill/bench"
	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/rollup"
)

// Content is what a feeding node delivers over TLS, from a folder that a web server can serve, too.
type Content struct {
	dir   string // with b3/ROOT, cert.pem and key.pem
	roots *x509.CertPool
}

// configure has a node deliver it. One machine is all clients here.
func (c *Content) configure(to *config.Config) {
	to.Content.Origin = c.dir
	to.Content.TLSCert, to.Content.TLSKey = filepath.Join(c.dir, "cert.pem"),
		filepath.Join(c.dir, "key.pem")
	to.Content.MaxPerAddress = to.Content.MaxConnections
}

// newContent makes a folder with a certificate and no content.
func newContent() (*Content, error) {
	dir, err := os.MkdirTemp("", "waybill-content-")
	if err != nil {
		return nil, err
	}
	c := &Content{dir: dir}
	if err = os.Mkdir(filepath.Join(dir, "b3"), 0o700); err == nil {
		c.roots, err = certify(dir)
	}
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

func (c *Content) close() error { return os.RemoveAll(c.dir) }

// add makes content of a size that follows from a seed.
func (c *Content) add(seed byte, size int64) (root rollup.Hash, err error) {
	f, err := os.Create(filepath.Join(c.dir, "new"))
	if err != nil {
		return root, err
	}
	digest := blake3.NewEncoder(io.Discard, blake3.GroupSize)
	_, err = io.CopyN(io.MultiWriter(f, digest), rand.NewChaCha8([32]byte{seed}), size)
	sum, failed := digest.Finish()
	if err = errors.Join(err, failed, f.Close()); err != nil {
		return root, err
	}
	root = sum
	return root, os.Rename(f.Name(), filepath.Join(c.dir, "b3", root.String()))
}

// DeliveryOptions say how the suite delivery is run.
type DeliveryOptions struct {
	Program string // that a node is; empty: this one
	Clients int    // that fetch at once
}

// DefaultClients is how many clients fetch at once by default.
const DefaultClients = 64

// objects is how many contents of 1 MiB there are.
const objects = 64

// DeliverySuite has a node and nginx deliver the same files over TLS by turns.
func DeliverySuite(o *DeliveryOptions) bench.Suite {
	return bench.Suite{
		Name:  "delivery",
		Apart: true,
		What: "a node that delivers content over TLS against acks, and nginx with the same files; " +
			"only when it is named",
		Build: func(ctx context.Context, quick bool) ([]bench.Comparison, error) {
			d := &delivery{ctx: ctx, clients: o.Clients, large: 1 << 30}
			if quick {
				d.clients, d.large = min(o.Clients, 16), 128<<20
			}
			program := o.Program
			if program == "" {
				var err error
				if program, err = os.Executable(); err != nil {
					return nil, err
				}
			}
			if err := d.start(program); err != nil {
				return nil, errors.Join(err, d.close())
			}
			return d.comparisons(), nil
		},
	}
}

// delivery is a node and a web server, and clients of both, each with connections of its own that
// it keeps.
type delivery struct {
	ctx      context.Context
	clients  int
	large    int64
	content  *Content
	network  *Network
	server   *nginx // nil: it is not installed
	bare     *bare
	small    []rollup.Hash
	big      rollup.Hash
	paying   []*client.Fetcher
	fetchers []*client.Client
	plain    map[string][]*plain // by contender
}

func (d *delivery) start(program string) (err error) {
	if d.content, err = newContent(); err != nil {
		return err
	}
	for i := range objects {
		root, err := d.content.add(byte(i), 1<<20)
		if err != nil {
			return err
		}
		d.small = append(d.small, root)
	}
	if d.big, err = d.content.add(255, d.large); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(d.ctx, startWithin)
	defer cancel()
	d.network, err = Start(ctx, Config{Program: program, Members: 1, Feeding: 1,
		Clients: d.clients, Epoch: time.Hour, Window: 2 * time.Second, Grace: 10 * time.Second,
		Content: d.content})
	if err != nil {
		return err
	}
	if d.server, err = startNginx(ctx, d.content); err != nil {
		return err
	}
	if d.bare, err = startBare(d.content); err != nil {
		return err
	}
	trust := &tls.Config{RootCAs: d.content.roots}
	d.plain = make(map[string][]*plain)
	node := d.network.written.Nodes[d.network.cfg.Members]
	pin := &client.Pin{Network: d.network.id, Node: d.network.nodes[0],
		Key: d.network.written.Joining[0].Registration.TransportKey}
	for i := range d.clients {
		c, err := client.New(client.Config{URL: "https" + node.Content[len("http"):], Pin: pin,
			Book: client.MemoryBook(), TLS: trust, Committee: d.network.written.Genesis.Committee()})
		if err != nil {
			return err
		}
		d.fetchers = append(d.fetchers, c)
		f, err := client.NewFetcher(client.FetchConfig{Nodes: []*client.Client{c},
			Client: d.network.indices[i], Key: d.network.secrets[i], MaxPrice: price,
			Silence: time.Minute, Stall: time.Minute})
		if err != nil {
			return err
		}
		d.paying = append(d.paying, f)
		d.plain[bareName] = append(d.plain[bareName], newPlain(d.bare.url, trust, false))
		if d.server != nil {
			d.plain[nginxName] = append(d.plain[nginxName], newPlain(d.server.url, trust, false))
			d.plain[nginx2Name] = append(d.plain[nginx2Name], newPlain(d.server.url, trust, true))
		}
	}
	return d.season()
}

// seasoned is how many contents each client has had of the node before: its window is at its
// largest then, and its streams have connections of their own. The node has all in its store.
const seasoned = 8

func (d *delivery) season() error {
	for _, root := range append([]rollup.Hash{d.big}, d.small...) {
		size := int64(1 << 20)
		if root == d.big {
			size = d.large
		}
		if err := d.pay(0, root, size); err != nil {
			return err
		}
	}
	errs, places := make([]error, d.clients), make(chan struct{}, 2*runtime.GOMAXPROCS(0))
	var group sync.WaitGroup
	for i := range d.clients {
		group.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			for j := 0; j < seasoned && errs[i] == nil; j++ {
				errs[i] = d.pay(i, d.small[(i+j)%len(d.small)], 1<<20)
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// comparisons are those of many clients, and of one. The first one ends everything.
func (d *delivery) comparisons() []bench.Comparison {
	without := ""
	if d.server == nil {
		without = "; nginx is not installed here, so that there is nothing to compare it with"
	}
	list := []bench.Comparison{
		d.comparison(fmt.Sprintf("Deliver/clients=%d/bytes=%d", d.clients, 1<<20),
			fmt.Sprintf("1 MiB to each of %d clients at once, over connections that are kept%s",
				d.clients, without), d.clients, 1<<20, 0.8),
		d.comparison(fmt.Sprintf("Deliver/clients=1/bytes=%d", d.large),
			fmt.Sprintf("%d MiB to one client%s", d.large>>20, without), 1, d.large, 0.95),
	}
	list[0].Close = d.close
	return list
}

const (
	nginxName  = "nginx, HTTP/1.1, verified"
	nginx2Name = "nginx, HTTP/2, verified"
	bareName   = "bare net/http, HTTP/1.1, verified"
	ownName    = "a node, verified and acknowledged"
)

func (d *delivery) comparison(name, what string, clients int, size int64,
	ratio float64) bench.Comparison {
	round := 0
	root := func(i int) rollup.Hash {
		if size == d.large {
			return d.big
		}
		return d.small[(i+round)%len(d.small)]
	}
	each := func(fetch func(i int, root rollup.Hash) error) (int, error) {
		round++
		errs := make([]error, clients)
		var group sync.WaitGroup
		for i := range clients {
			group.Go(func() { errs[i] = fetch(i, root(i)) })
		}
		group.Wait()
		return clients * int(size), errors.Join(errs...)
	}
	spent := map[string]*meter{nginxName: {pids: d.server.pids}, nginx2Name: {pids: d.server.pids},
		ownName: {pids: d.network.servers}}
	c := bench.Comparison{Name: name, What: what, Op: "byte", Rounds: 6,
		Extra: func([]bench.Sample) string {
			return describe(spent, nginxName, nginx2Name, ownName)
		}}
	add := func(name string, kind bench.Kind, fetch func(i int, root rollup.Hash) error) {
		x := bench.Contender{Name: name, Kind: kind, Run: func() (int, error) { return each(fetch) }}
		if m := spent[name]; m != nil {
			x.Prepare, x.Child = m.begin, func() bench.Usage { return bench.Usage{CPU: m.last} }
			x.Run = func() (int, error) {
				n, err := each(fetch)
				m.end(n)
				return n, err
			}
		}
		c.Contenders = append(c.Contenders, x)
	}
	for _, peer := range []string{nginxName, nginx2Name, bareName} {
		clients := d.plain[peer]
		if clients == nil {
			continue
		}
		add(peer, bench.KindPeer, func(i int, root rollup.Hash) error {
			return clients[i].fetch(d.ctx, root, size)
		})
	}
	if d.server != nil {
		c.Goals = []bench.Goal{{What: fmt.Sprintf("≥ %v of nginx's throughput", ratio),
			Against: nginxName, Ratio: ratio}}
	}
	add(ownName, bench.KindOwn, func(i int, root rollup.Hash) error { return d.pay(i, root, size) })
	return c
}

// pay fetches content against acks.
func (d *delivery) pay(i int, root rollup.Hash, size int64) error {
	r, err := d.paying[i].Open(d.ctx, root)
	if err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, r)
	if err = errors.Join(err, r.Close()); err == nil && n != size {
		err = fmt.Errorf("%w: %d bytes of %d", errOther, n, size)
	}
	return err
}

var errOther = errors.New("other content came")

// close ends clients, servers and folders.
func (d *delivery) close() (err error) {
	for i, f := range d.paying {
		failed := f.Close()
		if s := f.Stats(); failed == nil && s.Received != s.Charged+s.Refused {
			failed = fmt.Errorf("client %d received %d bytes and acknowledged %d", i, s.Received,
				s.Charged)
		}
		err = errors.Join(err, failed)
	}
	for _, c := range d.fetchers {
		c.Close()
	}
	for _, clients := range d.plain { // order-free
		for _, p := range clients {
			p.http.CloseIdleConnections()
		}
	}
	if d.bare != nil {
		err = errors.Join(err, d.bare.close())
	}
	if d.server != nil {
		err = errors.Join(err, d.server.close())
	}
	if d.network != nil {
		err = errors.Join(err, d.network.Close())
	}
	if d.content != nil {
		err = errors.Join(err, d.content.close())
	}
	return err
}
