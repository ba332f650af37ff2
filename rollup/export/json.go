package export

import (
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// hexBytes renders as hexadecimal.
type hexBytes []byte

func (b hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, b), nil }

// MarshalJSON implements [json.Marshaler].
func (e *Ack) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		anchorJSON
		Ack   *rollup.Ack   `json:"ack"`
		Index uint32        `json:"index"`
		Path  []rollup.Hash `json:"path"`
	}{e.Anchor.json(), &e.Ack, e.Index, e.Path})
}

// MarshalJSON implements [json.Marshaler]. Acks come in tree order.
func (e *Rollup) MarshalJSON() ([]byte, error) {
	acks := make([]rollup.Ack, e.Evidence.Acks.Len())
	for i := range acks {
		acks[i] = e.Evidence.Acks.Ack(e.Header, i)
	}
	statements := slices.Clone(e.Evidence.Statements)
	for i := range statements { // payers are in the file, but not in the evidence
		if j, ok := slices.BinarySearchFunc(e.Clients, statements[i].Client, compareClient); ok {
			statements[i].Payer = e.Clients[j].Payer
		}
	}
	return json.Marshal(struct {
		anchorJSON
		Acks         []rollup.Ack          `json:"acks"`
		Rung         rollup.Rung           `json:"rung"`
		List         rollup.List           `json:"list,omitempty"`
		Statements   []rollup.Statement    `json:"statements,omitempty"`
		Size         int                   `json:"circuit,omitempty"`
		Segments     []rollup.SegmentProof `json:"segments,omitempty"`
		VerifyingKey hexBytes              `json:"verifying_key,omitempty"`
		Clients      []clientJSON          `json:"clients"`
		Services     []serviceJSON         `json:"services"`
		Node         ledger.Key            `json:"node_key"`
	}{e.Anchor.json(), acks, e.Evidence.Rung, e.Evidence.List, statements, e.Evidence.Size,
		e.Evidence.Segments, e.VerifyingKey, clientsJSON(e.Clients), servicesJSON(e.Services),
		e.Node.NodeKey})
}

// MarshalJSON implements [json.Marshaler].
func (e *StatementAck) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		anchorJSON
		Ack        *rollup.Ack   `json:"ack"`
		Path       []rollup.Hash `json:"path"`
		Payer      uint32        `json:"payer"`
		First      uint32        `json:"first"`
		Acks       uint32        `json:"acks"`
		Units      uint64        `json:"units,string"`
		Statement  uint32        `json:"statement"`
		List       []rollup.Hash `json:"list_path"`
		Statements []rollup.Hash `json:"statement_path"`
	}{e.Anchor.json(), &e.Ack, e.Path, e.Payer, e.First, e.Acks, e.Units, e.Statement, e.List,
		e.Statements})
}

// clientJSON is a client as people read it.
type clientJSON struct {
	Index    uint64        `json:"client"`
	Key      ledger.BLSKey `json:"key"`
	Payer    uint32        `json:"payer"`
	Since    uint32        `json:"since"`
	Until    uint32        `json:"until"`
	Numbers  uint32        `json:"numbers"`
	Services []uint32      `json:"services"`
}

func clientsJSON(clients []Client) []clientJSON {
	all := make([]clientJSON, len(clients))
	for i := range clients {
		c := &clients[i]
		services := slices.DeleteFunc(slices.Clone(c.Services[:]),
			func(s uint32) bool { return s == rollup.NoService })
		all[i] = clientJSON{c.Index, c.Key, c.Payer, c.Since, c.Until, c.Numbers, services}
	}
	return all
}

// serviceJSON is a service as people read it.
type serviceJSON struct {
	Index uint32 `json:"service"`
	Owner uint32 `json:"owner"`
	Cap   uint64 `json:"cap,string"`
	Price uint64 `json:"price,string"`
}

func servicesJSON(services []Service) []serviceJSON {
	all := make([]serviceJSON, len(services))
	for i, s := range services {
		all[i] = serviceJSON{s.Index, s.Owner, s.Cap, s.Price}
	}
	return all
}

// witnessJSON is a record and who signed it.
type witnessJSON struct {
	Record  *rollup.Record `json:"record"`
	Signers rollup.Bitmap  `json:"record_signers"`
}

func (w *Witness) json() witnessJSON { return witnessJSON{w.Record, w.Certificate.Signers} }

// anchorJSON is where a rollup was ordered.
type anchorJSON struct {
	witnessJSON
	Position uint32         `json:"position"`
	Rollup   *rollup.Header `json:"rollup"`
}

func (a *Anchor) json() anchorJSON { return anchorJSON{a.Witness.json(), a.Index, a.Header} }

// MarshalJSON implements [json.Marshaler].
func (e *Settlement) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		witnessJSON
		rollup.SettlementTable
	}{e.Witness.json(), e.SettlementTable})
}

// MarshalJSON implements [json.Marshaler].
func (r *Report) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Type    Type           `json:"type"`
		Network rollup.Network `json:"network"`
		Summary string         `json:"summary"`
		Checks  []Check        `json:"checks"`
		Signers []int          `json:"signers"`
		Members int            `json:"members"`
		Power   uint64         `json:"power,string"`
		Total   uint64         `json:"total_power,string"`
		File    File           `json:"export"`
	}{r.Type, r.Network, r.summary, r.Checks, r.Signers, r.Members, r.Power, r.Total, r.File})
}
