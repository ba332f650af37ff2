package export

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// Draws shows how the seats of terms were drawn, which hand-overs led to (docs/rotation.md): by
// which seed, and among whom.
type Draws struct {
	Network rollup.Network
	*rotation.Draws
}

// NewDraws makes the file of how seats were drawn.
func NewDraws(network rollup.Network, d *rotation.Draws) *Draws { return &Draws{network, d} }

// Type returns TypeDraws.
func (e *Draws) Type() Type { return TypeDraws }

// Append appends the file to dst.
func (e *Draws) Append(dst []byte) []byte {
	return e.Draws.Append(appendExport(dst, e.Network, TypeDraws))
}

func (r *reader) drawsExport(network rollup.Network) *Draws {
	e := NewDraws(network, new(rotation.Draws))
	if b := r.Next(len(r.B)); r.Err == nil {
		e.Draws, r.Err = rotation.ParseDraws(b)
		if field, ok := errors.AsType[*rollup.DecodeError](r.Err); ok {
			r.Mark -= field.Offset // which counts from where the draws begin
			r.Err = field.Err
		}
	}
	return e
}

func (e *Draws) network() rollup.Network { return e.Network }

// signers returns who made the last seed.
func (e *Draws) signers() (term uint32, set rollup.Bitmap) {
	return e.Last() - 1, e.Terms[len(e.Terms)-1].Announced
}

func (e *Draws) verify(v *exportVerifier) error {
	if _, err := v.Terms.Redraw(e.Draws, v.TermEpochs); err != nil {
		return err
	}
	candidates := 0
	for i := range e.Terms {
		candidates += len(e.Terms[i].Candidates)
	}
	v.done(Check{Name: "draws", What: fmt.Sprintf("%d seeds are made of signatures by exactly who "+
		"announced them, over the root of %d candidates in all, and draw the seats that were handed "+
		"over", len(e.Terms), candidates), Bytes: len(e.Draws.Append(nil))})
	return nil
}

func (e *Draws) summary() string {
	return fmt.Sprintf("the seats of terms %d to %d were drawn by these seeds among these "+
		"candidates; who was ready or gone is the committee's word", e.First, e.Last())
}

// MarshalJSON implements [json.Marshaler].
func (e *Draws) MarshalJSON() ([]byte, error) {
	type candidate struct {
		Node   uint32 `json:"node"`
		Weight uint64 `json:"weight,string"`
	}
	type term struct {
		Term       uint32        `json:"term"`
		Round      uint8         `json:"round"`
		Announced  rollup.Bitmap `json:"announced"`
		Candidates []candidate   `json:"candidates"`
		Ready      rollup.Bitmap `json:"ready"`
		Gone       []uint32      `json:"gone"`
	}
	terms := make([]term, len(e.Terms))
	for i := range e.Terms {
		x := &e.Terms[i]
		terms[i] = term{e.First + uint32(i), x.Round, x.Announced, make([]candidate, len(x.Candidates)),
			x.Ready, x.Gone}
		for j, c := range x.Candidates {
			terms[i].Candidates[j] = candidate(c)
		}
	}
	return json.Marshal(struct {
		Terms []term `json:"draws"`
	}{terms})
}
