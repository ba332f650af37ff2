package export

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// HandOvers shows which committees followed each other (docs/rotation.md). Who has the genesis file
// and those to a term can check whatever the committees up to that term signed.
type HandOvers struct {
	Network rollup.Network
	*rotation.HandOvers

	now *rollup.Committee // of the last term, once it is verified
}

// NewHandOvers makes the file of a network's hand-overs.
func NewHandOvers(network rollup.Network, h *rotation.HandOvers) *HandOvers {
	return &HandOvers{Network: network, HandOvers: h}
}

// Type returns TypeHandOvers.
func (e *HandOvers) Type() Type { return TypeHandOvers }

// Append appends the file to dst.
func (e *HandOvers) Append(dst []byte) []byte {
	return e.HandOvers.Append(appendExport(dst, e.Network, TypeHandOvers))
}

func (r *reader) handOversExport(network rollup.Network) *HandOvers {
	e := NewHandOvers(network, new(rotation.HandOvers))
	if b := r.Next(len(r.B)); r.Err == nil {
		e.HandOvers, r.Err = rotation.ParseHandOvers(b)
		if field, ok := errors.AsType[*rollup.DecodeError](r.Err); ok {
			r.Mark -= field.Offset // which counts from where the hand-overs begin
			r.Err = field.Err
		}
	}
	return e
}

func (e *HandOvers) network() rollup.Network { return e.Network }

func (e *HandOvers) signers() (term uint32, set rollup.Bitmap) {
	return e.Last() - 1, e.Hops[len(e.Hops)-1].Signers
}

func (e *HandOvers) verify(v *exportVerifier) (err error) {
	if err = v.Terms.Extend(e.HandOvers, max(1, v.Workers)); err != nil {
		return err
	}
	if e.now, err = v.Terms.Committee(e.Last()); err != nil {
		return err
	}
	v.done(Check{Name: "hand-overs", What: fmt.Sprintf("%d committees each signed which seats go to "+
		"whom next, by the rules of how many may; %d keys decoded, the roots of committees and "+
		"terms recomputed, the signatures checked together", len(e.Hops), len(e.Keys)),
		Bytes: len(e.HandOvers.Append(nil))})
	return nil
}

func (e *HandOvers) summary() string {
	last := &e.Hops[len(e.Hops)-1]
	return fmt.Sprintf("terms %d to %d follow from term %d by %d hand-overs; the committee of term "+
		"%d has %d seats of %d nodes, drawn in epoch %d", e.First, e.Last(), e.First-1, len(e.Hops),
		e.Last(), e.now.TotalPower(), len(e.now.Members), last.Epoch)
}

// MarshalJSON implements [json.Marshaler].
func (e *HandOvers) MarshalJSON() ([]byte, error) {
	type change struct {
		Seat   uint16  `json:"seat"`
		Holder *uint32 `json:"holder"` // null: nobody
	}
	type hop struct {
		Term    uint32        `json:"term"`
		Epoch   uint32        `json:"epoch"`
		Changes []change      `json:"changes"`
		Seed    rollup.Hash   `json:"seed"`
		Signers rollup.Bitmap `json:"signers"`
	}
	hops := make([]hop, len(e.Hops))
	for i := range e.Hops {
		h := &e.Hops[i]
		hops[i] = hop{e.First + uint32(i), h.Epoch, make([]change, len(h.Changes)), h.Seed, h.Signers}
		for j, c := range h.Changes {
			hops[i].Changes[j].Seat = c.Seat
			if c.Holder != rotation.NoHolder {
				hops[i].Changes[j].Holder = &c.Holder
			}
		}
	}
	return json.Marshal(struct {
		First uint32 `json:"first_term"`
		Last  uint32 `json:"last_term"`
		Hops  []hop  `json:"hand_overs"`
	}{e.First, e.Last(), hops})
}
