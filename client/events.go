package client

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
)

// EventsGoneError says that a node does not keep what blocks did as long ago as a cursor asks for.
type EventsGoneError struct {
	Node  string // its URL
	First uint64 // height of the first block whose events it keeps
}

// Error implements error.
func (e *EventsGoneError) Error() string {
	return fmt.Sprintf("node %s: what blocks before %d did is kept no longer", e.Node, e.First)
}

// EventCursor is the place of an event: what a program keeps to go on where it was. Events have
// the same places at every node.
type EventCursor struct {
	Height uint64 // of the block
	Index  uint32 // in the block
}

// EventFilter chooses events. A list that is empty lets all pass.
type EventFilter struct {
	Payers []uint32 // accounts
	Nodes  []uint32
	Kinds  []string // see docs/api.md
}

// Events calls yield with what blocks did, in order, from a cursor on; nil means the blocks to
// come. Yield gets the cursor behind the events, which is where to go on after they were worked
// on; sometimes there are none, and the cursor moves. Nothing is told twice and nothing left out,
// whatever becomes of connections: Events goes on where it was, at another node when one does not
// answer. It returns nil when yield returns false, and otherwise ctx's error, an *EventsGoneError,
// or what can not pass.
//
// A node says what it likes: VerifyEvent holds an event to what the committee signed.
func (c *Client) Events(ctx context.Context, from *EventCursor, filter EventFilter,
	yield func(events []*api.Event, next EventCursor) bool) error {
	again := c.attempts()
	if from != nil {
		from = &EventCursor{from.Height, from.Index} // the caller's stays what it is
	}
	for {
		at := c.nodes.first()
		more, err := c.followEvents(ctx, at, &from, filter, func(events []*api.Event) bool {
			again.answered()
			c.nodes.up(at)
			return yield(events, *from)
		})
		if !more {
			return nil
		}
		var gone *EventsGoneError
		if errors.As(err, &gone) {
			return err
		}
		if err != nil && elsewhere(err) && ctx.Err() == nil {
			c.nodes.fell(at, err)
		}
		if err := again.after(ctx, "follow events", err); err != nil {
			return err
		}
	}
}

// followEvents follows one node until it can not, and moves the cursor. More is false when yield
// wants no more.
func (c *Client) followEvents(ctx context.Context, at *endpoint, from **EventCursor,
	filter EventFilter, yield func([]*api.Event) bool) (more bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req := &api.EventsRequest{Payers: filter.Payers, Nodes: filter.Nodes, Kinds: filter.Kinds,
		WaitMs: uint32(max(1, c.cfg.CallTimeout.Milliseconds()/3))}
	if *from != nil {
		req.Height, req.Index = &(*from).Height, (*from).Index
	}
	stream, err := at.ledger.FollowEvents(ctx, connect.NewRequest(req))
	if err != nil {
		return true, eventsError(at, err)
	}
	defer stream.Close()
	for stream.Receive() {
		m := stream.Msg()
		next := EventCursor{m.NextHeight, m.NextIndex}
		if err := inOrder(*from, m.Events, next); err != nil {
			return true, connect.NewError(connect.CodeInternal, err)
		}
		*from = &next
		if !yield(slices.Clone(m.Events)) {
			return false, nil
		}
	}
	return true, eventsError(at, stream.Err())
}

// inOrder refuses an answer that would tell something twice, or whose cursor goes back.
func inOrder(at *EventCursor, events []*api.Event, next EventCursor) error {
	before := func(a, b EventCursor) bool {
		return a.Height < b.Height || a.Height == b.Height && a.Index < b.Index
	}
	last := EventCursor{}
	if at != nil {
		last = *at
	}
	for _, e := range events {
		place := EventCursor{e.Height, e.Index}
		if before(place, last) || !before(place, next) {
			return fmt.Errorf("client: event %d of block %d is out of order", e.Index, e.Height)
		}
		last = EventCursor{e.Height, e.Index + 1}
	}
	if before(next, last) {
		return fmt.Errorf("client: the cursor goes back to block %d", next.Height)
	}
	return nil
}

func eventsError(at *endpoint, err error) error {
	if gone, ok := Detail[*api.EventsGone](err); ok {
		return &EventsGoneError{at.url, gone.FirstHeight}
	}
	return err
}

// Errors of VerifyEvent.
var (
	// ErrEventUnsigned says that no record of a block covers events of this kind.
	ErrEventUnsigned = errors.New("client: no record covers events of this kind")
	// ErrEventFalse says that an event is not what the committee signed.
	ErrEventFalse = errors.New("client: the event is not what the committee signed")
)

// VerifyEvent holds an event to the record of its block, which the committee signed and any node
// gives out. Records cover the kinds ordered and settled: of others the error is ErrEventUnsigned.
// It is ErrEventFalse, with why, when the record says otherwise; NotReady reports that the
// committee has not signed yet. It needs Config.Pin, and Config.Terms or Config.Committee.
func (c *Client) VerifyEvent(ctx context.Context, e *api.Event) error {
	if e.Kind != "ordered" && e.Kind != "settled" {
		return fmt.Errorf("%w: %s", ErrEventUnsigned, e.Kind)
	}
	record, err := c.recordAt(ctx, e.Height)
	if err != nil {
		return err
	}
	differs := func(what string) error {
		return fmt.Errorf("%w: event %d of block %d: %s", ErrEventFalse, e.Index, e.Height, what)
	}
	if e.TimeMs != record.Time {
		return differs("its time")
	}
	if e.Kind == "settled" {
		if e.Epoch == nil || record.SettledEpoch != *e.Epoch ||
			record.SettlementRoot.String() != e.GetId() {
			return differs("the settlement")
		}
		return nil
	}
	ids, err := c.orderedAt(ctx, e.Height)
	if err != nil {
		return err
	}
	if uint32(len(ids)) != record.RollupCount ||
		rollup.RollupsTree(ids).Root() !=
			record.RollupsRoot {
		return differs("the rollups of the block")
	}
	if !slices.ContainsFunc(ids, func(id rollup.Hash) bool { return id.String() == e.GetId() }) {
		return differs("no such rollup was ordered")
	}
	return nil
}

// recordAt returns the record of a block, verified.
func (c *Client) recordAt(ctx context.Context, height uint64) (*rollup.Record, error) {
	switch {
	case c.cfg.Pin == nil:
		return nil, ErrNotPinned
	case !c.cfg.certifies():
		return nil, ErrNoCommittee
	}
	found, err := Call(ctx, c.Ledger().GetRecord, &api.GetRecordRequest{Height: height})
	if err != nil {
		return nil, err
	}
	encoded, err := hex.DecodeString(found.Record)
	if err != nil {
		return nil, rollup.Refuse(ReasonRecord, "%w", err)
	}
	signed, err := hex.DecodeString(found.Certificate)
	if err != nil {
		return nil, rollup.Refuse(ReasonRecord, "%w", err)
	}
	record, err := rollup.ParseRecord(encoded)
	if err != nil {
		return nil, rollup.Refuse(ReasonRecord, "%w", err)
	}
	certificate, err := rollup.ParseRecordCertificate(signed)
	if err != nil {
		return nil, rollup.Refuse(ReasonRecord, "%w", err)
	}
	if record.Height != height {
		return nil, rollup.Refuse(ReasonRecord, "of block %d, not %d", record.Height, height)
	}
	err = c.cfg.following(ctx, c.Ledger(), func() error {
		committee, err := c.cfg.signers(record)
		if err != nil {
			return err
		}
		return certificate.Verify(record, c.cfg.Pin.Network, committee)
	})
	if err != nil {
		return nil, rollup.Refuse(ReasonRecord, "%w", err)
	}
	return record, nil
}

// orderedAt returns the ids of the rollups that a block ordered, as a node tells them.
func (c *Client) orderedAt(ctx context.Context, height uint64) (ids []rollup.Hash, err error) {
	req := &api.EventsRequest{Height: &height, Kinds: []string{"ordered"}}
	for {
		found, err := Call(ctx, c.Ledger().GetEvents, req)
		if err != nil {
			return nil, err
		}
		for _, e := range found.Events {
			if e.Height != height {
				return ids, nil
			}
			var id rollup.Hash
			if err := id.UnmarshalText([]byte(e.GetId())); err != nil {
				return nil, fmt.Errorf("%w: the id of a rollup: %w", ErrEventFalse, err)
			}
			ids = append(ids, id)
		}
		if found.NextHeight > height || found.NextIndex <= req.Index {
			return ids, nil
		}
		req.Index = found.NextIndex
	}
}

// EventJSON returns an event as one line of JSON, in the words of the API: numbers of 64 bits are
// strings, fields that the kind does not have are absent.
func EventJSON(e *api.Event) ([]byte, error) {
	b, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("client: event %d of block %d: %w", e.Index, e.Height, err)
	}
	var line bytes.Buffer // the encoder's spaces differ from build to build
	if err := json.Compact(&line, b); err != nil {
		return nil, fmt.Errorf("client: event %d of block %d: %w", e.Index, e.Height, err)
	}
	return line.Bytes(), nil
}
