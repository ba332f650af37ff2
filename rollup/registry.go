package rollup

import (
	"fmt"
	"math"
	"slices"

	"github.com/waybill-network/waybill/kernels/bls"
)

// Client is what the registry says of a client (section 3): whom it may bill, for what, when, and
// how often. But for Until nothing of it changes.
type Client struct {
	Key      *bls.PublicKey
	Payer    uint32    // account
	Since    uint32    // first epoch in which it is valid
	Until    uint32    // first one in which it is valid no more
	Numbers  uint32    // how many acks it may sign for a node and service in an epoch
	Services [3]uint32 // that it may use, ascending, NoService behind the last
}

// NoService is in the places of a client's services that are not used.
const NoService = math.MaxUint32

// ValidIn reports whether the client is valid in an epoch.
func (c *Client) ValidIn(epoch uint32) bool { return c.Since <= epoch && epoch < c.Until }

// MayUse reports whether the client was granted a service.
func (c *Client) MayUse(service uint32) bool {
	return service != NoService && slices.Contains(c.Services[:], service)
}

// Registry answers for clients, services and nodes. Implementations must be safe for concurrent use
// when the caller is.
type Registry interface {
	// Client returns a registered client.
	Client(index uint64) (Client, bool)
	// UnitCap returns the most units that one ack of the service may have; at most MaxUnitCap.
	UnitCap(service uint32) (uint64, bool)
	// NodeKey returns the Ed25519 key that a node signs its words with.
	NodeKey(node uint32) ([32]byte, bool)
}

// checkRun checks that a client may have signed the run in an epoch: ErrUnknownClient, ErrNotValid,
// ErrNotGranted, ErrNumbers.
func checkRun(run Run, epoch uint32, reg Registry) (Client, error) {
	c, known := reg.Client(run.Client)
	if !known {
		return c, fmt.Errorf("%w %d", ErrUnknownClient, run.Client)
	}
	return c, c.check(run, epoch)
}

// check checks that the client may have signed the run in an epoch: ErrNotValid, ErrNotGranted,
// ErrNumbers.
func (c *Client) check(run Run, epoch uint32) error {
	switch {
	case !c.ValidIn(epoch):
		return fmt.Errorf("%w: client %d in epoch %d, where it is from %d to before %d", ErrNotValid,
			run.Client, epoch, c.Since, c.Until)
	case !c.MayUse(run.Service):
		return fmt.Errorf("%w: service %d to client %d", ErrNotGranted, run.Service, run.Client)
	case run.End() > uint64(c.Numbers):
		return fmt.Errorf("%w: client %d, %d from number %d on, where %d may be", ErrNumbers, run.Client,
			run.Count, run.First, c.Numbers)
	}
	return nil
}
