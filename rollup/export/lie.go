package export

import (
	"encoding/json"
	"fmt"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/word"
)

// Lie shows that somebody lied (docs/lies.md).
type Lie struct {
	*word.File
	verdict word.Verdict // once it is verified
}

// Type returns TypeLie.
func (e *Lie) Type() Type { return TypeLie }

func (e *Lie) network() rollup.Network { return e.Network }

// signers returns who signed the record that shows the parties; nobody when there is none.
func (e *Lie) signers() (term uint32, set rollup.Bitmap) {
	if e.Witness == nil {
		return 0, nil
	}
	return e.Witness.Record.Term, e.Witness.Signers
}

func (e *Lie) verify(v *exportVerifier) (err error) {
	if e.verdict, err = e.File.Verify(v.Network, &genesisParties{v.Trust}); err != nil {
		return err
	}
	whole := len(e.File.Append(nil))
	v.done(Check{Name: "lie", What: "the signatures of both words, or of the one that cannot be " +
		"true, and whose they are", Bytes: whole})
	return nil
}

func (e *Lie) summary() string {
	d := &e.verdict
	who := fmt.Sprintf("the nodes %d, as members of the committee,", d.Nodes)
	switch {
	case len(d.Clients) > 0:
		who = fmt.Sprintf("client %d", d.Clients[0])
	case len(d.Nodes) == 1:
		who = fmt.Sprintf("node %d", d.Nodes[0])
	}
	return fmt.Sprintf("%s told lie %d in epoch %d: %s", who, uint8(d.Lie), d.Epoch, d.Lie)
}

// MarshalJSON implements [json.Marshaler].
func (e *Lie) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Lie     uint8    `json:"lie"`
		Epoch   uint32   `json:"epoch"`
		Nodes   []uint32 `json:"nodes,omitempty"`
		Clients []uint64 `json:"clients,omitempty"`
	}{uint8(e.Evidence.Lie()), e.verdict.Epoch, e.verdict.Nodes, e.verdict.Clients})
}

// genesisParties are those of whom the genesis file and hand-overs tell: committees, and the nodes'
// keys that are in the genesis.
type genesisParties struct{ *Trust }

func (*genesisParties) Client(uint64) (rollup.Client, bool) { return rollup.Client{}, false }

func (*genesisParties) UnitCap(uint32) (uint64, bool) { return 0, false }

func (*genesisParties) Rollups() (uint32, rollup.Hash, bool) { return 0, rollup.Hash{}, false }

func (*genesisParties) Price(uint32, uint32) (uint64, bool) { return 0, false }

func (g *genesisParties) NodeKey(node uint32) (key [32]byte, ok bool) {
	key, ok = g.NodeKeys[node]
	return key, ok
}

func (g *genesisParties) Committee(term uint32) (*rollup.Committee, bool) {
	committee, err := g.Terms.Committee(term)
	return committee, err == nil
}
