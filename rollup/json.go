package rollup

import (
	"encoding/hex"
	"encoding/json"
)

// JSON renderings are for people and scripts: bytes in hexadecimal, u64 as decimal strings, so that
// no reader loses digits. Row, SettlementRow, WindowKey and Shares carry theirs in field tags.

// hexBytes renders as hexadecimal.
type hexBytes []byte

func (b hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, b), nil }

// MarshalJSON implements [json.Marshaler]. A signature of zeros, as in an ack of an export, is left
// out.
func (a Ack) MarshalJSON() ([]byte, error) {
	v := struct {
		Net       Net      `json:"net"`
		Epoch     uint32   `json:"epoch"`
		Node      uint32   `json:"node"`
		Client    uint64   `json:"client"`
		Service   uint32   `json:"service"`
		Number    uint32   `json:"number"`
		Units     uint64   `json:"units,string"`
		Request   Hash     `json:"request"`
		Signature hexBytes `json:"signature,omitempty"`
	}{a.Net, a.Epoch, a.Node, a.Client, a.Service, a.Number, a.Units, a.Request, nil}
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
		List      Hash     `json:"list_root"`
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
		v.Statements = &statements{h.StatementCount, h.StatementRoot, h.ListRoot,
			h.StatementSignature[:]}
	}
	return json.Marshal(v)
}

// MarshalJSON implements [json.Marshaler].
func (c Certificate) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Rollup    *Header  `json:"rollup"`
		Own       hexBytes `json:"own"`
		Term      uint32   `json:"term"`
		Signers   Bitmap   `json:"signers"`
		Signature hexBytes `json:"signature"`
	}{&c.Header, c.Own[:], c.Term, c.Signers, c.Signature[:]})
}

// MarshalJSON implements [json.Marshaler]: the members in the set, ascending.
func (b Bitmap) MarshalJSON() ([]byte, error) { return json.Marshal(b.Positions()) }

// MarshalJSON implements [json.Marshaler].
func (s SegmentProof) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Nodes []Hash   `json:"nodes"`
		Rows  []Row    `json:"rows,omitempty"`
		Proof hexBytes `json:"proof"`
	}{s.Nodes, s.Rows, s.Proof[:]})
}

// MarshalJSON implements [json.Marshaler].
func (r *Record) MarshalJSON() ([]byte, error) {
	v := struct {
		Network      Network `json:"network"`
		Term         uint32  `json:"term"`
		Height       uint64  `json:"height"`
		Time         uint64  `json:"time_ms"`
		Epoch        uint32  `json:"epoch"`
		RollupCount  uint32  `json:"rollups"`
		RollupsRoot  Hash    `json:"rollups_root"`
		RegistryRoot Hash    `json:"registry_root"`
		Settled      *uint32 `json:"settled_epoch,omitempty"`
		Settlement   *Hash   `json:"settlement_root,omitempty"`
	}{r.Network, r.Term, r.Height, r.Time, r.Epoch, r.RollupCount, r.RollupsRoot, r.RegistryRoot,
		nil, nil}
	if r.SettledEpoch != NoEpoch {
		v.Settled, v.Settlement = &r.SettledEpoch, &r.SettlementRoot
	}
	return json.Marshal(v)
}
