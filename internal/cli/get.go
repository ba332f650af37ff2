package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/node/keys"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// getFlags are those of waybill get.
type getFlags struct {
	genesis, key, book, out string
	nodes, pins, ask        []string
	origin, owner, evidence string
	route                   bool
	client                  uint64
	service                 uint32
	maxPrice                uint64
}

// got is what waybill get did.
type got struct {
	Root     rollup.Hash `json:"root"`
	File     string      `json:"file"`
	Bytes    uint64      `json:"bytes"`    // that were written
	Complete bool        `json:"complete"` // the file is whole
	Received uint64      `json:"received"`
	Charged  uint64      `json:"charged"`
	Acks     uint64      `json:"acks"`
	Nodes    []gotFrom   `json:"nodes"`
	Seconds  float64     `json:"seconds"`
}

type gotFrom struct {
	Node     string `json:"node"`
	Received uint64 `json:"received"`
	Charged  uint64 `json:"charged"`
}

func newGet() *cobra.Command {
	var f getFlags
	cmd := &cobra.Command{
		Use:   "get --genesis FILE --client N --key FILE --out FILE ROOT|SERVICE/PATH|URL",
		Short: "Fetch content, verified, and acknowledge it",
		Long: `Fetches content by its root (BLAKE3, 64 hexadecimal digits) from a node's content
port, or from the node of a URL that ends in /b3/ROOT; or what the site of a service
has under a path, as SERVICE/PATH or in a URL that ends in /site/SERVICE/PATH, shown
under the signature of the site's owner. Every group of 16 KiB is
verified before it counts. The client signs acks for what it verified, and for
nothing else; its payer pays the service's price for them, and the nodes keep them.

With --ask, any node is asked for the list of all nodes that the committee signed; the
candidates for the content follow from it and from the root alone. --node names nodes
that are asked whatever the content. Of several nodes the near ones are preferred.
What one node does not give, or when it falls silent, comes from another one, from the
byte on where it was. What no node gives comes from --origin, verified and unpaid.
--route shows the candidates and how soon each answers, and fetches nothing.

What is signed stands in the book before, which is a file of its own for each key:
do not copy it, and do not restore an old one.

A node whose head names a price above the service's, or other content than the
manifest that it names, has lied; --evidence is a folder for files that show it, which
'waybill verify' takes.

A node is believed to be what the genesis file, or --pin, says: its key signs what it
sends. A file that is there is not overwritten.`,
		Example: "  waybill get --genesis genesis.json --client 12 --key client.json \\\n" +
			"    --out film.mp4 http://127.0.0.1:7404/b3/2d1f…\n" +
			"  waybill get --genesis genesis.json --client 12 --key client.json \\\n" +
			"    --out film.mp4 --ask http://127.0.0.1:7404 2d1f…\n" +
			"  waybill get --route --genesis genesis.json --ask http://127.0.0.1:7404 2d1f…",
		Args: exactly(1, "one root, path of a site, or URL"),
	}
	asJSON := jsonFlag(cmd)
	password := passwordFlag(cmd, "the client's key", false)
	fl := cmd.Flags()
	fl.StringVarP(&f.genesis, "genesis", "g", "genesis.json", "the network's genesis `file`")
	fl.StringArrayVar(&f.nodes, "node", nil, "`URL` of a node's content port; may be repeated")
	fl.StringArrayVar(&f.pins, "pin", nil,
		"`network/node/key` of the --node at the same place, for nodes that are not in the genesis file")
	fl.StringArrayVar(&f.ask, "ask", nil,
		"`URL` of any node's content port, which is asked where content is; may be repeated")
	fl.StringVar(&f.origin, "origin", "",
		"`URL` in front of /b3/ROOT for what no node delivers; nobody is paid for that")
	fl.StringVar(&f.owner, "owner", "",
		"account `key` of the site's owner; by default the node says whose it is")
	fl.StringVar(&f.evidence, "evidence", "", "`folder` for heads that lie")
	fl.BoolVar(&f.route, "route", false, "show the candidates for the content, and fetch nothing")
	fl.Uint64Var(&f.client, "client", 0, "`index` of the client in the registry")
	fl.StringVar(&f.key, "key", "", "the client's key (keystore `file`)")
	fl.Uint32Var(&f.service, "service", 0, "`index` of the service that is paid for")
	fl.Uint64Var(&f.maxPrice, "max-price", 0,
		"most `micro-credits` for 2^20 bytes; 0: the service's price")
	fl.StringVar(&f.book, "book", "",
		"the `file` of what was signed; by default the key's, with .book")
	fl.StringVarP(&f.out, "out", "o", "", "`file` to write; - is standard output")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if f.route {
			return f.showRoute(cmd, args[0], *asJSON)
		}
		for _, name := range []string{"client", "key", "out"} {
			if !fl.Changed(name) {
				return usagef("--%s is required", name)
			}
		}
		what, err := f.parse(args[0])
		if err != nil {
			return usagef("%w", err)
		}
		if u, err := url.Parse(args[0]); err == nil && u.Host != "" {
			f.nodes = append([]string{u.Scheme + "://" + u.Host}, f.nodes...)
		}
		if len(f.nodes) == 0 && len(f.ask) == 0 {
			return usagef("--ask or --node is required with a root")
		}
		if err := isNew(f.out); err != nil { // before anything is paid
			return err
		}
		pass, err := password()
		if err != nil {
			return err
		}
		result, err := f.run(cmd.Context(), what, pass, cmd.OutOrStdout())
		if result == nil {
			return err
		}
		printed := cmd.OutOrStdout()
		if f.out == "-" {
			printed = cmd.ErrOrStderr()
		}
		if *asJSON {
			return errors.Join(err, printJSON(printed, result))
		}
		result.print(printed)
		return err
	}
	return cmd
}

func (f *getFlags) run(ctx context.Context, what wanted, password []byte, stdout io.Writer) (
	result *got, err error) {
	genesis, err := readGenesis(f.genesis)
	if err != nil {
		return nil, err
	}
	key, err := keys.LoadBLS(f.key, password)
	if err != nil {
		return nil, err
	}
	if f.book == "" {
		f.book = f.key + ".book"
	}
	book, err := client.OpenBook(f.book)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, book.Close()) }()
	cfg := client.FetchConfig{Client: f.client, Key: key, Service: f.service,
		MaxPrice: f.maxPrice, Origin: f.origin, Evidence: f.evidence}
	terms, err := termsOf(genesis, f.book+".terms")
	if err != nil {
		return nil, err
	}
	if len(f.ask) > 0 {
		directory, err := f.directory(genesis, book, terms)
		if err != nil {
			return nil, err
		}
		defer directory.Close()
		cfg.Router = directory
	}
	for i, node := range f.nodes {
		c, err := f.at(ctx, genesis, book, terms, i, node)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		cfg.Nodes = append(cfg.Nodes, c)
	}
	fetcher, err := client.NewFetcher(cfg)
	if err != nil {
		return nil, err
	}
	return f.fetch(ctx, fetcher, what, stdout)
}

// at returns the client of one node, which is one of the genesis file or has a pin.
func (f *getFlags) at(ctx context.Context, genesis *ledger.Genesis, book *client.Book,
	terms *client.Terms, i int, node string) (*client.Client, error) {
	var pin client.Pin
	if i < len(f.pins) {
		var err error
		if pin, err = client.ParsePin(f.pins[i]); err != nil {
			return nil, usagef("--pin: %w", err)
		}
	} else {
		asking, err := client.New(client.Config{URL: node})
		if err != nil {
			return nil, usagef("--node: %w", err)
		}
		defer asking.Close()
		if pin, err = asking.Identity(ctx); err != nil {
			return nil, asking.Explain(err)
		}
		if m, is := genesis.Member(pin.Node); !is || m.TransportKey != ledger.Key(pin.Key) {
			return nil, fmt.Errorf("node %s says that it is node %d with key %x, which is not in the"+
				" genesis file: give its --pin if you trust it", node, pin.Node, pin.Key)
		}
	}
	if pin.Network != genesis.Network() {
		return nil, fmt.Errorf("node %s is of network %v, the genesis file of %v", node, pin.Network,
			genesis.Network())
	}
	c, err := client.New(client.Config{URL: node, Pin: &pin, Book: book,
		Committee: genesis.Committee(), Terms: terms})
	if err != nil {
		return nil, usagef("--node: %w", err)
	}
	return c, nil
}

// termsOf returns the committees of a network that rotates, kept in a file; nil when its committee
// stays. With the name "" nothing is kept.
func termsOf(genesis *ledger.Genesis, file string) (*client.Terms, error) {
	if genesis.Params.Rotation == nil {
		return nil, nil
	}
	return client.OpenTerms(genesis.Encode(), genesis.Network(), file)
}

// fetch writes the content, and acknowledges it whether all of it came or not.
func (f *getFlags) fetch(ctx context.Context, fetcher *client.Fetcher, what wanted,
	stdout io.Writer) (result *got, err error) {
	began := time.Now()
	result = &got{Root: what.root, File: f.out}
	defer func() {
		err = errors.Join(err, fetcher.Close())
		sum := fetcher.Stats()
		result.Received, result.Charged, result.Acks = sum.Received, sum.Charged, sum.Acks
		for _, n := range fetcher.Nodes() {
			result.Nodes = append(result.Nodes, gotFrom{n.URL, n.Received, n.Charged})
		}
		result.Seconds = time.Since(began).Seconds()
	}()
	reader, err := what.open(ctx, fetcher)
	if err != nil {
		return result, err
	}
	result.Root = reader.Root()
	defer reader.Close()
	var n int64
	if f.out == "-" {
		n, err = io.Copy(stdout, reader)
	} else {
		n, err = writeNew(f.out, reader)
	}
	result.Bytes, result.Complete = uint64(n), err == nil
	return result, err
}

// isNew returns an error when a file is there.
func isNew(name string) error {
	if _, err := os.Lstat(name); err == nil && name != "-" {
		return fmt.Errorf("%s: %w", name, os.ErrExist)
	}
	return nil
}

// writeNew writes a file that is not there, whole or not at all.
func writeNew(name string, from io.Reader) (n int64, err error) {
	file, err := os.CreateTemp(filepath.Dir(name), ".waybill-get-*")
	if err != nil {
		return 0, err
	}
	n, err = io.Copy(file, from)
	err = errors.Join(err, file.Chmod(0o644), file.Sync(), file.Close())
	if err == nil {
		err = os.Link(file.Name(), name) // which does not overwrite
	}
	return n, errors.Join(err, os.Remove(file.Name()))
}

func (g *got) print(w io.Writer) {
	if g.Complete {
		fmt.Fprintf(w, "%s: %s of %v in %.2f s\n", text.Line(g.File), text.Bytes(g.Bytes),
			g.Root, g.Seconds)
	}
	for _, n := range g.Nodes {
		if n.Received > 0 {
			fmt.Fprintf(w, "  %s sent %s, all verified; it holds acks for %s\n", text.Name(n.Node),
				text.Bytes(n.Received), text.Bytes(n.Charged))
		}
	}
	fmt.Fprintf(w, "paid for: %d bytes in %s\n", g.Charged, text.Plural(g.Acks, "ack"))
}
