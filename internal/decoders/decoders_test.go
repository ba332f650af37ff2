// Package decoders holds every decoder of the tree against lengths that lie: what a stranger's
// length drives is bounded by the bytes that came with it.
package decoders

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"math"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/kernels/poseidon2"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/keys"
	"github.com/waybill-network/waybill/node/serve/credit"
	"github.com/waybill-network/waybill/node/signer"
	"github.com/waybill-network/waybill/proofs/circuit"
	"github.com/waybill-network/waybill/proofs/quicknet"
	"github.com/waybill-network/waybill/proofs/verifier"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/cosign"
	"github.com/waybill-network/waybill/rollup/delivery"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/manifest"
	"github.com/waybill-network/waybill/rollup/registry"
	"github.com/waybill-network/waybill/rollup/rotation"
	"github.com/waybill-network/waybill/rollup/route"
	"github.com/waybill-network/waybill/rollup/word"
)

const root = "../.."

// decoder is one function, with encodings that it takes; their lengths are overwritten one by one.
type decoder struct {
	decode  func(b []byte) error
	samples [][]byte
}

// of adapts a decoder whose value is of no interest.
func of[T any](decode func([]byte) (T, error)) func([]byte) error {
	return func(b []byte) error { _, err := decode(b); return err }
}

// text adapts a decoder of text.
func text[T any, P interface {
	*T
	UnmarshalText([]byte) error
}]() func([]byte) error {
	return func(b []byte) error { return P(new(T)).UnmarshalText(b) }
}

// elsewhere are decoders with a test of lengths of their own, or that no stranger reaches.
var elsewhere = map[string]string{
	"rollup/internal/wire.ParseHex": "internal; the UnmarshalText methods of this " +
		"table call it",
	"kernels/bls.steps.Decode":                 "signatures of fixed size, in a benchmark",
	"node/keys.hexText.UnmarshalJSON":          "a field of the operator's own file",
	"bench/workload.text.UnmarshalJSON":        "a field of a line of the operator's own log",
	"bench/workload.ParseLine":                 "a line of the operator's own log",
	"node/api.jsonCodec.Unmarshal":             "protojson: the library that connect uses for it, too",
	"node/content.ParseRoot":                   "a text; rollup.Hash.UnmarshalText parses it",
	"internal/outsider.hexBytes.UnmarshalText": "a module of its own",
	"internal/outsider.ParseGenesis":           "a module of its own",
}

func table(t testing.TB) map[string]decoder {
	t.Helper()
	files, txs := exports(t), transactions(t)
	header, evidence, lists, acks, record, rows := parts(t, files)
	tickets, signed := payloads(txs, ledger.KindTicket), payloads(txs, ledger.KindRecord)
	hexes := func(n int) [][]byte { return [][]byte{bytes.Repeat([]byte("0a"), n)} }
	zeros := func(n int) [][]byte { return [][]byte{make([]byte, n)} }
	genesis, err := os.ReadFile(root + "/rollup/testdata/genesis.json")
	if err != nil {
		t.Fatal(err)
	}
	rounds := [][]byte{[]byte(`{"round":1000,"signature":"b44679b9a59af2ec876b1a6b1ad52ea9b1615f` +
		`c3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39"}`)}
	key := read(t, "proofs/verifier/testdata/256.key")
	proof := read(t, "proofs/verifier/testdata/256.proof")
	return map[string]decoder{
		"kernels/bls.ParseSecretKey": {of(bls.ParseSecretKey), zeros(bls.SecretKeySize)},
		"kernels/bls.ParseSignature": {of(bls.ParseSignature), zeros(bls.SignatureSize)},
		"kernels/bls.ParsePublicKey": {of(bls.ParsePublicKey), zeros(bls.PublicKeySize)},
		"kernels/bls.ParsePublicKeys": {func(b []byte) error {
			_, verdicts, err := bls.ParsePublicKeys(bls.Column{Data: b, Stride: bls.PublicKeySize,
				Width: bls.PublicKeySize}, 1)
			for _, verdict := range verdicts {
				err = cmp.Or(err, verdict.Err())
			}
			return err
		}, zeros(3 * bls.PublicKeySize)},
		"kernels/poseidon2.ParseElement": {of(poseidon2.ParseElement), zeros(poseidon2.Size)},
		"kernels/blake3.Decoder.Decode":  {decodeContent, zeros(2*blake3.NodeSize + 3<<10)},

		"rollup.ParseHeader":     {of(rollup.ParseHeader), header},
		"rollup.ParseBareHeader": {of(rollup.ParseBareHeader), bareHeaders()},
		"rollup.ParseListLeaf":   {of(rollup.ParseListLeaf), zeros(rollup.ListLeafSize)},
		"rollup.ParseEvidence":   {of(rollup.ParseEvidence), evidence},
		"rollup.ParseList":       {of(rollup.ParseList), lists},
		"rollup.ParseAcks":       {of(rollup.ParseAcks), acks},
		"rollup.ParseAck":        {of(rollup.ParseAck), zeros(rollup.AckSize)},
		"rollup.ParseStatement":  {of(rollup.ParseStatement), zeros(rollup.StatementSize)},
		"rollup.ParseArchive": {func(b []byte) error {
			if len(header[0]) > len(b) {
				return rollup.ErrMalformed
			}
			_, err := rollup.ParseArchive(header[0], b, b, b)
			return err
		}, slices.Concat(acks, lists)},
		"rollup.ParseCertificate":       {of(rollup.ParseCertificate), tickets},
		"rollup.ParseSettlementRow":     {of(rollup.ParseSettlementRow), rows},
		"rollup.ParseDutyRow":           {of(rollup.ParseDutyRow), zeros(rollup.DutyRowSize)},
		"rollup.ParsePayerRow":          {of(rollup.ParsePayerRow), zeros(rollup.PayerRowSize)},
		"rollup.ParseSettlementTable":   {of(rollup.ParseSettlementTable), zeros(8)},
		"rollup.ParseRecord":            {of(rollup.ParseRecord), record},
		"rollup.ParseRecordCertificate": {of(rollup.ParseRecordCertificate), signed},
		"rollup/export.Parse":           {of(export.Parse), files},
		"rollup.Net.UnmarshalText":      {text[rollup.Net](), hexes(8)},
		"rollup.Network.UnmarshalText":  {text[rollup.Network](), hexes(32)},
		"rollup.Hash.UnmarshalText":     {text[rollup.Hash](), hexes(32)},
		"rollup.Code.UnmarshalText":     {text[rollup.Code](), [][]byte{[]byte("accepted")}},
		"rollup/cosign.Encoded.Decode": {func(b []byte) error {
			_, err := offer(b).Decode()
			return err
		}, zeros(4 * rollup.StatementSize)},
		"node/api.CosignOffer.Decode": {func(b []byte) error {
			e := offer(b)
			m := &api.CosignOffer{Network: e.Network, Root: e.Root, Count: e.Count,
				Clients: e.Clients}
			for _, r := range e.Ranges {
				m.Ranges = append(m.Ranges, &api.StatementRange{First: r.First,
					Statements: r.Statements, Payers: r.Payers, Siblings: r.Siblings})
			}
			_, err := m.Decode()
			return err
		}, zeros(4 * rollup.StatementSize)},
		"node/api.Ack.Decode":      {decodeAck, hexes(96)},
		"client.Pin.UnmarshalText": {text[client.Pin](), [][]byte{pin()}},

		"rollup/registry.ParseClient":   {of(registry.ParseClient), zeros(registry.ClientSize)},
		"rollup/registry.ParseNode":     {of(registry.ParseNode), zeros(registry.NodeSize)},
		"rollup/registry.ParseService":  {of(registry.ParseService), zeros(registry.ServiceSize)},
		"rollup/registry.ParseProofKey": {of(registry.ParseProofKey), zeros(registry.ProofKeySize)},
		"rollup/rotation.ParseSeats":    {of(rotation.ParseSeats), zeros(rotation.SeatsSize(64))},
		"rollup/rotation.ParseHandOver": {of(rotation.ParseHandOver), zeros(rotation.HandOverSize)},
		"rollup/rotation.ParseBeaconMessage": {of(rotation.ParseBeaconMessage),
			[][]byte{new(rotation.Beacon).Message(nil)}},
		"rollup/ledger.ParseReportMessage": {func(b []byte) error {
			_, _, err := ledger.ParseReportMessage(b)
			return err
		}, reports(payloads(txs, ledger.KindReport))},
		"node/signer.Parse": {func(b []byte) error {
			_, _, err := signer.Parse(new(rollup.Network), signer.Statement{Kind: signer.Kind(b[0]),
				Message: b[1:]})
			return err
		}, [][]byte{append([]byte{byte(signer.Reveal)}, new(rotation.Beacon).Message(nil)...)}},
		"rollup/rotation.ParseDraws":     {of(rotation.ParseDraws), draws()},
		"rollup/rotation.ParseEvidence":  {of(rotation.ParseEvidence), [][]byte{draws()[0][10+16:]}},
		"rollup/rotation.ParseTerms":     {of(rotation.ParseTerms), terms()},
		"rollup/rotation.ParseHandOvers": {of(rotation.ParseHandOvers), handOvers()},
		"rollup/rotation.ParseHop":       {of(rotation.ParseHop), [][]byte{handOvers()[0][12+100:]}},
		"rollup/rotation.ParseProbe":     {of(rotation.ParseProbe), zeros(rotation.ProbeSize)},
		"rollup/rotation.ParseReceipt":   {of(rotation.ParseReceipt), zeros(rotation.ReceiptSize)},
		"rollup/rotation.ParseShown":     {of(rotation.ParseShown), zeros(313)},
		"rollup/rotation.ParseVerdicts": {func(b []byte) error {
			_, err := rotation.ParseVerdicts(rotation.CodingDifferences, b, 1<<20)
			return err
		}, zeros(8)},

		"node/serve/credit.ParseEvent": {of(credit.ParseEvent), [][]byte{
			(&credit.Event{Kind: credit.EventPaid}).Append(nil)}},
		"rollup/manifest.Parse": {of(manifest.Parse), siteManifest(t)},
		"rollup/manifest.ParseShowing": {of(manifest.ParseShowing), [][]byte{
			(&manifest.Showing{Shown: []manifest.Shown{{Entry: manifest.Entry{Path: "/",
				Type: "text/html"}, Path: make([]rollup.Hash, 3)}}}).Append(nil)}},
		"rollup/manifest.ParseHead": {of(manifest.ParseHead), zeros(manifest.SignedSize)},
		"rollup/manifest.ParseEntry": {of(manifest.ParseEntry), [][]byte{
			(&manifest.Entry{Path: "/", Type: "text/html"}).Append(nil)}},
		"rollup/route.ParseList": {of(route.ParseList), listOfNodes()},
		"rollup/delivery.ParseOpen": {of(delivery.ParseOpen), [][]byte{
			(&delivery.Open{}).Append(nil)}},
		"rollup/delivery.ParseStop": {of(delivery.ParseStop), zeros(delivery.StopSize)},
		"rollup/delivery.ParseRecord": {of(delivery.ParseRecord), [][]byte{
			(&delivery.Record{Bytes: 1}).Append(nil)}},
		"rollup/delivery.ParsePrefix": {of(delivery.ParsePrefix), [][]byte{
			delivery.AppendEnd(nil)}},
		"rollup/delivery.ParseHead":  {of(delivery.ParseHead), zeros(delivery.HeadSize)},
		"rollup/delivery.ParseStart": {of(delivery.ParseStart), zeros(delivery.StartSize)},
		"rollup/delivery.ParseMeter": {of(delivery.ParseMeter), zeros(8)},
		"rollup/delivery.ParseResult": {of(delivery.ParseResult),
			[][]byte{(&delivery.Result{Word: word.Ran{Outcome: 1}}).
				Append(nil)[delivery.PrefixSize:]}},
		"rollup/delivery.ParseRun": {of(delivery.ParseRun), [][]byte{(&delivery.Run{Groups: 9,
			Parents: make([]byte, 9*delivery.ParentSize)}).Append(nil)[delivery.PrefixSize:]}},
		"rollup/delivery.ParseAsk": {of(delivery.ParseAsk), zeros(16)},
		"rollup/delivery.ParseAbort": {of(delivery.ParseAbort), [][]byte{
			(&delivery.Abort{Reason: 1}).Append(nil)[delivery.PrefixSize:]}},
		"rollup/word.ParseOwn":       {of(word.ParseOwn), zeros(word.OwnSize)},
		"rollup/word.ParseOffer":     {of(word.ParseOffer), zeros(word.OfferSize)},
		"rollup/word.ParseAnswers":   {of(word.ParseAnswers), zeros(word.AnswersSize)},
		"rollup/word.ParseRefusal":   {of(word.ParseRefusal), zeros(word.AnswersSize + 204)},
		"rollup/word.ParseHead":      {of(word.ParseHead), zeros(word.HeadSize)},
		"rollup/word.ParseRun":       {of(word.ParseRun), zeros(word.RunSize)},
		"rollup/word.ParseRan":       {of(word.ParseRan), zeros(word.RanSize)},
		"rollup/word.Parse":          {of(word.Parse), lies()},
		"rollup/word.ParseFile":      {of(word.ParseFile), lieFiles()},
		"rollup/registry.ParseHeads": {of(registry.ParseHeads), zeros(registry.HeadsSize)},

		"rollup/ledger.ParseTx":                    {of(ledger.ParseTx), txs},
		"rollup/ledger.ParseGenesis":               {of(ledger.ParseGenesis), [][]byte{genesis}},
		"rollup/ledger.Key.UnmarshalText":          {text[ledger.Key](), hexes(32)},
		"rollup/ledger.BLSKey.UnmarshalText":       {text[ledger.BLSKey](), hexes(96)},
		"rollup/ledger.BLSSignature.UnmarshalText": {text[ledger.BLSSignature](), hexes(48)},
		"rollup/ledger.Signature.UnmarshalText":    {text[ledger.Signature](), hexes(64)},

		"proofs/circuit.Digest.UnmarshalText":   {text[circuit.Digest](), hexes(32)},
		"proofs/verifier.KeyHash.UnmarshalText": {text[verifier.KeyHash](), hexes(32)},
		"proofs/verifier.ParseKey":              {of(verifier.ParseKey), [][]byte{key}},
		"proofs/verifier.ParseProof": {func(b []byte) error {
			if len(b) != rollup.ProofSize {
				return rollup.ErrMalformed
			}
			_, err := verifier.ParseProof((*[rollup.ProofSize]byte)(b))
			return err
		}, [][]byte{proof}},
		"node/keys.ParseSeed": {of(parseSeed), hexes(32)},

		"proofs/quicknet.Parse": {of(quicknet.Parse), rounds},
		"proofs/quicknet.Beacon.UnmarshalJSON": {
			new(quicknet.Beacon).UnmarshalJSON, rounds},
	}
}

// offer is one that claims as much as it can, with b in every field of bytes.
func offer(b []byte) *cosign.Encoded {
	return &cosign.Encoded{
		Network: strings.Repeat("00", 32), Root: make([]byte, 32), Count: 1<<32 - 1,
		Ranges: []cosign.EncodedRange{{First: 1<<32 - 2, Statements: b,
			Payers: make([]byte, 4*(len(b)/rollup.StatementSize)), Siblings: b[:len(b)&^31]}},
		Clients: []uint64{0, rollup.MaxClients - 1},
	}
}

// terms is the tree over three terms.
func terms() [][]byte {
	var t rotation.Terms
	for i := range byte(3) {
		t.Add(rollup.Hash{i})
	}
	return [][]byte{t.Append(nil)}
}

// draws is the evidence of term 1, with one candidate and one that is gone.
func draws() [][]byte {
	d := rotation.Draws{First: 1, Marks: make([]rotation.Mark, 16), Terms: []rotation.Evidence{{
		Announced: rollup.Bitmap{7}, Candidates: []rotation.Candidate{{Node: 5, Weight: 9}},
		Ready: rollup.Bitmap{1}, Gone: []uint32{3}}}}
	return [][]byte{d.Append(nil)}
}

// handOvers is one to term 1, by which a new node gets a seat.
func handOvers() [][]byte {
	h := rotation.HandOvers{First: 1, Keys: []rotation.NodeKey{{Node: 7}}, Hops: []rotation.Hop{{
		Changes: []rotation.Change{{Seat: 3, Holder: 7}}, Signers: rollup.Bitmap{7}}}}
	return [][]byte{h.Append(nil)}
}

func parseSeed(b []byte) ([]byte, error) { return keys.ParseSeed(string(b)) }

func decodeAck(b []byte) error {
	a := &api.Ack{Network: strings.Repeat("00", 32), Request: string(b), Signature: string(b)}
	_, _, err := a.Decode()
	return err
}

func pin() []byte {
	b, err := client.Pin{}.MarshalText()
	if err != nil {
		panic(err)
	}
	return b
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// bareHeaders are headers without rows, of two windows.
func bareHeaders() (list [][]byte) {
	for window := range uint32(2) {
		h := rollup.NewHeader(rollup.Network{}, rollup.WindowKey{Window: window}).Bare()
		list = append(list, h[:])
	}
	return list
}

// told are lies with paths and bitmaps, and some that a witness has leaves for.
func told() []word.Evidence {
	var tickets [2]word.Ticket
	for i, b := range bareHeaders() {
		tickets[i] = word.Ticket{Header: rollup.BareHeader(b), Sum: word.Sum{
			Signers: rollup.NewBitmap(40)}}
	}
	a, b := tickets[0].Header.ID(), tickets[1].Header.ID()
	if bytes.Compare(a[:], b[:]) > 0 {
		tickets[0], tickets[1] = tickets[1], tickets[0]
	}
	entry := word.Entry{Part: word.PartAcks, Leaf: make([]byte, rollup.LeafSize),
		Path: make(word.Path, 16)}
	own := &word.TwoRollups{}
	own.Rollups[1][0] = 1
	return []word.Evidence{&word.NumberTwice{Tickets: tickets, Entries: [2]word.Entry{entry, entry}},
		own, &word.Refused{Header: tickets[0].Header, AckPath: make(word.Path, 16)}}
}

func lies() (list [][]byte) {
	for _, e := range told() {
		list = append(list, word.Append(nil, e))
	}
	return list
}

func lieFiles() (list [][]byte) {
	for _, e := range told() {
		f := &word.File{Evidence: e}
		list = append(list, f.Append(nil))
		if e.Lie() == word.LieTwoRollups {
			f.Witness = &word.Witness{Sum: word.Sum{Signers: rollup.NewBitmap(40)},
				Heads: registry.Heads{Nodes: registry.Head{Count: 1, Root: registry.Hash{1}}},
				Node:  &word.Leaf{Entry: make([]byte, registry.NodeSize)}}
			f.Witness.Record.SettledEpoch = rollup.NoEpoch
			list = append(list, f.Append(nil))
		}
	}
	return list
}

// exports are the golden export files.
func exports(t testing.TB) (files [][]byte) {
	t.Helper()
	names, err := filepath.Glob(root + "/rollup/testdata/export-*.wbx")
	if err != nil || len(names) < 5 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		files = append(files, read(t, strings.TrimPrefix(name, root)))
	}
	return files
}

// transactions are one of each kind.
func transactions(t testing.TB) (txs [][]byte) {
	t.Helper()
	var kinds map[string]string
	if err := json.Unmarshal(read(t, "rollup/ledger/testdata/kinds.json"), &kinds); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		b, err := hex.DecodeString(kinds[name])
		if err != nil {
			t.Fatal(err)
		}
		txs = append(txs, b)
	}
	return txs
}

// payloads returns those of the transactions of a kind.
func payloads(txs [][]byte, kind ledger.Kind) (payloads [][]byte) {
	for _, tx := range txs {
		if ledger.KindOf(tx) == kind {
			payloads = append(payloads, tx[8+32+1:])
		}
	}
	return payloads
}

// reports are what is signed of reports.
func reports(payloads [][]byte) (messages [][]byte) {
	for _, p := range payloads {
		m := new(ledger.Report).Message(rollup.Network{})[:8+32]
		messages = append(messages, append(m, p[:len(p)-bls.SignatureSize]...))
	}
	return messages
}

// parts takes export files apart.
func parts(t testing.TB, files [][]byte) (
	header, evidence, lists, acks, record, rows [][]byte,
) {
	t.Helper()
	for _, file := range files {
		e, err := export.Parse(file)
		if err != nil {
			t.Fatal(err)
		}
		switch e := e.(type) {
		case *export.Rollup:
			header = append(header, e.Header.Append(nil))
			record = append(record, e.Record.Append(nil))
			b := e.Evidence.Append(nil)
			evidence = append(evidence, b)
			acks = append(acks, e.Evidence.Acks)
			if len(e.Evidence.List) > 0 {
				lists = append(lists, e.Evidence.List.Append(nil))
			}
		case *export.Settlement:
			rows = append(rows, e.Rows[0].Append(nil))
		}
	}
	if len(header) == 0 || len(lists) == 0 || len(rows) == 0 {
		t.Fatal("no export of a kind")
	}
	return header, evidence, lists, acks, record, rows
}

// lengths are what is written over each offset, in either order of bytes.
var lengths = [][]byte{
	bytes.Repeat([]byte{0xff}, 8), bytes.Repeat([]byte{0xff}, 4), {0xff, 0xff}, {0xff},
	{0xff, 0xff, 0xff, 0x7f}, {0x7f, 0xff, 0xff, 0xff},
	{0xff, 0xff, 0xff, 0x0f}, // in LEB128 too
	{0, 0, 0, 4}, {0, 0, 16, 0}, {0, 0, 1, 0},
}

// limit is what decoding n bytes may allocate. An ack or a client of a few bytes becomes a struct
// of some words, and JSON becomes maps; errors are formatted.
func limit(n int) uint64 { return 64<<10 + 64*uint64(n) }

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// overlong returns the first change of a sample that makes a decoder allocate more than its limit.
func (d *decoder) overlong() string {
	for _, sample := range d.samples {
		d.decode(sample) // makes what is made once
		// The first kilobytes hold every kind of field; behind them are more of the same.
		for at := range min(len(sample), 2048) {
			var inputs [][]byte
			for _, length := range lengths {
				b := bytes.Clone(sample)
				copy(b[at:], length)
				inputs = append(inputs, b, b[:min(len(b), at+len(length))])
			}
			if input, n := d.beyond(inputs); input != nil {
				return fmt.Sprintf("at %d of %d bytes, %x: %d allocated", at, len(input),
					input[at:min(len(input), at+8)], n)
			}
		}
	}
	return ""
}

// beyond returns the first input for which a decoder allocates more than its limit. Counting stops
// the world, so inputs are counted together, and in halves where they allocate more together.
func (d *decoder) beyond(inputs [][]byte) (input []byte, n uint64) {
	least := uint64(math.MaxUint64)
	for _, b := range inputs {
		least = min(least, limit(len(b)))
	}
	n = allocated(func() {
		for _, b := range inputs {
			d.decode(b)
		}
	})
	if n <= least {
		return nil, 0
	}
	if len(inputs) == 1 {
		return inputs[0], n
	}
	half := len(inputs) / 2
	if input, n = d.beyond(inputs[:half]); input != nil {
		return input, n
	}
	return d.beyond(inputs[half:])
}

// TestLengths is the check. Counting allocations stops the world; the test does not run beside
// others.
func TestLengths(t *testing.T) {
	decoders := table(t)
	for _, name := range slices.Sorted(maps.Keys(decoders)) {
		d := decoders[name]
		if len(d.samples) == 0 {
			t.Errorf("%s: no sample", name)
		}
		if what := d.overlong(); what != "" {
			t.Errorf("%s: %s", name, what)
		}
	}
}

// TestLengthsCanFail is the companion: a decoder that believes a length is found.
func TestLengthsCanFail(t *testing.T) {
	d := decoder{samples: [][]byte{{1, 0, 0, 0, 7}}, decode: func(b []byte) error {
		if len(b) < 4 {
			return rollup.ErrMalformed
		}
		n := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
		_ = make([]byte, min(n, 1<<20))
		return nil
	}}
	if d.overlong() == "" {
		t.Error("a decoder that allocates what it is told passes")
	}
}

// listOfNodes is a list of a few nodes.
func listOfNodes() [][]byte {
	l := &route.List{Record: &rollup.Record{SettledEpoch: rollup.NoEpoch},
		Certificate: &rollup.RecordCertificate{Signers: rollup.Bitmap{1}},
		Nodes:       make([]registry.Node, 5)}
	l.Heads.Nodes = registry.Head{Count: 5, Root: registry.Hash{1}}
	l.Heads.Services = registry.Head{Count: 2, Root: registry.Hash{1}}
	l.Services = []registry.Service{{Cap: 1}, {Cap: 1}}
	return [][]byte{l.Append(nil)}
}

// siteManifest is a manifest of a few entries.
func siteManifest(t testing.TB) [][]byte {
	t.Helper()
	var entries []manifest.Entry
	for i := range 5 {
		entries = append(entries, manifest.Entry{Path: fmt.Sprint("/", i), Type: "text/html"})
	}
	m, err := manifest.New(manifest.Head{Until: manifest.Forever}, entries,
		ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	return [][]byte{m.Append(nil)}
}

// decodeContent decodes the three groups of some content.
func decodeContent(b []byte) error {
	const size = 3 << 10
	root, _ := blake3.Outboard(make([]byte, size), blake3.MinGroup)
	nodes := max(0, len(b)-size)
	_, err := blake3.NewDecoder(root, size, blake3.MinGroup, 0).Decode(b[:nodes], b[nodes:])
	return err
}

// TestTableIsWhole walks the tree for functions that decode, by their names.
func TestTableIsWhole(t *testing.T) {
	decoders, found := table(t), map[string]bool{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() != ".." && strings.HasPrefix(d.Name(), "."),
			d.IsDir() && d.Name() == "node_modules":
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		case strings.HasSuffix(name, ".pb.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			return err
		}
		dir, _ := filepath.Rel(root, filepath.Dir(name))
		for _, of := range decodersOf(file) {
			found[path.Join(filepath.ToSlash(dir))+"."+of] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range found {
		if _, ok := decoders[name]; !ok && elsewhere[name] == "" {
			t.Errorf("%s is not in the table", name)
		}
	}
	for name := range decoders {
		if !found[name] {
			t.Errorf("%s is in the table, and not in the tree", name)
		}
	}
}

// decodersOf returns the exported functions of a file whose names say that they decode, except
// those of nothing but strings, which have their length from who calls.
func decodersOf(file *ast.File) (names []string) {
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || !decodes(f.Name.Name) || onlyStrings(f.Type.Params) &&
			f.Name.Name != "ParseSeed" {
			continue
		}
		name := f.Name.Name
		if f.Recv != nil {
			of := f.Recv.List[0].Type
			if star, ok := of.(*ast.StarExpr); ok {
				of = star.X
			}
			if id, ok := of.(*ast.Ident); ok {
				name = id.Name + "." + name
			}
		}
		names = append(names, name)
	}
	return names
}

func decodes(name string) bool {
	for _, prefix := range []string{"Parse", "Decode", "Unmarshal", "ReadFrom"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

func onlyStrings(params *ast.FieldList) bool {
	for _, p := range params.List {
		if id, ok := p.Type.(*ast.Ident); !ok || id.Name != "string" {
			return false
		}
	}
	return len(params.List) > 0
}

// TestWalkCanFail: the walk knows a decoder when it sees one.
func TestWalkCanFail(t *testing.T) {
	const source = `package p
func ParseThing(b []byte) error { return nil }
func (t *thing) UnmarshalBinary(b []byte) error { return nil }
func DecodeFrom(r io.Reader) error { return nil }
func ParseName(s string) error { return nil }
func parse(b []byte) {}
func Write(b []byte) {}`
	file, err := parser.ParseFile(token.NewFileSet(), "p.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"ParseThing", "thing.UnmarshalBinary", "DecodeFrom"}
	if got := decodersOf(file); !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
}
