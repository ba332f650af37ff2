package rollup

import (
	"encoding/hex"
	"encoding/json"
	"slices"
)

// JSON renderings are for people and scripts: bytes in hexadecimal, u64 as decimal strings, so that no reader loses
// digits. Row, SettlementRow, WindowKey and Shares carry theirs in field tags.

// hexBytes renders as hexadecimal.
type hexBytes []byte

func (b hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, b), nil }

// MarshalText implements [encoding.TextMarshaler].
func (k BLSKey) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, k[:]), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]; only lower-case hexadecimal is accepted.
func (k *BLSKey) UnmarshalText(text []byte) error { return parseHex(k[:], text) }

// MarshalJSON implements [json.Marshaler]. A signature of zeros, as in an ack of an export, is left out.
func (a Ack) MarshalJSON() ([]byte, error) {
	v := struct {
		Network   Network  `json:"network"`
		Epoch     uint32   `json:"epoch"`
		Window    uint32   `json:"window"`
		Node      uint32   `json:"node"`
		Client    uint32   `json:"client"`
		Service   uint32   `json:"service"`
		Seq       uint32   `json:"seq"`
		Units     uint64   `json:"units,string"`
		Request   Hash     `json:"request"`
		Signature hexBytes `json:"signature,omitempty"`
	}{a.Network, a.Epoch, a.Window, a.Node, a.Client, a.Service, a.Seq, a.Units, a.Request, nil}
	if a.Signature != [SignatureSize]byte{} {
		v.Signature = a.Signature[:]
	}
	return json.Marshal(v)
}

// MarshalJSON implements [json.Marshaler]. An absent part is left out; the rollup id is added.
func (h Header) MarshalJSON() ([]byte, error) {
	type acks struct {
		Count     uint32   `json:"count"`
		Root      Hash     `json:"root"`
		Signature hexBytes `json:"signature"`
	}
	type statements struct {
		Count     uint32   `json:"count"`
		Root      Hash     `json:"root"`
		List      Hash     `json:"client_list_digest"`
		Signature hexBytes `json:"signature"`
	}
	v := struct {
		ID      Hash    `json:"id"`
		Network Network `json:"network"`
		WindowKey
		Acks       *acks       `json:"acks,omitempty"`
		Statements *statements `json:"statements,omitempty"`
		Rows       []Row       `json:"rows"`
	}{ID: h.ID(), Network: h.Network, WindowKey: h.Key(), Rows: h.Rows}
	if h.AckCount > 0 {
		v.Acks = &acks{h.AckCount, h.AckRoot, h.AckSignature[:]}
	}
	if h.StatementCount > 0 {
		v.Statements = &statements{h.StatementCount, h.StatementRoot, h.ClientListDigest, h.StatementSignature[:]}
	}
	return json.Marshal(v)
}

// MarshalJSON implements [json.Marshaler].
func (c Certificate) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Rollup    *Header  `json:"rollup"`
		Signers   Bitmap   `json:"signers"`
		Signature hexBytes `json:"signature"`
	}{&c.Header, c.Signers, c.Signature[:]})
}

// MarshalJSON implements [json.Marshaler].
func (c SettlementCertificate) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Epoch     uint32   `json:"epoch"`
		Signers   Bitmap   `json:"signers"`
		Signature hexBytes `json:"signature"`
	}{c.Epoch, c.Signers, c.Signature[:]})
}

// MarshalJSON implements [json.Marshaler]: the members in the set, ascending.
func (b Bitmap) MarshalJSON() ([]byte, error) { return json.Marshal(b.Positions()) }

// MarshalJSON implements [json.Marshaler].
func (e *AckExport) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Certificate *Certificate `json:"certificate"`
		Ack         *Ack         `json:"ack"`
		Index       uint32       `json:"index"`
		Path        []Hash       `json:"path"`
	}{e.Certificate, &e.Ack, e.Index, e.Path})
}

// MarshalJSON implements [json.Marshaler]. Acks come in tree order.
func (e *RollupExport) MarshalJSON() ([]byte, error) {
	acks := make([]Ack, e.Evidence.Acks.Len())
	for i := range acks {
		acks[i] = e.Evidence.Acks.Ack(&e.Certificate.Header, i)
	}
	statements := slices.Clone(e.Evidence.Statements)
	for i := range statements { // payers are in the file, but not in the evidence
		if j, ok := slices.BinarySearchFunc(e.Clients, statements[i].Client, compareClient); ok {
			statements[i].Payer = e.Clients[j].Payer
		}
	}
	return json.Marshal(struct {
		Certificate  *Certificate   `json:"certificate"`
		Acks         []Ack          `json:"acks"`
		Rung         Rung           `json:"rung"`
		Listed       ClientList     `json:"listed,omitempty"`
		Statements   []Statement    `json:"statements,omitempty"`
		Size         int            `json:"circuit,omitempty"`
		Segments     []SegmentProof `json:"segments,omitempty"`
		VerifyingKey hexBytes       `json:"verifying_key,omitempty"`
		Clients      []RollupClient `json:"clients"`
	}{e.Certificate, acks, e.Evidence.Rung, e.Evidence.Clients, statements, e.Evidence.Size, e.Evidence.Segments, e.VerifyingKey, e.Clients})
}

// MarshalJSON implements [json.Marshaler].
func (s SegmentProof) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Nodes []Hash   `json:"nodes"`
		Rows  []Row    `json:"rows,omitempty"`
		Proof hexBytes `json:"proof"`
	}{s.Nodes, s.Rows, s.Proof[:]})
}

// MarshalJSON implements [json.Marshaler].
func (e *StatementAckExport) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Certificate *Certificate `json:"certificate"`
		Listed      ClientList   `json:"listed"`
		Ack         *Ack         `json:"ack"`
		Index       uint32       `json:"index"`
		Path        []Hash       `json:"path"`
		Payer       uint32       `json:"payer"`
		Acks        uint32       `json:"acks"`
		Units       uint64       `json:"units,string"`
		Statement   uint32       `json:"statement"`
		Statements  []Hash       `json:"statement_path"`
	}{e.Certificate, e.Clients, &e.Ack, e.Index, e.Path, e.Payer, e.Acks, e.Units, e.Statement, e.Statements})
}

// MarshalJSON implements [json.Marshaler].
func (e *SettlementExport) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Network       Network                `json:"network"`
		Root          Hash                   `json:"root"`
		NextCommittee Hash                   `json:"next_committee"`
		Certificate   *SettlementCertificate `json:"certificate"`
		Rows          []SettlementRow        `json:"rows"`
	}{e.Network, SettlementRoot(e.Rows), e.NextCommittee, e.Certificate, e.Rows})
}

// MarshalJSON implements [json.Marshaler].
func (r *Report) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Type    ExportType `json:"type"`
		Network Network    `json:"network"`
		Summary string     `json:"summary"`
		Checks  []Check    `json:"checks"`
		Signers []int      `json:"signers"`
		Members int        `json:"members"`
		Power   uint64     `json:"power,string"`
		Total   uint64     `json:"total_power,string"`
		Export  Export     `json:"export"`
	}{r.Type, r.Network, r.summary, r.Checks, r.Signers, r.Members, r.Power, r.Total, r.Export})
}
