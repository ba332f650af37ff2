package client

import (
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// SignWith returns a Signer that signs with the clients' keys, on all processors. key returns a
// client's key, and nil for a client that it does not know, which is an error. It is called from
// several goroutines.
func SignWith(key func(client uint64) *bls.SecretKey) Signer {
	return func(network rollup.Network, acks []rollup.Ack) error {
		var group errgroup.Group
		group.SetLimit(runtime.GOMAXPROCS(0))
		for i := range acks {
			group.Go(func() error {
				secret := key(acks[i].Client)
				if secret == nil {
					return fmt.Errorf("client: no key of client %d", acks[i].Client)
				}
				message := acks[i].AppendMessage(make([]byte, 0, rollup.MessageSize), &network)
				signature := bls.Default.Sign(secret, message)
				acks[i].Signature = signature.Bytes()
				return nil
			})
		}
		return group.Wait()
	}
}

// CosignWith returns a function for CosignConfig.Sign, as SignWith does for Deliver.
func CosignWith(key func(client uint64) *bls.SecretKey) func(clients []uint64, message []byte,
	signatures [][rollup.SignatureSize]byte) error {
	return func(clients []uint64, message []byte, signatures [][rollup.SignatureSize]byte) error {
		var group errgroup.Group
		group.SetLimit(runtime.GOMAXPROCS(0))
		for i := range clients {
			group.Go(func() error {
				secret := key(clients[i])
				if secret == nil {
					return fmt.Errorf("client: no key of client %d", clients[i])
				}
				signature := bls.Default.Sign(secret, message)
				signatures[i] = signature.Bytes()
				return nil
			})
		}
		return group.Wait()
	}
}
