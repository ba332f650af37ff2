package outsider

// A builder of export files, written a second time from the document: it shares nothing with the
// verifier but Verify. A draft's fields that are not set take their honest value, so a lie is
// always told by the whole committee.

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/supranational/blst/bindings/go"
	"lukechampine.com/blake3"
)

func b3(s string) []byte { h := blake3.Sum256([]byte(s)); return h[:] }

func b3k(ctx string, x []byte) []byte {
	h := blake3.New(32, b3(ctx))
	h.Write(x)
	return h.Sum(nil)
}

// mth is a tree's root, level by level; trail is RFC 9162 section 2.1.3.1.
func mth(stem string, d [][]byte) []byte {
	if len(d) == 0 {
		return make([]byte, 32)
	}
	var level [][]byte
	for _, entry := range d {
		level = append(level, b3k("waybill/"+stem+"-leaf/2", entry))
	}
	for len(level) > 1 {
		var above [][]byte
		for pair := range slices.Chunk(level, 2) {
			if len(pair) == 2 {
				pair = [][]byte{b3k("waybill/"+stem+"-node/2", slices.Concat(pair...))}
			}
			above = append(above, pair[0])
		}
		level = above
	}
	return level[0]
}

func split(n int) int {
	k := 1
	for 2*k < n {
		k *= 2
	}
	return k
}

func trail(stem string, m int, d [][]byte) [][]byte {
	if len(d) == 1 {
		return nil
	}
	if k := split(len(d)); m < k {
		return append(trail(stem, m, d[:k]), mth(stem, d[k:]))
	} else {
		return append(trail(stem, m-k, d[k:]), mth(stem, d[:k]))
	}
}

// enc puts fields together: integers by their width, bytes as they are.
func enc(fields ...any) (out []byte) {
	for _, f := range fields {
		switch v := f.(type) {
		case string:
			out = append(out, v...)
		case []byte:
			out = append(out, v...)
		case uint8:
			out = append(out, v)
		case [3]uint32:
			out = append(out, u32s(v[:]...)...)
		case uint16:
			out = le.AppendUint16(out, v)
		case uint32:
			out = le.AppendUint32(out, v)
		case uint64:
			out = le.AppendUint64(out, v)
		default:
			panic(fmt.Sprintf("no encoding of %T", f))
		}
	}
	return out
}

type secret struct{ *blst.SecretKey }

func newSecret(name string, i uint32) secret {
	return secret{blst.DeriveMasterEip2333(b3(fmt.Sprint("waybill/test/", name, "/", i)))}
}
func (k secret) public() []byte { return new(blst.P2Affine).From(k.SecretKey).Compress() }
func (k secret) sign(msg []byte, dst string) []byte {
	return new(blst.P1Affine).Sign(k.SecretKey, msg, []byte(dst)).Compress()
}

func g1(b []byte) *blst.P1Affine { return new(blst.P1Affine).Uncompress(b) }

func add(points ...[]byte) []byte {
	var sum blst.P1
	for _, p := range points {
		sum.AddAssign(g1(p))
	}
	return sum.ToAffine().Compress()
}

const (
	suite = "BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_"
	pop   = "BLS_POP_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_"
	chain = "waybill-outsider-2"
)

// The tests' network has the keys of section 12, but a chain id and powers of its own: members 0
// and 1 have two thirds exactly, which is no quorum.
var (
	network  = networkOf(genesisObject())
	powers   = []uint64{2, 2, 1, 1}
	identity = append([]byte{0xc0}, make([]byte, 47)...)
	members  = []secret{newSecret("member", 0), newSecret("member", 1), newSecret("member", 2),
		newSecret("member", 3)}
)

// edwards is an Ed25519 key of section 12.
func edwards(role string, i uint32) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(b3(fmt.Sprint("waybill/test/", role, "/", i)))
}

func edwardsPublic(role string, i uint32) []byte {
	return edwards(role, i).Public().(ed25519.PublicKey)
}

func committeeRoot(powers []uint64) []byte {
	var entries [][]byte
	for i, k := range members {
		entries = append(entries, enc(uint32(i), powers[i], k.public()))
	}
	return mth("committee", entries)
}

type obj = map[string]any

// genesisObject lacks what signs the network; sealed adds it.
func genesisObject() obj {
	hexed := func(role string, i uint32) string { return fmt.Sprintf("%x", edwardsPublic(role, i)) }
	committee := []any{}
	for i := range uint32(4) {
		committee = append(committee, obj{
			"owner": hexed("owner", i), "transport_key": hexed("transport", i),
			"consensus_key": hexed("consensus", i),
			"bls_key":       fmt.Sprintf("%x", newSecret("member", i).public()),
			"peer_address":  fmt.Sprintf("127.0.0.1:%d", 7000+i),
			"p2p_address":   fmt.Sprintf("node-%d.example:26656", i),
			"stake":         []uint64{2_999_999, 2_999_999, 1_999_999, 1_999_999}[i],
		})
	}
	return obj{
		"version": 2, "chain_id": chain, "genesis_time": "2026-01-02T03:04:05Z",
		"treasury": hexed("treasury", 0),
		"params": obj{"epoch_seconds": 60, "grace_seconds": 10, "grace_blocks": 5,
			"shares":    obj{"node": 7001, "service": 1999, "protocol": 1000},
			"grant_fee": 3, "grant_epochs": 9, "allowance": uint64(math.MaxUint64),
			"serve_stake":        1_999_999,
			"slash_equivocation": 5000, "unbond_seconds": 1 << 20,
			"proofs": obj{"development": false, "keys": []any{
				obj{"statements": 256, "key": strings.Repeat("01", 32)},
				obj{"statements": 4096, "key": strings.Repeat("02", 32)}}}},
		"committee": committee,
	}
}

// canonical is section 3's encoding of whatever is where it should be; a lie of another type counts
// as zero.
func canonical(o obj) []byte {
	object := func(v any) obj { o, _ := v.(obj); return o }
	list := func(v any) []any { l, _ := v.([]any); return l }
	text := func(v any) []byte { s, _ := v.(string); return enc(uint16(len(s)), s) }
	raw := func(v any) []byte { s, _ := v.(string); b, _ := hex.DecodeString(s); return b }
	number := func(v any) uint64 {
		switch v := v.(type) {
		case int:
			return uint64(v)
		case uint64:
			return v
		}
		return 0
	}
	p := object(o["params"])
	s, proofs := object(p["shares"]), object(p["proofs"])
	development := uint8(0)
	if proofs["development"] == true {
		development = 1
	}
	b := enc(uint16(number(o["version"])), text(o["chain_id"]), text(o["genesis_time"]),
		raw(o["treasury"]),
		uint32(number(p["epoch_seconds"])), uint32(number(p["grace_seconds"])),
		uint32(number(p["grace_blocks"])),
		uint16(number(s["node"])), uint16(number(s["service"])), uint16(number(s["protocol"])),
		number(p["grant_fee"]), uint32(number(p["grant_epochs"])), number(p["allowance"]),
		number(p["serve_stake"]),
		uint16(number(p["slash_equivocation"])), uint32(number(p["unbond_seconds"])), development,
		uint32(len(list(proofs["keys"]))))
	for _, k := range list(proofs["keys"]) {
		b = enc(b, uint32(number(object(k)["statements"])), raw(object(k)["key"]))
	}
	b = enc(b, uint32(len(list(o["committee"]))))
	for _, v := range list(o["committee"]) {
		m := object(v)
		b = enc(b, raw(m["owner"]), raw(m["bls_key"]), raw(m["transport_key"]),
			raw(m["consensus_key"]),
			text(m["peer_address"]), text(m["p2p_address"]), number(m["stake"]))
	}
	return b
}

func networkOf(o obj) []byte { return b3k("waybill/network/2", canonical(o)) }

// possession is the rest of the message of a proof of possession: role, account, key.
func possession(network []byte, role uint8, account, key []byte) []byte {
	return enc(network, role, account, key)
}

// sealed adds the members' proofs and node signatures for the network that the object has.
func sealed(o obj) obj {
	network := networkOf(o)
	committee, _ := o["committee"].([]any)
	for i, v := range committee {
		m := v.(obj)
		k, node := members[i%4], edwards("transport", uint32(i%4))
		owner, _ := m["owner"].(string)
		account, _ := hex.DecodeString(owner)
		rest := possession(network, 2, account, k.public())
		m["proof"] = fmt.Sprintf("%x", k.sign(enc("wb-pop/2", rest), pop))
		m["node_signature"] = fmt.Sprintf("%x",
			ed25519.Sign(node, enc("wb-nod/2", rest, edwardsPublic("transport", uint32(i%4)))))
	}
	return o
}

func encodeGenesis(o obj) []byte {
	b, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return b
}

// quorum is bitmap length, bitmap and aggregate signature; a set bitmap or signature replaces the
// honest one.
type quorum struct {
	signers     []int
	bitmap, sig []byte
	tag         string
}

func (q quorum) over(tag string, rest ...any) []byte {
	bitmap, sigs := make([]byte, 1), [][]byte{}
	if q.tag != "" {
		tag = q.tag
	}
	for _, i := range q.signers {
		bitmap[0] |= 1 << i
		sigs = append(sigs, members[i].sign(enc(append([]any{tag}, rest...)...), suite))
	}
	if q.bitmap != nil {
		bitmap = q.bitmap
	}
	if q.sig == nil {
		q.sig = add(sigs...)
	}
	return enc(uint8(len(bitmap)), bitmap, q.sig)
}

type ack struct {
	client          uint64
	service, number uint32
	units           uint64
	request         string
}

type row struct {
	payer, service uint32
	acks, units    uint64
}

type listed struct {
	index                        uint64
	key                          []byte
	payer, since, until, numbers uint32
	services                     [3]uint32
	zero                         uint32
}

type limit struct {
	service uint32
	units   uint64
}

type draft struct {
	quorum
	network, root, rowsRoot, sigma, statements []byte
	epoch, window, node, count, term           uint32
	acks                                       []ack
	runs                                       []run
	rows                                       []row
	clients                                    []listed
	caps                                       []limit
	extra                                      []byte   // evidence behind the acks
	registered                                 uint64   // how many clients there are
	priced                                     uint32   // how many services
	stakes                                     []uint64 // of the nodes
	known                                      func(*trees)
	change                                     func(*rec)
}

func clientKey(i uint64) secret { return newSecret("client", uint32(i)) }
func payerOf(c uint64) uint32   { return 5 + uint32(c%2) }

func newDraft() *draft {
	d := &draft{quorum: quorum{signers: []int{0, 1, 2}}, epoch: 3, window: 5, node: 2,
		statements: enc(make([]byte, 68), identity),
		registered: 10, priced: 11, stakes: []uint64{1, 2, 3, 4, 5, 6}}
	d.acks = []ack{ // clients 4 and 6 have one payer
		{4, 0, 8, 1000, "a"}, {4, 0, 9, 1, "b"}, {4, 1, 0, 1 << 40, "c"}, {6, 0, 1, 77, "a"},
		{7, 1, 4_000_000_000, 5, "d"},
	}
	d.network = network
	return d
}

func (d *draft) entry(a ack) []byte {
	return enc(d.epoch, d.node, a.client, a.service, a.number, a.units, b3(a.request))
}

func (d *draft) entries() (out [][]byte) {
	for _, a := range d.acks {
		out = append(out, d.entry(a))
	}
	return out
}

// grouped are the runs of the acks as they stand.
func (d *draft) grouped() (out []run) {
	for i, a := range d.acks {
		if i > 0 && d.acks[i-1].client == a.client && d.acks[i-1].service == a.service &&
			d.acks[i-1].number+1 == a.number {
			out[len(out)-1].count++
		} else {
			out = append(out, run{a.client, a.service, a.number, 1})
		}
	}
	return out
}

// evidence is that of the acks part.
func (d *draft) evidence() []byte {
	runs := d.runs
	if runs == nil {
		runs = d.grouped()
	}
	b := enc(uint32(len(runs)))
	for _, r := range runs {
		b = enc(b, r.client, r.service, r.first, r.count)
	}
	for _, a := range d.acks {
		b = enc(b, a.units, b3(a.request))
	}
	return b
}

func (d *draft) sum() (out []row) {
	for _, a := range d.acks {
		i := slices.IndexFunc(out,
			func(r row) bool { return r.payer == payerOf(a.client) && r.service == a.service })
		if i < 0 {
			i, out = len(out), append(out, row{payerOf(a.client), a.service, 0, 0})
		}
		out[i].acks++
		out[i].units += a.units
	}
	slices.SortFunc(out,
		func(x, y row) int {
			return slices.Compare([]uint32{x.payer, x.service},
				[]uint32{y.payer, y.service})
		})
	return out
}

func (d *draft) aggregate() []byte {
	var sigs [][]byte
	for _, a := range d.acks {
		sigs = append(sigs, clientKey(a.client).sign(enc("wb-ack/2", d.network, d.entry(a)), suite))
	}
	return add(sigs...)
}

// list are the clients as a registry has them that bounds nothing.
func (d *draft) list() (out []listed) {
	for _, a := range d.acks {
		if !slices.ContainsFunc(out, func(c listed) bool { return c.index == a.client }) {
			out = append(out, defaultClient(a.client))
		}
	}
	slices.SortFunc(out, func(x, y listed) int { return int(x.index) - int(y.index) })
	return out
}

// theRows are those of the header.
func (d *draft) theRows() []row {
	if d.rows == nil {
		return d.sum()
	}
	return d.rows
}

// limits are the caps of the rows' services, 2^40 each.
func (d *draft) limits() (out []limit) {
	for _, r := range d.theRows() {
		if !slices.ContainsFunc(out, func(l limit) bool { return l.service == r.service }) {
			out = append(out, limit{r.service, 1 << 40})
		}
	}
	slices.SortFunc(out, func(x, y limit) int { return int(x.service) - int(y.service) })
	return out
}

func (d *draft) encodedRows() (out [][]byte) {
	for _, r := range d.theRows() {
		out = append(out, enc(r.payer, r.service, r.acks, r.units))
	}
	return out
}

func (d *draft) header() []byte {
	rows, count, root, sigma, rowsRoot := d.encodedRows(), d.count, d.root, d.sigma, d.rowsRoot
	if count == 0 {
		count = uint32(len(d.acks))
	}
	if root == nil && len(d.acks) == 0 {
		root = make([]byte, 32)
	} else if root == nil {
		root = mth("ack", d.entries())
	}
	if sigma == nil {
		sigma = d.aggregate()
	}
	if rowsRoot == nil {
		rowsRoot = mth("row", rows)
	}
	return enc("wb-rol/2", d.network, d.epoch, d.window, d.node, count, root, sigma, d.statements,
		uint16(len(rows)), rowsRoot)
}

func (d *draft) id() []byte { return b3k("waybill/rollup/2", d.header()) }

// word is the node's.
func (d *draft) word() []byte {
	return ed25519.Sign(edwards("transport", d.node),
		enc("wb-own/2", d.network, d.node, d.epoch, d.window, d.id()))
}

// ticket is that of section 7.
func (d *draft) ticket() []byte {
	return enc(d.header(), slices.Concat(d.encodedRows()...), d.word(), d.term,
		d.over("wb-tkt/2", d.network, d.term, d.epoch, d.node, d.window, d.id()))
}

func export(network []byte, kind uint8, parts ...any) []byte {
	return enc("wb-exp/2", network, kind, enc(parts...))
}

func (d *draft) rollupFile() []byte {
	ev := enc(d.evidence(), d.extra)
	return export(d.network, 2, d.anchored(), uint32(len(ev)), ev, d.extracted())
}

func (d *draft) ackFile(i int) []byte {
	path := trail("ack", i, d.entries())
	return export(d.network, 1, d.anchored(), d.entry(d.acks[i]), uint32(i), uint8(len(path)),
		slices.Concat(path...))
}

type settled struct {
	node, service, payer, windows                          uint32
	price, acks, units, charge, allowed, paid, node_, serv uint64
}

type settler struct {
	payer                             uint32
	key                               string
	reserve, thawing, allowance, paid uint64
}

type table struct {
	quorum
	rec
	rows   []settled
	payers []settler
}

func newTable() *table {
	t := &table{quorum: quorum{signers: []int{0, 2, 1}}, rec: *newRec(network, 4, b3("registry"))}
	const price = 100 << 20
	t.rows = []settled{ // payer 8 has 120 for what it owes, and allows a node 150
		{0, 0, 7, 1, price + 1, 2, 9999, 999_900, 999_900, 999_900, 700_029, 199_880},
		{0, 0, 8, 1, price, 1, 1, 100, 100, 100, 70, 19},
		{0, 1, 8, 1, price, 1, 1, 100, 50, 20, 14, 3},
		{2, 0, 8, 3, price + 1<<19, 3, 3, 300, 101, 0, 0, 0},
		{2, 1, 7, 1, 0, 1, 1, 0, 0, 0, 0, 0},
	}
	t.payers = []settler{{7, "seven", 1, 2, 999_900, 999_900}, {8, "eight", 0, 0, 150, 120}}
	return t
}

func (t *table) encoded() (rows, payers [][]byte) {
	for _, r := range t.rows {
		rows = append(rows, enc(r.node, r.service, r.payer, r.windows, r.price, r.acks, r.units,
			r.charge, r.allowed, r.paid,
			r.node_, r.serv))
	}
	for _, p := range t.payers {
		key := []byte(p.key)
		if len(key) != 32 {
			key = b3(p.key)
		}
		payers = append(payers, enc(p.payer, key, p.reserve, p.thawing, p.allowance, p.paid))
	}
	return rows, payers
}

// root is that of section 9.
func (t *table) root() []byte {
	rows, payers := t.encoded()
	return b3k("waybill/settlement/2",
		enc(mth("settlement", rows), mth("payer", payers), make([]byte, 32)))
}

func (t *table) file() []byte {
	rows, payers := t.encoded()
	r := t.rec
	if bytes.Equal(r.settlement, make([]byte, 32)) && r.settled != none {
		r.settlement = t.root()
	}
	return export(t.network, 3, r.witness(t.quorum), uint32(len(rows)), slices.Concat(rows...),
		uint32(len(payers)),
		slices.Concat(payers...))
}

// torsion is a point of E(Fp) whose order divides the cofactor: the order of the subgroup times a
// point of the curve.
func torsion(t *testing.T) []byte {
	order := []byte{
		0x73, 0xed, 0xa7, 0x53, 0x29, 0x9d, 0x7d, 0x48, 0x33, 0x39, 0xd8, 0x08, 0x09, 0xa1, 0xd8,
		0x05,
		0x53, 0xbd, 0xa4, 0x02, 0xff, 0xfe, 0x5b, 0xfe, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00,
		0x01,
	}
	for x := range byte(100) {
		p := g1(append([]byte{0x80}, append(make([]byte, 46), x)...))
		if p == nil || p.InG1() {
			continue
		}
		var sum blst.P1 // by doubling and adding: the library's multiplication is for the subgroup
		for i := range 256 {
			sum.AddAssign(&sum)
			if order[i/8]>>(7-i%8)&1 == 1 {
				sum.AddAssign(p)
			}
		}
		if out := sum.ToAffine().Compress(); out[0] != 0xc0 {
			return out
		}
	}
	t.Fatal("no torsion point found")
	return nil
}

// mixedOrder is a key plus the point of order 2: on the curve and canonical, but not in the
// prime-order subgroup.
func mixedOrder(t *testing.T) string {
	point := func(b []byte) *curve.EdwardsPoint {
		p := curve.NewEdwardsPoint()
		if err := p.UnmarshalBinary(b); err != nil {
			t.Fatal(err)
		}
		return p
	}
	order2 := append([]byte{0xec}, append(bytes.Repeat([]byte{0xff}, 30), 0x7f)...)
	key := ed25519.NewKeyFromSeed(b3("mixed")).Public().(ed25519.PublicKey)
	sum, err := curve.NewEdwardsPoint().Add(point(key), point(order2)).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sum)
}
