package outsider

// A builder of export files, written a second time from the document: it shares nothing with the verifier but Verify.
// A draft's fields that are not set take their honest value, so a lie is always told by the whole committee.

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
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
		level = append(level, b3k("waybill/"+stem+"-leaf/1", entry))
	}
	for len(level) > 1 {
		var above [][]byte
		for pair := range slices.Chunk(level, 2) {
			if len(pair) == 2 {
				pair = [][]byte{b3k("waybill/"+stem+"-node/1", slices.Concat(pair...))}
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
	chain = "waybill-outsider-1"
)

// The tests' network has the keys of section 12, but a chain id and powers of its own: members 0 and 1 have two thirds
// exactly, which is no quorum.
var (
	network  = b3("waybill/network/1" + chain)[:8]
	powers   = []uint64{2, 2, 1, 1}
	identity = append([]byte{0xc0}, make([]byte, 47)...)
	members  = []secret{newSecret("member", 0), newSecret("member", 1), newSecret("member", 2), newSecret("member", 3)}
)

func committeeRoot(powers []uint64) []byte {
	var entries [][]byte
	for i, k := range members {
		entries = append(entries, enc(uint32(i), powers[i], k.public()))
	}
	return mth("committee", entries)
}

type obj = map[string]any

func genesisObject() obj {
	hexed := func(name string, i int) string {
		return fmt.Sprintf("%x", ed25519.NewKeyFromSeed(b3(fmt.Sprint(name, i))).Public())
	}
	committee := []any{}
	for i, k := range members {
		committee = append(committee, obj{
			"owner": hexed("owner", i), "transport_key": hexed("transport", i), "consensus_key": hexed("consensus", i),
			"bls_key": fmt.Sprintf("%x", k.public()), "proof": fmt.Sprintf("%x", k.sign(k.public(), pop)),
			"peer_address": fmt.Sprintf("127.0.0.1:%d", 7000+i), "p2p_address": fmt.Sprintf("node-%d.example:26656", i),
			"stake": powers[i]*1_000_000 + 999_999,
		})
	}
	return obj{
		"version": 1, "chain_id": chain, "genesis_time": "2026-01-02T03:04:05Z", "treasury": hexed("treasury", 0),
		"params": obj{"epoch_seconds": 60, "grace_seconds": 10, "late_epochs": 4,
			"shares": obj{"node": 7001, "service": 1999, "protocol": 1000},
			"proofs": obj{"development": false, "keys": []any{
				obj{"statements": 256, "key": strings.Repeat("01", 32)}, obj{"statements": 4096, "key": strings.Repeat("02", 32)}}}},
		"committee": committee,
	}
}

func encodeGenesis(o obj) []byte {
	b, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return b
}

// quorum is bitmap length, bitmap and aggregate signature; a set bitmap or signature replaces the honest one.
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
	client, service, seq uint32
	units                uint64
	request              string
}

type row struct {
	payer, service uint32
	acks, units    uint64
}

type listed struct {
	index, payer uint32
	key          []byte
}

type draft struct {
	quorum
	network, root, sigma, statements []byte
	epoch, window, node, count       uint32
	acks                             []ack
	rows                             []row
	clients                          []listed
	extra                            []byte // evidence behind the acks
}

func clientKey(i uint32) secret { return newSecret("client", i) }
func payerOf(c uint32) uint32   { return 5 + c%2 }

func newDraft() *draft {
	d := &draft{quorum: quorum{signers: []int{0, 1, 2}}, epoch: 3, window: 5, node: 2, statements: enc(make([]byte, 68), identity)}
	d.acks = []ack{ // clients 4 and 6 have one payer
		{4, 0, 1, 1000, "a"}, {4, 0, 9, 1, "b"}, {4, 1, 0, 1 << 40, "c"}, {6, 0, 1, 77, "a"}, {7, 1, 4_000_000_000, 5, "d"},
	}
	d.network = network
	return d
}

func (d *draft) entry(a ack) []byte {
	return enc(d.epoch, d.window, d.node, a.client, a.service, a.seq, a.units, b3(a.request))
}

func (d *draft) entries() (out [][]byte) {
	for _, a := range d.acks {
		out = append(out, d.entry(a))
	}
	return out
}

func (d *draft) sum() (out []row) {
	for _, a := range d.acks {
		i := slices.IndexFunc(out, func(r row) bool { return r.payer == payerOf(a.client) && r.service == a.service })
		if i < 0 {
			i, out = len(out), append(out, row{payerOf(a.client), a.service, 0, 0})
		}
		out[i].acks++
		out[i].units += a.units
	}
	slices.SortFunc(out, func(x, y row) int { return slices.Compare([]uint32{x.payer, x.service}, []uint32{y.payer, y.service}) })
	return out
}

func (d *draft) aggregate() []byte {
	var sigs [][]byte
	for _, a := range d.acks {
		sigs = append(sigs, clientKey(a.client).sign(enc("wb-ack/1", d.network, d.entry(a)), suite))
	}
	return add(sigs...)
}

func (d *draft) list() (out []listed) {
	for _, a := range d.acks {
		if !slices.ContainsFunc(out, func(c listed) bool { return c.index == a.client }) {
			out = append(out, listed{a.client, payerOf(a.client), clientKey(a.client).public()})
		}
	}
	slices.SortFunc(out, func(x, y listed) int { return int(x.index) - int(y.index) })
	return out
}

func (d *draft) header() []byte {
	rows, count, root, sigma := d.rows, d.count, d.root, d.sigma
	if rows == nil {
		rows = d.sum()
	}
	if count == 0 {
		count = uint32(len(d.acks))
	}
	if root == nil {
		root = mth("ack", d.entries())
	}
	if sigma == nil {
		sigma = d.aggregate()
	}
	h := enc("wb-rol/1", d.network, d.epoch, d.window, d.node, count, root, sigma, d.statements, uint16(len(rows)))
	for _, r := range rows {
		h = enc(h, r.payer, r.service, r.acks, r.units)
	}
	return h
}

func (d *draft) certificate() []byte {
	h := d.header()
	return enc(h, d.over("wb-crt/1", d.network, d.epoch, b3k("waybill/rollup/1", h)))
}

func export(network []byte, kind uint8, parts ...any) []byte {
	return enc("wb-exp/1", network, kind, enc(parts...))
}

func (d *draft) rollupFile() []byte {
	c := d.certificate()
	ev := enc(uint32(len(d.acks)))
	for _, a := range d.acks {
		ev = append(ev, d.entry(a)[12:]...)
	}
	ev = append(ev, d.extra...)
	clients := d.clients
	if clients == nil {
		clients = d.list()
	}
	f := export(d.network, 2, uint32(len(c)), c, uint32(len(ev)), ev, uint32(len(clients)))
	for _, c := range clients {
		f = enc(f, c.index, c.payer, c.key)
	}
	return f
}

func (d *draft) ackFile(i int) []byte {
	c, path := d.certificate(), trail("ack", i, d.entries())
	return export(d.network, 1, uint32(len(c)), c, d.entry(d.acks[i]), uint32(i), uint8(len(path)), slices.Concat(path...))
}

type settled struct {
	node, service, payer                   uint32
	acks, units, charge, paid, node_, serv uint64
}

type table struct {
	quorum
	network, next []byte
	epoch         uint32
	rows          []settled
}

func newTable() *table {
	t := &table{quorum: quorum{signers: []int{0, 2, 1}}, network: network, next: committeeRoot(powers), epoch: 3}
	t.rows = []settled{ // payer 7 pays in full; payer 8 has 100 for charges of 100, 100 and 101
		{0, 0, 7, 2, 9, 1_000_003, 1_000_003, 700_102, 199_900},
		{0, 0, 8, 1, 1, 100, 33, 23, 6},
		{0, 1, 8, 1, 1, 100, 33, 23, 6},
		{2, 0, 8, 4, 40, 101, 34, 23, 6},
		{2, 1, 7, 1, 1, 0, 0, 0, 0},
	}
	return t
}

func (t *table) encoded() (rows [][]byte) {
	for _, r := range t.rows {
		rows = append(rows, enc(r.node, r.service, r.payer, r.acks, r.units, r.charge, r.paid, r.node_, r.serv))
	}
	return rows
}

func (t *table) file() []byte {
	rows := t.encoded()
	return export(t.network, 3, t.epoch, uint32(len(rows)), slices.Concat(rows...), t.next,
		t.over("wb-set/1", t.network, t.epoch, mth("settlement", rows), t.next))
}

// torsion is a point of E(Fp) whose order divides the cofactor: the order of the subgroup times a point of the curve.
func torsion(t *testing.T) []byte {
	order := []byte{
		0x73, 0xed, 0xa7, 0x53, 0x29, 0x9d, 0x7d, 0x48, 0x33, 0x39, 0xd8, 0x08, 0x09, 0xa1, 0xd8, 0x05,
		0x53, 0xbd, 0xa4, 0x02, 0xff, 0xfe, 0x5b, 0xfe, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x01,
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

// mixedOrder is a key plus the point of order 2: on the curve and canonical, but not in the prime-order subgroup.
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
