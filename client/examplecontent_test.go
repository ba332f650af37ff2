package client

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/node/ingest"
	"github.com/waybill-network/waybill/node/serve"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
)

// exampleContent is one content in memory.
type exampleContent struct {
	root rollup.Hash
	*bytes.Reader
	tree []byte
}

func newExampleContent(data []byte) *exampleContent {
	root, tree := blake3.Outboard(data, delivery.GroupSize)
	return &exampleContent{root, bytes.NewReader(data), tree}
}

func (c *exampleContent) Open(_ context.Context, root rollup.Hash) (serve.File, error) {
	if root != c.root {
		return nil, delivery.ReasonNotFound
	}
	return c, nil
}

func (*exampleContent) Resolve(context.Context, uint32, string) (serve.Name, error) {
	return serve.Name{}, delivery.ReasonNotFound
}

func (c *exampleContent) Size() uint64 { return uint64(c.Reader.Size()) }
func (*exampleContent) Check() error   { return nil }
func (*exampleContent) Close() error   { return nil }

func (c *exampleContent) Parents(dst []byte, first, next, end uint64) ([]byte, error) {
	return blake3.AppendNodes(dst, bytes.NewReader(c.tree), c.Reader.Size(), delivery.GroupSize,
		int64(first), int64(next), int64(end))
}

// deliver opens the node's port for content.
func (n *ExampleNode) deliver(f *fixture, config *ingest.Config, accounts *serve.Accounts,
	dir string, data []byte) error {
	content := newExampleContent(data)
	server, err := serve.NewServer(serve.Config{Network: f.ID, Key: f.Members[0].Transport,
		Chain: f.Chain, Content: content, Dir: dir, Accounts: accounts,
		API: ingest.NewServer(*config).Handler()})
	if err != nil {
		return err
	}
	n.answered = server.Answered
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	n.ContentURL, n.Root = "http://"+listener.Addr().String(), content.root
	var serving sync.WaitGroup
	var failed error
	serving.Go(func() { failed = server.Serve(listener) })
	n.cleanup = append(n.cleanup, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err := server.Shutdown(ctx)
		serving.Wait()
		if err := errors.Join(err, failed); err != nil {
			panic(err)
		}
	})
	return nil
}
