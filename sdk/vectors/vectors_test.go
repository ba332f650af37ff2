package vectors

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"testing"
	"time"

	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/manifest"
	"github.com/waybill-network/waybill/rollup/registry"
	"github.com/waybill-network/waybill/rollup/route"
	"github.com/waybill-network/waybill/rollup/word"
)

var update = flag.Bool("update", false, "write sdk/ts/test/vectors.json")

type object = map[string]any

func text(b []byte) string { return hex.EncodeToString(b) }

func digest(b byte) (h rollup.Hash) {
	for i := range h {
		h[i] = b + byte(i)
	}
	return h
}

// pattern is content that both sides can make.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}

var network = rollup.Network(digest(1))

// TestVectors holds the file to what this tree's Go code says.
func TestVectors(t *testing.T) {
	got, err := json.MarshalIndent(object{
		"hashes": hashes(), "streams": streams(t), "keys": keys(t), "ack": ack(t),
		"answers": answers(), "grant": grant(t), "head": head(), "delivery": deliveries(t),
		"record": record(t), "manifest": manifests(t), "codes": codes(), "list": list(t),
		"offers": offers(t), "terms": terms(t),
	}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	const path = "../ts/test/vectors.json"
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the code gives; if the change is meant: "+
			"go test ./sdk/vectors -update, and mend sdk/ts", path)
	}
}

func hashes() (list []object) {
	for _, n := range []int{0, 1, 63, 64, 65, 1023, 1024, 1025, 2048, 3000, 16383, 16384, 16385,
		32768, 50_000, 1 << 20, 1<<20 + 1, 1<<20 + 50_000} {
		sum := blake3.Sum256(pattern(n))
		list = append(list, object{"size": n, "root": text(sum[:])})
	}
	return list
}

// streams are runs with their parents, as a node sends them.
func streams(t *testing.T) (list []object) {
	for _, c := range []struct {
		size  int
		first int64
		runs  []int64
	}{
		{1, 0, []int64{1}}, {16384, 0, []int64{1}}, {16385, 0, []int64{1, 1}},
		{16385, 1, []int64{1}}, {300_000, 0, []int64{8, 11}}, {300_000, 5, []int64{1, 2, 11}},
		{700_001, 0, []int64{43}}, {700_001, 42, []int64{1}}, {700_001, 3, []int64{16, 16, 8}},
	} {
		data := pattern(c.size)
		root, tree := blake3.Outboard(data, delivery.GroupSize)
		next, runs := c.first, []object{}
		for _, n := range c.runs {
			nodes, err := blake3.AppendNodes(nil, bytes.NewReader(tree), int64(c.size),
				delivery.GroupSize, c.first, next, next+n)
			if err != nil {
				t.Fatal(err)
			}
			runs = append(runs, object{"groups": n, "parents": text(nodes)})
			next += n
		}
		list = append(list, object{"size": c.size, "root": text(root[:]), "first": c.first,
			"runs": runs})
	}
	return list
}

func secret(t *testing.T) *bls.SecretKey { return testnet.SecretKey("a client of the SDK", 0) }

func keys(t *testing.T) object {
	k, node := secret(t), testnet.Key("node", 0)
	key, public, message := k.Bytes(), k.PublicKey().Bytes(), []byte("a message")
	signature := bls.Default.Sign(k, message)
	signed := signature.Bytes()
	said := word.Own{Node: 1, Epoch: 2, Window: 3, Rollup: digest(9)}
	by := word.Sign(&network, node, said)
	return object{"secret": text(key[:]), "public": text(public[:]), "message": text(message),
		"signature": text(signed[:]), "seed": text(node.Seed()), "node_key": text(node[32:]),
		"word": text(word.Message(&network, said)), "word_signature": text(by[:])}
}

var testAck = rollup.Ack{Net: network.Net(), Epoch: 3, Node: 2, Client: 1<<40 - 1, Service: 7,
	Number: 1 << 31, Units: 1 << 39, Request: digest(5)}

func signed(t *testing.T, a rollup.Ack) rollup.Ack {
	signature := bls.Default.Sign(secret(t), a.AppendMessage(nil, &network))
	a.Signature = signature.Bytes()
	return a
}

func ack(t *testing.T) object {
	a := signed(t, testAck)
	return object{"network": text(network[:]), "epoch": a.Epoch, "node": a.Node,
		"client": a.Client, "service": a.Service, "number": a.Number, "units": a.Units,
		"request": text(a.Request[:]), "message": text(a.AppendMessage(nil, &network)),
		"frame": text(a.Append(nil))}
}

// answers are a node's word about three acks.
func answers() object {
	var list []word.Answer
	var shown []object
	for i, code := range []rollup.Code{rollup.CodeAccepted, rollup.CodeGap, rollup.CodeNotValid} {
		a := testAck
		a.Number = uint32(i)
		frame := a.Append(nil)
		arg := uint64(i) * 100
		list = append(list, word.Answer{Ack: blake3.Sum256(frame),
			Answer: rollup.Answer{Code: code, Arg: arg}})
		shown = append(shown, object{"frame": text(frame), "code": code.String(), "arg": arg})
	}
	w := word.Answers{Node: 2, Epoch: 3, Height: 77}
	w.Over(list)
	return object{"node": w.Node, "epoch": w.Epoch, "height": w.Height, "answers": shown,
		"message": text(word.Message(&network, w))}
}

func grant(t *testing.T) object {
	payer := testnet.Key("payer", 0)
	key := secret(t).PublicKey().Bytes()
	g := ledger.NewGrant(network, payer, ledger.Grant{Payer: 5, Key: key,
		Proof: ledger.ProvePossession(secret(t), network, rollup.RoleClient,
			ledger.KeyOf(payer)), Services: ledger.Services(7, 1), Numbers: 1000, From: 2,
		Until: 30})
	return object{"payer": g.Payer, "payer_seed": text(payer.Seed()), "proof": text(g.Proof[:]),
		"services": []int{7, 1}, "numbers": g.Numbers, "from": g.From, "until": g.Until,
		"transaction": text(ledger.NewGrants(network, []ledger.Grant{g}))}
}

func head() object {
	h := word.Head{Node: 2, Epoch: 4, Height: 77, Client: 3, Session: [16]byte{5, 6}, Service: 1,
		Price: 1 << 40, Content: digest(16), Manifest: digest(32), Path: digest(48), Size: 1 << 50,
		Offset: 16_384, Length: 32_768}
	key := testnet.Key("node", 0)
	said := word.Digest(&network, h)
	frame := delivery.Head{Word: h, Signature: word.Sign(&network, key, h)}
	return object{"node": h.Node, "epoch": h.Epoch, "height": h.Height, "client": h.Client,
		"session": text(h.Session[:]), "service": h.Service, "price": h.Price,
		"content": text(h.Content[:]), "manifest": text(h.Manifest[:]), "path": text(h.Path[:]),
		"size": h.Size, "offset": h.Offset, "length": h.Length, "frame": text(frame.Append(nil)),
		"digest": text(said[:])}
}

func deliveries(t *testing.T) object {
	session := delivery.Session{Network: network, Node: 2, Client: 3, Epoch: 4,
		ID: [16]byte{5, 6}, Challenge: digest(8)}
	open := delivery.SignSession(secret(t), session)
	records := []delivery.Record{
		{Head: digest(64), From: 0, Bytes: 1, FirstByte: 1},
		{Head: digest(65), From: 16_384, Bytes: 32_768, Height: 77, FirstByte: 2, Duration: 3},
		{Head: digest(66), From: 49_152, Bytes: 50_848, Height: 78, FirstByte: 4, Duration: 5},
	}
	var shown, roots []string
	for i := range records {
		shown = append(shown, text(records[i].Append(nil)))
		root := delivery.Request(records[:i+1])
		roots = append(roots, text(root[:]))
	}
	var spans []object
	for _, c := range [][3]uint64{{0, 0, 0}, {1, 0, 1}, {100_000, 0, 100_000},
		{100_000, 16_383, 2}, {100_000, 99_999, 1}, {1 << 50, 1<<50 - 1, 1}} {
		s, err := delivery.Widen(c[0], c[1], c[2])
		if err != nil {
			t.Fatal(err)
		}
		spans = append(spans, object{"size": c[0], "offset": c[1], "length": c[2],
			"first": s.First, "groups": s.Groups, "from": s.From, "bytes": s.Bytes})
	}
	run := delivery.Run{First: 1, Groups: 2, Parents: pattern(3 * delivery.ParentSize)}
	ask := delivery.Ask{Due: 131_072, Window: 262_144}
	abort := delivery.Abort{Reason: delivery.ReasonUnpaid, Arg: 1000}
	stop := delivery.Stop{Session: [16]byte{5, 6}, Head: digest(64)}
	var reasons []string
	for _, r := range delivery.Reasons() {
		reasons = append(reasons, r.String())
	}
	return object{"open": text(open.Append(nil)), "node": 2, "client": 3, "epoch": 4,
		"id": text(session.ID[:]), "challenge": text(session.Challenge[:]), "records": shown,
		"requests": roots, "spans": spans, "run": text(run.Append(nil)),
		"ask": text(ask.Append(nil)), "abort": text(abort.Append(nil)),
		"end": text(delivery.AppendEnd(nil)), "stop": text(stop.Append(nil)), "reasons": reasons}
}

// list is a list of nodes, of which some may serve.
func list(t *testing.T) object {
	n := chain(t)
	all := []registry.Node{
		{NodeKey: digest(1), Until: registry.None, Stake: 5_000_000, Status: registry.Standing},
		{NodeKey: digest(2), Until: registry.None, Stake: math.MaxUint64},
		{NodeKey: digest(3), Since: 9, Until: registry.None, Stake: 7},
		{NodeKey: digest(4), Until: registry.None, Stake: 8, Status: registry.Convicted},
		{NodeKey: digest(5), Until: registry.None},
	}
	var leaves []byte
	for i := range all {
		leaves = all[i].Append(leaves)
	}
	heads := registry.Heads{Nodes: registry.Head{Count: uint64(len(all)),
		Root: registry.Nodes.RootOf(leaves)}}
	r := rollup.Record{Network: n.ID, Height: 9, Time: 10, Epoch: 3, SettledEpoch: rollup.NoEpoch,
		RegistryRoot: heads.Root()}
	l := route.List{Record: &r, Certificate: n.SignRecord(&r), Heads: heads, Nodes: all}
	if err := l.Verify(n.ID, n.Genesis.Committee()); err != nil {
		t.Fatal(err)
	}
	var may []object
	for _, x := range route.Eligible(all, r.Epoch, n.Genesis.Params.ServeStake) {
		may = append(may, object{"node": x.Index, "stake": fmt.Sprint(x.Stake)})
	}
	return object{"list": text(l.Append(nil)), "height": r.Height, "eligible": may}
}

func chain(t *testing.T) *testnet.Network {
	start := time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	return testnet.NewAt(t, start, []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"}, 1)
}

// record is a block's record with the committee's certificate.
func record(t *testing.T) object {
	n := chain(t)
	n.Advance(testnet.EpochSeconds * time.Second)
	pending := n.View().PendingRecords()
	if len(pending) == 0 {
		t.Fatal("no record is due")
	}
	r := pending[len(pending)-1].Record
	return object{"genesis": string(n.Genesis.Encode()), "network": text(n.ID[:]),
		"record": text(r.Append(nil)), "certificate": text(n.SignRecord(&r).Append(nil)),
		"height": r.Height, "epoch": r.Epoch, "time": r.Time}
}

func manifests(t *testing.T) object {
	owner := testnet.Key("owner of a site", 0)
	list := []manifest.Entry{
		{Path: "/", Root: digest(1), Size: 10, Life: 60, Type: "text/html; charset=utf-8"},
		{Path: "/b", Root: digest(2), Size: 20, Type: "image/png"},
		{Path: "/bü/c", Root: digest(3), Size: 1 << 50, Type: "video/mp4"},
		{Path: "/d/", Root: digest(4), Size: 0, Life: 1, Type: "application/octet-stream"},
		{Path: "/e", Root: digest(5), Size: 1, Type: "text/plain"},
	}
	m, err := manifest.New(manifest.Head{Network: network, Service: 3, Serial: 9, Until: 40},
		list, owner)
	if err != nil {
		t.Fatal(err)
	}
	var shows []object
	for _, path := range []string{"/", "/b", "/e", "/a", "/c", "/z"} {
		shown, err := m.Show(path)
		if err != nil {
			t.Fatal(err)
		}
		var entries []object
		for _, s := range shown {
			hashes := []string{}
			for _, h := range s.Path {
				hashes = append(hashes, text(h[:]))
			}
			entries = append(entries, object{"index": s.Index, "path": hashes,
				"entry": text(s.Entry.Append(nil))})
		}
		d := manifest.PathDigest(path)
		_, absent := m.Lookup(path)
		shows = append(shows, object{"path": path, "digest": text(d[:]), "shown": entries,
			"there": absent == nil})
	}
	var bad []string
	for _, path := range []string{"", "a", "//", "/./a", "/a/..", "/a?", "/%41", "/a\\b",
		"/\u200b", "/\u0001", "/\ufffd", "/a//b"} {
		if manifest.CheckPath(path) == nil {
			t.Fatalf("%q is clean", path)
		}
		bad = append(bad, path)
	}
	d := m.Digest()
	return object{"owner": text(owner[32:]), "manifest": text(m.Append(nil)),
		"digest": text(d[:]), "shows": shows, "bad_paths": bad}
}

func codes() (list []object) {
	for _, c := range rollup.Codes() {
		list = append(list, object{"code": uint8(c), "name": c.String(),
			"class": c.Class().String()})
	}
	return list
}
