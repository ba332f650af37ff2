package client

import (
	"crypto/ed25519"
	"errors"
	"os"
	"testing"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/ingest"
	"github.com/waybill-network/waybill/node/serve"
	"github.com/waybill-network/waybill/node/serve/credit"
	"github.com/waybill-network/waybill/rollup"
)

// ExampleNode is what the examples need of a node.
type ExampleNode struct {
	URL     string
	Pin     Pin // from the operator
	Network rollup.Network
	// From the genesis file.
	Committee *rollup.Committee
	Clients   []*bls.SecretKey // clients 0 to 3
	Payer     ed25519.PrivateKey
	// Where it delivers content, of this root.
	ContentURL string
	Root       rollup.Hash

	cleanup  []func()
	answered func(frames []byte, answers []rollup.Answer)
}

// StartExampleNode starts a node in this process.
func StartExampleNode() *ExampleNode {
	n := &ExampleNode{}
	var config ingest.Config
	dir, err := os.MkdirTemp("", "waybill-example-*")
	if err != nil {
		panic(err)
	}
	accounts, err := serve.OpenAccounts(dir, credit.Params{}, nil)
	if err != nil {
		panic(err)
	}
	n.cleanup = append(n.cleanup, func() {
		if err := errors.Join(accounts.Close(), os.RemoveAll(dir)); err != nil {
			panic(err)
		}
	})
	f := start(exampleTB{n: n}, options{taken: accounts.Taken, config: func(c *ingest.Config) {
		c.Answered = func(frames []byte, answers []rollup.Answer) { n.answered(frames, answers) }
		config = *c
	}})
	if err := n.deliver(f, &config, accounts, dir, []byte("a film of 24 characters.")); err != nil {
		panic(err)
	}
	n.Committee = f.Genesis.Committee()
	n.URL, n.Pin, n.Network, n.Clients, n.Payer = f.url(), f.pin(), f.ID, f.Clients,
		f.Members[0].Owner
	return n
}

// Stop stops the node.
func (n *ExampleNode) Stop() {
	for i := len(n.cleanup) - 1; i >= 0; i-- {
		n.cleanup[i]()
	}
}

// exampleTB stands for the test that an example is not.
type exampleTB struct {
	testing.TB
	n *ExampleNode
}

func (t exampleTB) Helper()           {}
func (t exampleTB) Cleanup(f func())  { t.n.cleanup = append(t.n.cleanup, f) }
func (t exampleTB) Error(args ...any) { t.fail(args) }
func (t exampleTB) Fatal(args ...any) { t.fail(args) }

func (t exampleTB) Errorf(format string, args ...any) { t.fail([]any{format, args}) }
func (t exampleTB) Fatalf(format string, args ...any) { t.fail([]any{format, args}) }

func (t exampleTB) fail(args []any) {
	_, _ = os.Stderr.WriteString("the example's node failed\n")
	panic(args)
}
