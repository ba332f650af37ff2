package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-network/waybill/node/certificate"
	"github.com/waybill-network/waybill/node/compute"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/content"
	"github.com/waybill-network/waybill/node/ingest"
	"github.com/waybill-network/waybill/node/serve"
	"github.com/waybill-network/waybill/node/telemetry"
	"github.com/waybill-network/waybill/pipeline/status"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
	"github.com/waybill-network/waybill/rollup/manifest"
)

// deliverer is the node's delivery of content: a store, and the port where it is asked for.
type deliverer struct {
	store  *content.Store
	shelf  *shelf // the same, as it is served
	server *serve.Server
	runs   *compute.Service // nil: modules are not run
	// certificate is nil without TLS.
	certificate certificate.Source
	api         *ingest.Server // that is served at the same port; set before the port opens
}

// startContent opens the store of content, and what answers for it. The port opens last.
func (n *Node) startContent(context.Context) error {
	c := &n.cfg.Content
	if c.Listen == "" || n.pipeline == nil {
		return nil
	}
	d := new(deliverer)
	shelf, err := n.openShelf(c)
	if err != nil {
		return err
	}
	d.store, d.shelf = shelf.store, shelf
	n.onStop(func() {
		if err := d.store.Close(); err != nil {
			n.log.Error("the store of content did not close cleanly", "err", err)
		}
	})
	if d.certificate, err = n.contentCertificate(); err != nil {
		return err
	}
	kinds, err := n.startCompute(d, shelf)
	if err != nil {
		return err
	}
	d.server, err = serve.NewServer(serve.Config{
		Network: n.network, Node: n.index, Key: n.id.Transport, Chain: n.chain, Content: shelf,
		Kinds:   kinds,
		Counter: n.pipeline.Counter, Left: n.left, Manifest: shelf.encoded,
		Showing: shelf.showing, API: http.HandlerFunc(d.serveAPI),
		Routes: n.startRoutes(), Private: d.store.Private,
		Accounts: n.accounts, Dir: n.deliveryDir(),
		Rate: uint64(c.Rate), Volume: uint64(c.Volume), Courtesy: uint64(c.Courtesy),
		HTTP3: c.HTTP3, HTTP3Port: portOf(c.URL),
		TLS: tlsOf(d.certificate), MaxConnections: c.MaxConnections, MaxOfOne: c.MaxPerAddress,
		Logger: n.log,
	})
	if err != nil {
		return err
	}
	n.content = d
	return nil
}

// DeliveryDir is the folder in a home for the debts of clients, and what was used of the month's
// volume.
const DeliveryDir = "delivery"

func (n *Node) deliveryDir() string { return filepath.Join(n.cfg.HomeDir(), DeliveryDir) }

// startCompute makes what runs modules from the store of content.
func (n *Node) startCompute(d *deliverer, modules compute.Modules) ([]serve.Kind, error) {
	c := &n.cfg.Compute
	if !c.Enabled {
		return nil, nil
	}
	var err error
	d.runs, err = compute.New(compute.Config{Node: n.index, Modules: modules,
		MaxFuel: uint64(c.MaxFuel), MaxInput: int64(c.MaxInput), Runs: c.Runs, Wait: c.Wait,
		Time: c.Time, Cache: int(c.Cache)})
	if err != nil {
		return nil, err
	}
	n.onStop(func() {
		if err := d.runs.Close(); err != nil {
			n.log.Error("what runs modules did not close cleanly", "err", err)
		}
	})
	return []serve.Kind{d.runs}, nil
}

// fillCompute says what is run.
func (n *Node) fillCompute(c *telemetry.Compute) {
	if n.content == nil || n.content.runs == nil {
		return
	}
	s := n.content.runs.Stats()
	*c = telemetry.Compute{On: true, Open: s.Open, Fuel: s.Fuel, Failed: s.Failed,
		Compiled: s.Compiled, Modules: s.Modules}
	for _, o := range delivery.Outcomes() {
		c.Outcomes = append(c.Outcomes, status.Count{Name: o.String(), Count: s.Outcomes[o]})
	}
}

// left is what may be sent at a payer's cost: what the door takes acks for.
func (n *Node) left(payer, epoch uint32) (uint64, rollup.Code, time.Duration) {
	s := n.pipeline.Credit(payer, epoch)
	return s.Left, s.Code, s.Wait
}

func (d *deliverer) serveAPI(w http.ResponseWriter, r *http.Request) {
	d.api.Handler().ServeHTTP(w, r)
}

// openContentPort begins to deliver.
func (n *Node) openContentPort(context.Context) error {
	if n.content == nil {
		return nil
	}
	server := n.content.server
	err := n.serve("content.listen", n.cfg.Content.Listen, server.Serve,
		func(ctx context.Context) error {
			n.content.api.Drain() // its streams would be waited for
			return server.Shutdown(ctx)
		})
	if err == nil && n.cfg.Content.HTTP3 {
		err = n.openHTTP3(server)
	}
	if err != nil || n.content.certificate == nil {
		return err
	}
	return n.content.certificate.Start()
}

// openHTTP3 begins to deliver over UDP, until the server is shut down.
func (n *Node) openHTTP3(server *serve.Server) error {
	conn, err := net.ListenPacket("udp", n.cfg.Content.Listen)
	if err != nil {
		return fmt.Errorf("content.http3: %w", err)
	}
	n.log.Info("content is delivered over HTTP/3, too", "udp", conn.LocalAddr())
	n.tasks.Go(func() {
		if err := server.ServeHTTP3(conn); err != nil {
			n.failed <- err
		}
	})
	return nil
}

// portOf is the port in a URL; 0 for one that names none.
func portOf(text string) int {
	u, err := url.Parse(text)
	if err != nil {
		return 0
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil {
		return 0
	}
	return int(port)
}

// fillContent says what is delivered.
func (n *Node) fillContent(c *telemetry.Content) {
	if n.content == nil {
		return
	}
	s, stored := n.content.server.Stats(), n.content.store.Stats()
	*c = telemetry.Content{On: true, Sessions: s.Credit.Sessions, Open: s.Open, Streams: s.Streams,
		Waits: s.Waits, Sent: s.Sent, Paid: s.Credit.Paid, Forgiven: s.Credit.Forgiven,
		Outstanding: s.Credit.Outstanding, Owed: s.Credit.Owed, Debtors: s.Credit.Debtors,
		Late: s.Credit.Late, Plain: s.PlainBytes, Month: s.Month,
		Volume: uint64(n.cfg.Content.Volume), Stored: uint64(stored.Bytes),
		Contents: stored.Contents, Hits: stored.Hits, Misses: stored.Misses}
	for _, p := range s.Payers {
		c.Payers = append(c.Payers, telemetry.ContentPayer{Payer: p.Index, Paid: p.Paid,
			Outstanding: p.Outstanding, Owed: p.Owed})
	}
	fillCertificate(c, n.content.certificate)
	if x := s.HTTP3; x.On {
		c.HTTP3 = &telemetry.HTTP3{Open: x.Open, Accepted: x.Accepted, Refused: x.Refused,
			Shown: x.Shown}
	}
	for _, reason := range delivery.Reasons() {
		c.Refusals = append(c.Refusals,
			status.Count{Name: reason.String(), Count: s.Refused[reason]})
		c.Aborts = append(c.Aborts, status.Count{Name: reason.String(), Count: s.Aborted[reason]})
	}
}

// contentCertificate returns the certificate of the port for content, nil when it has none.
func (n *Node) contentCertificate() (certificate.Source, error) {
	c := &n.cfg.Certificate
	if len(c.Names) == 0 {
		return n.fileCertificate("content", n.cfg.Content.TLSCert, n.cfg.Content.TLSKey)
	}
	_, port, err := net.SplitHostPort(n.cfg.Content.Listen)
	if err != nil {
		return nil, fmt.Errorf("content.listen: %w", err)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("content.listen: %w", err)
	}
	source, err := certificate.NewACME(certificate.Authority{Names: c.Names, Email: c.Email,
		Directory: c.Directory, Roots: n.cfg.Path(c.Roots), Dir: n.cfg.Path(c.Path),
		Port: int(number), Log: n.log})
	if err != nil {
		return nil, fmt.Errorf("certificate.roots: %w", err)
	}
	n.onStop(source.Close)
	return source, nil
}

// fileCertificate returns the certificate of a port from its files, nil when it has none.
func (n *Node) fileCertificate(section, chain, key string) (certificate.Source, error) {
	if chain == "" {
		return nil, nil
	}
	source, err := certificate.NewFiles(n.cfg.Path(chain), n.cfg.Path(key), n.log)
	if err != nil {
		return nil, fmt.Errorf("%s.tls_cert, %s.tls_key: %w", section, section, err)
	}
	return source, nil
}

func tlsOf(source certificate.Source) *tls.Config {
	if source == nil {
		return nil
	}
	return source.TLS()
}

// fillCertificate says what clients are shown.
func fillCertificate(c *telemetry.Content, source certificate.Source) {
	if source == nil {
		return
	}
	s := source.State()
	c.Certificate = &telemetry.Certificate{Names: s.Names, Until: s.Until, Wrong: s.Wrong}
}

// shelf is the store of content as package serve needs it.
type shelf struct {
	store   *content.Store
	origins []content.Origin
	chain   serve.Chain
}

// openShelf opens the store and its origin.
func (n *Node) openShelf(c *config.Content) (*shelf, error) {
	o := content.Options{Dir: n.cfg.Path(c.Path), MaxBytes: int64(c.MaxBytes),
		MaxContent: int64(c.MaxContent), Log: n.log}
	s := &shelf{chain: n.chain}
	var err error
	if c.Deny != "" {
		if o.Deny, err = content.OpenDeny(n.cfg.Path(c.Deny)); err != nil {
			return nil, fmt.Errorf("content.deny: %w", err)
		}
	}
	switch {
	case strings.Contains(c.Origin, "://"):
		web, err := content.NewWeb(c.Origin, nil)
		if err != nil {
			return nil, fmt.Errorf("content.origin: %w", err)
		}
		s.origins = append(s.origins, web)
	case c.Origin != "":
		folder, err := content.OpenFolder(n.cfg.Path(c.Origin))
		if err != nil {
			return nil, fmt.Errorf("content.origin: %w", err)
		}
		n.onStop(func() { _ = folder.Close() }) // it was only read
		s.origins = append(s.origins, folder)
	}
	s.store, err = content.Open(o)
	return s, err
}

// Open implements serve.Content.
func (s *shelf) Open(ctx context.Context, root rollup.Hash) (serve.File, error) {
	c, err := s.store.Fetch(ctx, content.Want{Root: root, Size: -1}, s.origins...)
	if err != nil {
		return nil, refusedContent(err)
	}
	return opened{c}, nil
}

// Resolve implements serve.Content.
func (s *shelf) Resolve(_ context.Context, service uint32, path string) (n serve.Name, err error) {
	m, err := s.manifest(service)
	if err != nil {
		return n, err
	}
	e, err := m.Lookup(path)
	if err != nil {
		return n, delivery.Refuse(delivery.ReasonNotFound, "service %d: %w", service, err)
	}
	return serve.Name{Root: e.Root, Manifest: m.Digest(), Path: manifest.PathDigest(path),
		Type: e.Type, MaxAge: time.Duration(e.Life) * time.Second}, nil
}

// encoded is the manifest of a service as it is sent.
func (s *shelf) encoded(service uint32) ([]byte, error) {
	m, err := s.manifest(service)
	if err != nil {
		return nil, err
	}
	return m.Append(nil), nil
}

func (s *shelf) showing(service uint32, path string) ([]byte, error) {
	m, err := s.manifest(service)
	if err != nil {
		return nil, err
	}
	shown, err := m.Showing(path)
	if err != nil {
		return nil, delivery.Refuse(delivery.ReasonMalformed, "%w", err)
	}
	return shown.Append(nil), nil
}

// manifest returns a service's manifest. It is held against the ledger each time: its service may
// have another owner than when it was taken, and its epochs may be over.
func (s *shelf) manifest(service uint32) (*manifest.Manifest, error) {
	none := func(err error) (*manifest.Manifest, error) {
		return nil, delivery.Refuse(delivery.ReasonNotFound, "service %d: %w", service, err)
	}
	m, ok := s.store.Manifest(service)
	view := s.chain.View()
	of, registered := view.Service(service)
	if !ok || !registered {
		return none(errors.New("there is no manifest"))
	}
	owner, ok := view.Account(of.Owner)
	if !ok {
		return none(errors.New("there is no owner"))
	}
	network := view.Network()
	if err := m.Verify(&network, service, view.Epoch(), owner.Key); err != nil {
		return none(err)
	}
	return m, nil
}

// refusedContent says in terms of a delivery why the store refuses.
func refusedContent(err error) error {
	for _, c := range []struct {
		is   content.Reason
		says delivery.Reason
	}{
		{content.ReasonDenied, delivery.ReasonDenied},
		{content.ReasonAbsent, delivery.ReasonNotFound},
		{content.ReasonPurged, delivery.ReasonNotFound},
		{content.ReasonNoOrigin, delivery.ReasonNotFound},
		{content.ReasonOriginAbsent, delivery.ReasonNotFound},
		{content.ReasonOriginRefused, delivery.ReasonNotFound},
		{content.ReasonMismatch, delivery.ReasonNotFound},
		{content.ReasonBusy, delivery.ReasonStreams},
		{content.ReasonClosed, delivery.ReasonShuttingDown},
	} {
		if errors.Is(err, c.is) {
			// Strangers hear of it: nothing of folders and origins.
			return delivery.Refuse(c.says, "%w", c.is)
		}
	}
	return delivery.Refuse(delivery.ReasonFailed, "%w", err)
}

// opened is content that is open.
type opened struct{ *content.Content }

// Size implements serve.File.
func (o opened) Size() uint64 { return uint64(o.Content.Size) }

// Parents implements serve.File.
func (o opened) Parents(dst []byte, first, next, end uint64) ([]byte, error) {
	dst, err := o.AppendNodes(dst, int64(first), int64(next), int64(end))
	if err != nil {
		err = refusedContent(err)
	}
	return dst, err
}

// Check implements serve.File.
func (o opened) Check() error {
	if err := o.Content.Check(); err != nil {
		return refusedContent(err)
	}
	return nil
}
