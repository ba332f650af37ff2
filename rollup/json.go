package rollup

import (
	"encoding/hex"
	"encoding/json"
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

// MarshalJSON implements [json.Marshaler]. The absent statements part is left out; the rollup id is added.
func (h Header) MarshalJSON() ([]byte, error) {
	type acks struct {
		Count     uint32   `json:"count"`
		Root      Hash     `json:"root"`
		Signature hexBytes `json:"signature"`
	}
	return json.Marshal(struct {
		ID      Hash    `json:"id"`
		Network Network `json:"network"`
		WindowKey
		Acks acks  `json:"acks"`
		Rows []Row `json:"rows"`
	}{h.ID(), h.Network, h.Key(), acks{h.AckCount, h.AckRoot, h.AckSignature[:]}, h.Rows})
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
func (b Bitmap) MarshalJSON() ([]byte, error) { return json.Marshal(b.Members()) }

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
	return json.Marshal(struct {
		Certificate *Certificate   `json:"certificate"`
		Acks        []Ack          `json:"acks"`
		Clients     []RollupClient `json:"clients"`
	}{e.Certificate, acks, e.Clients})
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
		Signers []int      `json:"signers"`
		Members int        `json:"members"`
		Power   uint64     `json:"power,string"`
		Total   uint64     `json:"total_power,string"`
		Export  Export     `json:"export"`
	}{r.Type, r.Network, r.summary, r.Signers, r.Members, r.Power, r.Total, r.Export})
}
