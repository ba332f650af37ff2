package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// MaxUnshown is how many epochs a node may be ahead of the newest record that it shows. A record is
// certified two blocks after its own, so it is one, or two where an epoch is as short as a block.
const MaxUnshown = 4

// CommitteeOf reads from a genesis file the committee that certifies the records of a network. The
// error is rollup.ErrNetwork when the file is another network's, or that of ledger.ParseGenesis.
func CommitteeOf(file []byte, network rollup.Network) (*rollup.Committee, error) {
	genesis, err := ledger.ParseGenesis(file)
	if err != nil {
		return nil, err
	}
	if of := genesis.Network(); of != network {
		return nil, fmt.Errorf("%w: the genesis file is of %s, and not of %s", rollup.ErrNetwork, of,
			network)
	}
	return genesis.Committee(), nil
}

// EpochInfo is whose acks a server takes, and for which epoch.
type EpochInfo struct {
	Pin   Pin // as the server says
	Epoch uint32
	Ends  time.Time // at the earliest, by the chain's clock
	// Shown is the newest epoch that the client has verified a record of, with Config.Committee. An
	// epoch is not shown yet in its first two blocks; the first epoch needs no record.
	Shown uint32

	record, certificate []byte
	before              time.Duration // for which acks of the epoch before are still taken
}

// signed returns the epoch to sign for: the one that runs, if it is shown; until then the one
// before it, for half of the time for which the node takes its acks, and only while what is signed
// has a margin to get there. What would come too late would be lost, and what is not signed is not;
// so nothing is signed after that until the epoch is shown.
func (e *EpochInfo) signed(margin time.Duration) (epoch uint32, during time.Duration, ok bool) {
	if e.Shown >= e.Epoch {
		return e.Epoch, 0, true
	}
	during = min(e.before/2, e.before-margin)
	return e.Shown, during, e.Shown+1 == e.Epoch && during > 0
}

// Epochs calls yield with the epoch that the node takes acks for, at once and whenever it changes
// or is shown, until ctx ends or yield returns false. It connects again when the connection breaks.
// It returns only ctx's error, or what can not pass: a [Reason], when the server is not the pinned
// node, its epoch goes backwards or beyond what it shows, or its record is not true; that the node
// takes no acks, does not speak this API, or for Config.Patience has not answered, or has not shown
// the epoch that it names.
func (c *Client) Epochs(ctx context.Context, yield func(EpochInfo) bool) error {
	return c.epochs(ctx, yield, func() {})
}

// epochs is Epochs that calls broke when what it said last may be over.
func (c *Client) epochs(ctx context.Context, yield func(EpochInfo) bool, broke func()) error {
	again, last, heard := c.attempts(), uint32(0), time.Now()
	waiting, stop := c.unshown(ctx)
	defer stop()
	for {
		more, err := c.follow(waiting, func(e EpochInfo) (bool, error) {
			if err := c.admit(waiting, &e, last); err != nil {
				return false, err
			}
			waiting.noted(e.Shown >= e.Epoch)
			last, heard = e.Epoch, time.Now()
			again.answered()
			return yield(e), nil
		})
		if !more {
			return nil
		}
		broke()
		if ctx.Err() == nil && waiting.Err() != nil {
			return &NodeError{c.cfg.URL, "follow epochs", context.Cause(waiting)}
		}
		if errors.Is(err, ReasonEpochBackwards) && time.Since(heard) < c.cfg.CallTimeout {
			// A node that has just begun again may be a block behind.
			err = connect.NewError(connect.CodeUnavailable, fmt.Errorf("%w: %s", ErrBehind, err))
		}
		if err := again.after(ctx, "follow epochs", err); err != nil {
			return err
		}
	}
}

// unshown is a context that ends with ErrNotShown when an epoch is not shown for Config.Patience.
type unshown struct {
	context.Context
	patience time.Duration
	timer    *time.Timer // nil: nothing is waited for
	end      func()
}

func (c *Client) unshown(ctx context.Context) (u *unshown, stop func()) {
	within, cancel := context.WithCancelCause(ctx)
	u = &unshown{Context: within, patience: c.cfg.Patience, end: func() { cancel(ErrNotShown) }}
	return u, func() { u.noted(true); cancel(nil) }
}

// noted notes whether the epoch is shown that the node named last.
func (u *unshown) noted(shown bool) {
	switch {
	case shown && u.timer != nil:
		u.timer.Stop()
		u.timer = nil
	case !shown && u.timer == nil && u.patience > 0:
		u.timer = time.AfterFunc(u.patience, u.end)
	}
}

// admit refuses a server that is not the pinned node, one whose record is not what the committee
// signed, and an epoch that lies before the last one that it named or that was signed in, or too
// far ahead of what is shown. The client's clock has no say in this. It fills in what is shown.
func (c *Client) admit(ctx context.Context, e *EpochInfo, last uint32) error {
	if c.cfg.Pin == nil {
		return nil
	}
	if err := c.cfg.Pin.differs(&e.Pin); err != nil {
		return err
	}
	if c.cfg.Book != nil {
		last = max(last, c.cfg.Book.epoch(c.cfg.Pin))
	}
	if e.Epoch < last {
		return rollup.Refuse(ReasonEpochBackwards, "%d, after %d", e.Epoch, last)
	}
	if !c.cfg.certifies() {
		return nil
	}
	shown, err := c.verified.see(e, c.cfg.Pin.Network, &c.cfg)
	if errors.Is(err, rollup.ErrUnknownTerm) && c.cfg.Terms != nil {
		if err := c.cfg.Terms.Follow(ctx, c.Ledger()); err != nil {
			return connect.NewError(connect.CodeUnavailable, err) // another node may show them
		}
		shown, err = c.verified.see(e, c.cfg.Pin.Network, &c.cfg)
	}
	if err != nil {
		return err
	}
	if c.cfg.Book != nil { // what was signed in was shown
		shown = max(shown, c.cfg.Book.epoch(c.cfg.Pin))
	}
	if e.Shown = shown; uint64(e.Epoch) > uint64(shown)+MaxUnshown {
		return rollup.Refuse(ReasonEpochAhead, "%d, where a record shows %d", e.Epoch, shown)
	}
	return nil
}

// verified is the newest epoch that a record shows which the client has checked. It is safe for
// concurrent use.
type verified struct {
	mu     sync.Mutex
	epoch  uint32 // 0, with which every network begins, needs no record
	record []byte // that was checked last, and its certificate
}

// see checks the record that a server shows, and returns the newest epoch that is verified. The
// refusal is ReasonRecord.
func (v *verified) see(e *EpochInfo, network rollup.Network, cfg *Config) (uint32, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	both := slices.Concat(e.record, e.certificate)
	if len(both) == 0 || slices.Equal(both, v.record) {
		return v.epoch, nil
	}
	record, err := rollup.ParseRecord(e.record)
	if err != nil {
		return 0, rollup.Refuse(ReasonRecord, "%w", err)
	}
	certificate, err := rollup.ParseRecordCertificate(e.certificate)
	if err != nil {
		return 0, rollup.Refuse(ReasonRecord, "%w", err)
	}
	committee, err := cfg.signers(record)
	if err == nil {
		err = certificate.Verify(record, network, committee)
	}
	if err != nil {
		return 0, rollup.Refuse(ReasonRecord, "%w", err)
	}
	v.epoch, v.record = max(v.epoch, record.Epoch), both
	return v.epoch, nil
}

func (c *Client) follow(ctx context.Context, yield func(EpochInfo) (bool, error)) (more bool,
	err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.ingest.FollowEpochs(ctx, connect.NewRequest(&api.FollowEpochsRequest{}))
	if err != nil {
		return true, err
	}
	defer stream.Close()
	for stream.Receive() {
		info := stream.Msg()
		e := EpochInfo{Epoch: info.Epoch, Ends: time.UnixMilli(info.EpochEndsAtMs),
			record: slices.Clone(info.Record), certificate: slices.Clone(info.Certificate),
			before: time.Duration(info.BeforeTakenMs) * time.Millisecond}
		text := fmt.Sprintf("%s/%d/%s", info.Network, info.Node, info.NodeKey)
		if err := e.Pin.UnmarshalText([]byte(text)); err != nil {
			return true, connect.NewError(connect.CodeInvalidArgument, err) // no node of ours
		}
		if more, err := yield(e); !more || err != nil {
			return err != nil, err
		}
	}
	return true, stream.Err()
}

// Identity asks the server who it says it is. It is for programs that were configured with a URL
// alone, and as good as the way to the server: compare it with what the ledger says of its node, or
// take a Pin from elsewhere.
func (c *Client) Identity(ctx context.Context) (pin Pin, err error) {
	_, err = c.follow(ctx, func(e EpochInfo) (bool, error) {
		pin = e.Pin
		return false, nil
	})
	if err != nil {
		err = &NodeError{c.cfg.URL, "FollowEpochs", err}
	}
	return pin, err
}
