package cli

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/node/compute/machine"
	"github.com/waybill-network/waybill/node/keys"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/meter"
	"github.com/waybill-network/waybill/rollup/word"
)

func newCompute() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "compute",
		Short: "Have modules run by nodes, and check their bills",
		Long: `A node runs WebAssembly modules on a client's input, and bills the fuel that the
module used. Output and fuel follow from module, input and arguments alone, and the
node signs them: anybody who has these runs the module again and sees whether the
node told the truth (docs/compute.md).`,
	}
	cmd.AddCommand(newComputeRun(), newComputeLocal(), newComputeCheck())
	return cmd
}

// computeFlags are those of waybill compute run.
type computeFlags struct {
	getFlags
	module  string
	fuel    uint64
	args    []string
	check   bool
	receipt string
}

// ran is what waybill compute run did.
type ran struct {
	Module  rollup.Hash `json:"module"`
	Outcome string      `json:"outcome"`
	Exit    uint32      `json:"exit"`
	Fuel    uint64      `json:"fuel"`
	Units   uint64      `json:"units"`
	Output  int         `json:"output"` // bytes
	Node    uint32      `json:"node"`
	Checked bool        `json:"checked"`
	Charged uint64      `json:"charged"`
	Acks    uint64      `json:"acks"`
	Seconds float64     `json:"seconds"`
}

func newComputeRun() *cobra.Command {
	var f computeFlags
	cmd := &cobra.Command{
		Use: "run --genesis FILE --client N --key FILE --node URL MODULE|FILE [ARG...] " +
			"< INPUT > OUTPUT",
		Short: "Have a module run on standard input, and pay for it",
		Long: `Sends standard input to a node, which runs a module on it, and writes what comes
out to standard output. The module is named by its root (BLAKE3, 64 hexadecimal
digits) or by a file with it, which the node has to have in its store or at its
origin. What stands behind it are the module's arguments, and before them its root.

The payer of the client pays the service's price for the fuel that was used, 1,024 of
it for one unit, and --fuel at most. It is acknowledged as the run goes on, a window
ahead, so that neither side risks more than that.

With --check the module is run here as well, before the last part is paid; that takes
its file, or fetches it from the node, as content. A node that signed anything else
than what comes out is not paid the rest, and its receipt (--receipt) shows the lie:
waybill compute check.`,
		Example: "  waybill compute run --genesis genesis.json --client 12 --key client.json \\\n" +
			"    --node http://127.0.0.1:7404 --check word.wasm < book.txt",
		Args: atLeastOne("a module, and its arguments"),
	}
	asJSON := jsonFlag(cmd)
	password := passwordFlag(cmd, "the client's key", false)
	fl := cmd.Flags()
	fl.SetInterspersed(false) // what stands behind the module is the module's
	fl.StringVarP(&f.genesis, "genesis", "g", "genesis.json", "the network's genesis `file`")
	fl.StringArrayVar(&f.nodes, "node", nil, "`URL` of a node's content port; may be repeated")
	fl.StringArrayVar(&f.pins, "pin", nil, "`network/node/key` of the --node at the same place, "+
		"for nodes that are not in the genesis file")
	fl.Uint64Var(&f.client, "client", 0, "`index` of the client in the registry")
	fl.StringVar(&f.key, "key", "", "the client's key (keystore `file`)")
	fl.Uint32Var(&f.service, "service", 0, "`index` of the service that is paid for")
	fl.Uint64Var(&f.maxPrice, "max-price", 0,
		"most `micro-credits` for 2^20 units; 0: the service's price")
	fl.StringVar(&f.book, "book", "",
		"the `file` of what was signed; by default the key's, with .book")
	fl.Uint64Var(&f.fuel, "fuel", 1<<32, "the most `fuel` that is used and paid")
	fl.BoolVar(&f.check, "check", false, "run the module here, too, before the last part is paid")
	fl.StringVar(&f.receipt, "receipt", "", "`file` to write what the node signed to")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		for _, name := range []string{"client", "key", "node"} {
			if !fl.Changed(name) {
				return usagef("--%s is required", name)
			}
		}
		f.module, f.args = args[0], args[1:]
		if f.receipt != "" {
			if err := isNew(f.receipt); err != nil { // before anything is paid
				return err
			}
		}
		pass, err := password()
		if err != nil {
			return err
		}
		result, err := f.run(cmd.Context(), pass, cmd.InOrStdin(), cmd.OutOrStdout())
		if result == nil {
			return err
		}
		if *asJSON {
			return errors.Join(err, printJSON(cmd.ErrOrStderr(), result))
		}
		result.print(cmd.ErrOrStderr())
		return err
	}
	return cmd
}

func (r *ran) print(w io.Writer) {
	checked := "signed by the node, not run again (--check)"
	if r.Checked {
		checked = "the same as here"
	}
	fmt.Fprintf(w, "%s %d: %s of fuel at node %d in %.2f s, %s of output; %s\n", r.Outcome, r.Exit,
		text.Grouped(r.Fuel), r.Node, r.Seconds, text.Bytes(uint64(r.Output)), checked)
	fmt.Fprintf(w, "paid for: %s in %s\n", text.Plural(r.Charged, "unit"),
		text.Plural(r.Acks, "ack"))
}

func (f *computeFlags) run(ctx context.Context, password []byte, in io.Reader, out io.Writer) (
	result *ran, err error) {
	root, code, err := moduleOf(f.module)
	if err != nil {
		return nil, err
	}
	input, err := io.ReadAll(io.LimitReader(in, delivery.MaxInput+1))
	if err != nil {
		return nil, err
	}
	if len(input) > delivery.MaxInput {
		return nil, fmt.Errorf("more than %s of input", text.Bytes(uint64(delivery.MaxInput)))
	}
	fetcher, done, err := f.fetcher(ctx, password)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, done()) }()
	run := client.Run{Module: root, Input: input, Args: named(root, f.args), Fuel: f.fuel}
	if f.check {
		if code == nil {
			if code, err = fetchModule(ctx, fetcher, root); err != nil {
				return nil, errors.Join(err, fetcher.Close())
			}
		}
		run.Check = func(ctx context.Context, r *client.Run) (client.RunOutcome, error) {
			return again(ctx, r, code)
		}
	}
	began := time.Now()
	r, err := fetcher.Run(ctx, run)
	seconds := time.Since(began).Seconds()
	if err = errors.Join(err, fetcher.Close()); r == nil {
		return nil, err
	}
	if f.receipt != "" {
		err = errors.Join(err, writeReceipt(f.receipt, &r.Receipt))
	}
	if _, failed := out.Write(r.Output); failed != nil {
		err = errors.Join(err, failed)
	}
	sum := fetcher.Stats()
	return &ran{Module: root, Outcome: r.Outcome.String(), Exit: r.Exit, Fuel: r.Fuel,
		Units: delivery.Units(r.Fuel), Output: len(r.Output), Node: r.Node,
		Checked: f.check && err == nil, Charged: sum.Charged, Acks: sum.Acks,
		Seconds: seconds}, err
}

// fetcher opens what pays at the nodes. Done closes what is below it.
func (f *getFlags) fetcher(ctx context.Context, password []byte) (_ *client.Fetcher,
	done func() error, err error) {
	genesis, err := readGenesis(f.genesis)
	if err != nil {
		return nil, nil, err
	}
	key, err := keys.LoadBLS(f.key, password)
	if err != nil {
		return nil, nil, err
	}
	if f.book == "" {
		f.book = f.key + ".book"
	}
	book, err := client.OpenBook(f.book)
	if err != nil {
		return nil, nil, err
	}
	terms, err := termsOf(genesis, f.book+".terms")
	if err != nil {
		return nil, nil, errors.Join(err, book.Close())
	}
	var clients []*client.Client
	done = func() error {
		for _, c := range clients {
			c.Close()
		}
		return book.Close()
	}
	for i, node := range f.nodes {
		c, err := f.at(ctx, genesis, book, terms, i, node)
		if err != nil {
			return nil, nil, errors.Join(err, done())
		}
		clients = append(clients, c)
	}
	fetcher, err := client.NewFetcher(client.FetchConfig{Nodes: clients, Client: f.client, Key: key,
		Service: f.service, MaxPrice: f.maxPrice})
	if err != nil {
		return nil, nil, errors.Join(err, done())
	}
	return fetcher, done, nil
}

// moduleOf returns the root of a module, and its code where a file has it.
func moduleOf(ref string) (root rollup.Hash, code []byte, err error) {
	if root.UnmarshalText([]byte(ref)) == nil {
		return root, nil, nil
	}
	if code, err = os.ReadFile(ref); err != nil {
		return root, nil, err
	}
	if len(code) > meter.MaxModule {
		return root, nil, fmt.Errorf("%s: %s; a module has %s at most", ref,
			text.Bytes(uint64(len(code))), text.Bytes(uint64(meter.MaxModule)))
	}
	return blake3.Sum256(code), code, nil
}

// named puts the module's root before its arguments, where programs expect their name: what a run
// is called by does not change it.
func named(root rollup.Hash, args []string) []string {
	return append([]string{root.String()}, args...)
}

func fetchModule(ctx context.Context, fetcher *client.Fetcher, root rollup.Hash) ([]byte, error) {
	reader, err := fetcher.Open(ctx, root)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	return io.ReadAll(io.LimitReader(reader, meter.MaxModule+1))
}

// again runs a module here.
func again(ctx context.Context, r *client.Run, code []byte) (o client.RunOutcome, err error) {
	m, err := machine.New(machine.Options{})
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	p, err := m.Load(ctx, r.Module, code)
	if err != nil {
		return o, err
	}
	defer p.Release()
	x, err := p.Run(ctx, machine.Run{Input: r.Input, Args: r.Args, Fuel: r.Fuel})
	if err != nil {
		return o, err
	}
	return client.RunOutcome{Outcome: x.Outcome, Exit: x.Exit, Fuel: x.Fuel, Output: x.Output},
		nil
}

func newComputeLocal() *cobra.Command {
	var fuel uint64
	cmd := &cobra.Command{
		Use:   "local FILE [ARG...] < INPUT > OUTPUT",
		Short: "Run a module here, and say what it would be billed",
		Long: `Runs a module on standard input, without a node: output and fuel are those that a
node would sign, to the last byte and the last unit.`,
		Args: atLeastOne("a module, and its arguments"),
	}
	asJSON := jsonFlag(cmd)
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().Uint64Var(&fuel, "fuel", 1<<32, "the most `fuel` that is used")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		code, err := os.ReadFile(args[0])
		if err != nil {
			return err
		}
		input, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), delivery.MaxInput+1))
		if err != nil {
			return err
		}
		root := rollup.Hash(blake3.Sum256(code))
		args = named(root, args[1:])
		if err := errors.Join(delivery.CheckArgs(args), limited(fuel, len(input))); err != nil {
			return err
		}
		o, err := again(cmd.Context(), &client.Run{Module: root, Input: input, Args: args,
			Fuel: fuel}, code)
		if err != nil {
			return err
		}
		if _, err := cmd.OutOrStdout().Write(o.Output); err != nil {
			return err
		}
		if *asJSON {
			return printJSON(cmd.ErrOrStderr(), &ran{Module: root, Outcome: o.Outcome.String(),
				Exit: o.Exit, Fuel: o.Fuel, Units: delivery.Units(o.Fuel), Output: len(o.Output)})
		}
		_, err = fmt.Fprintf(cmd.ErrOrStderr(), "%v %d: %s of fuel, %s\n", o.Outcome, o.Exit,
			text.Grouped(o.Fuel), text.Plural(delivery.Units(o.Fuel), "unit"))
		return err
	}
	return cmd
}

func limited(fuel uint64, input int) error {
	if fuel == 0 || fuel > delivery.MaxFuel {
		return usagef("--fuel is 1 to %d", uint64(delivery.MaxFuel))
	}
	if input > delivery.MaxInput {
		return fmt.Errorf("more than %s of input", text.Bytes(uint64(delivery.MaxInput)))
	}
	return nil
}

// receipt is the file of what a node signed of a run. Binary is hexadecimal.
type receipt struct {
	Format          string         `json:"format"`
	Network         rollup.Network `json:"network"`
	NodeKey         rollup.Hash    `json:"node_key"`
	Start           string         `json:"start"` // what is signed behind tag and network
	StartSignature  string         `json:"start_signature"`
	Result          string         `json:"result"`
	ResultSignature string         `json:"result_signature"`
}

const receiptFormat = "waybill/run-receipt/2"

func writeReceipt(name string, r *client.RunReceipt) error {
	b, err := json.MarshalIndent(receipt{receiptFormat, r.Network, r.NodeKey,
		hex.EncodeToString(r.Start.Word.Append(nil)), hex.EncodeToString(r.Start.Signature[:]),
		hex.EncodeToString(r.Result.Word.Append(nil)), hex.EncodeToString(r.Result.Signature[:])},
		"", "  ")
	if err != nil {
		return err
	}
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(append(b, '\n'))
	return errors.Join(err, file.Sync(), file.Close())
}

func readReceipt(name string) (*client.RunReceipt, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var file receipt
	if err := json.Unmarshal(b, &file); err != nil {
		return nil, badReceipt(name, err)
	}
	if file.Format != receiptFormat {
		return nil, badReceipt(name, fmt.Errorf("its format is %q, not %s", file.Format,
			receiptFormat))
	}
	r := &client.RunReceipt{Network: file.Network, NodeKey: file.NodeKey}
	start, err := hex.DecodeString(file.Start + file.StartSignature)
	if err == nil {
		r.Start, err = delivery.ParseStart(start)
	}
	if err != nil {
		return nil, badReceipt(name, err)
	}
	result, err := hex.DecodeString(file.Result + file.ResultSignature)
	if err == nil {
		r.Result, err = delivery.ParseResult(result)
	}
	if err != nil {
		return nil, badReceipt(name, err)
	}
	return r, nil
}

func badReceipt(name string, err error) error { return unreadable(fmt.Errorf("%s: %w", name, err)) }

// runVerdict is what waybill compute check says.
type runVerdict struct {
	Honest bool        `json:"honest"`
	Lie    string      `json:"lie,omitempty"`
	Node   uint32      `json:"node"`
	Epoch  uint32      `json:"epoch"`
	Module rollup.Hash `json:"module"`
	Fuel   uint64      `json:"fuel"` // that was used
	Run    rollup.Hash `json:"run"`  // digest of the node's word
}

func newComputeCheck() *cobra.Command {
	var genesis, pin string
	cmd := &cobra.Command{
		Use:   "check --genesis FILE RECEIPT MODULE [ARG...] < INPUT",
		Short: "Find out whether a node told the truth about a run",
		Long: `Holds a receipt of "waybill compute run --receipt" against the run: the signatures
under the node's key in the genesis file, or in --pin, the roots of module, input
(standard input) and arguments, and then what comes out when the module is run here.
It asks nobody.

Exit 0: the node told the truth. 1: it lied, and the receipt shows it to anybody who
has these files. 3: the receipt cannot be read, is of another network, or is about
another module, input or arguments than these.`,
		Args: cobra.MinimumNArgs(2),
	}
	asJSON := jsonFlag(cmd)
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().StringVarP(&genesis, "genesis", "g", "genesis.json", "the network's genesis `file`")
	cmd.Flags().StringVar(&pin, "pin", "",
		"`network/node/key` of the node, if it is not in the genesis file")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		j, err := checkReceipt(cmd.Context(), genesis, pin, args[0], args[1], args[2:],
			cmd.InOrStdin())
		if err != nil {
			return err
		}
		if *asJSON {
			err = printJSON(cmd.OutOrStdout(), j)
		} else if j.Honest {
			_, err = fmt.Fprintf(cmd.OutOrStdout(),
				"node %d told the truth: %s of fuel, and that output\n", j.Node,
				text.Grouped(j.Fuel))
		}
		if err == nil && !j.Honest {
			err = fmt.Errorf("node %d lied: %s", j.Node, j.Lie)
		}
		return err
	}
	return cmd
}

// signerOf makes sure that a receipt is signed by a node of the genesis file, or by the pinned one.
func signerOf(r *client.RunReceipt, genesis *ledger.Genesis, pinned string) error {
	node := r.Start.Word.Node
	if r.Network != genesis.Network() {
		return fmt.Errorf("it is of network %v, the genesis file of %v", r.Network,
			genesis.Network())
	}
	m, member := genesis.Member(node)
	if pinned != "" {
		pin, err := client.ParsePin(pinned)
		if err != nil {
			return usagef("--pin: %w", err)
		}
		if pin.Network != r.Network || pin.Node != node || pin.Key != r.NodeKey {
			return fmt.Errorf("it is of node %d with key %v, which is not the pinned one", node,
				r.NodeKey)
		}
	} else if !member || m.TransportKey != ledger.Key(r.NodeKey) {
		return fmt.Errorf("node %d with key %v is not in the genesis file: give its --pin", node,
			r.NodeKey)
	}
	return r.Verify()
}

func checkReceipt(ctx context.Context, genesisFile, pin, name, module string, args []string,
	in io.Reader) (*runVerdict, error) {
	genesis, err := readGenesis(genesisFile)
	if err != nil {
		return nil, err
	}
	r, err := readReceipt(name)
	if err != nil {
		return nil, err
	}
	if err := signerOf(r, genesis, pin); err != nil {
		return nil, badReceipt(name, err)
	}
	code, err := os.ReadFile(module)
	if err != nil {
		return nil, err
	}
	input, err := io.ReadAll(io.LimitReader(in, delivery.MaxInput+1))
	if err != nil {
		return nil, err
	}
	w := &r.Start.Word
	args = named(w.Module, args)
	other := func(of string) (*runVerdict, error) {
		return nil, badReceipt(name, fmt.Errorf("it is about %s", of))
	}
	switch {
	case w.Module != blake3.Sum256(code):
		return other("another module")
	case w.Input != blake3.Sum256(input) || w.InputSize != uint64(len(input)):
		return other("another input")
	case w.Args != delivery.ArgsDigest(args):
		return other("other arguments")
	}
	o, err := again(ctx, &client.Run{Module: w.Module, Input: input, Args: args, Fuel: w.Fuel},
		code)
	if err != nil {
		return nil, err
	}
	j := &runVerdict{Honest: true, Node: w.Node, Epoch: w.Epoch, Module: w.Module, Fuel: o.Fuel,
		Run: word.Digest(&r.Network, *w)}
	if err := r.Judge(&o); err != nil {
		j.Honest, j.Lie = false, err.Error()
	}
	return j, nil
}
