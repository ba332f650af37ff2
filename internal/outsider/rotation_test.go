package outsider

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"slices"
	"testing"

	"lukechampine.com/blake3"
)

// rotations are the test values of docs/rotation.md.
type rotations struct {
	Network    string      `json:"network"`
	Beacon     string      `json:"beacon_message"`
	Sum        string      `json:"sum"`
	Seed       string      `json:"seed"`
	HandOver   string      `json:"hand_over"`
	Terms      []string    `json:"term_roots"`
	Verdicts   [][2]string `json:"verdicts"`
	Assigned   []uint32    `json:"assigned"`
	Probe      string      `json:"probe"`
	Digest     string      `json:"digest"`
	NoClients  string      `json:"digest_0"`
	Receipt    string      `json:"receipt"`
	Signed     string      `json:"receipt_message"`
	Receipts   string      `json:"receipts_root"`
	Asked      [][2]uint32 `json:"asked"`
	Shown      string      `json:"shown"`
	Seats      int         `json:"seats"`
	TermEpochs int         `json:"term_epochs"`
	Epochs     []rotated   `json:"epochs"`
}

type rotated struct {
	Epoch      uint32      `json:"epoch"`
	Seed       string      `json:"seed"`
	Candidates [][2]uint64 `json:"candidates"`
	Root       string      `json:"candidate_root"`
	Silent     []uint32    `json:"silent"`
	Gone       []uint32    `json:"gone"`
	Refused    bool        `json:"refused"`
	Seats      string      `json:"seats"`
	Digest     string      `json:"digest"`
}

func (e *rotated) bytes(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (e *rotated) among() (all []candidate) {
	for _, c := range e.Candidates {
		all = append(all, candidate{uint32(c[0]), c[1]})
	}
	return all
}

// handOver is the epoch's.
func (e *rotated) handOver(t *testing.T, before []seat, termEpochs int) []seat {
	all := turns(before, e.bytes(t, e.Seed), e.Epoch, e.among(), termEpochs)
	next, _ := handedOver(before, all,
		func(node uint32) bool { return !slices.Contains(e.Silent, node) },
		func(node uint32) bool { return slices.Contains(e.Gone, node) })
	return next
}

// TestRotation makes the values of docs/rotation.md from the document alone, and draws every seat
// of a network's forty epochs again.
func TestRotation(t *testing.T) {
	var v rotations
	if err := json.Unmarshal(read(t, "../../rollup/rotation/testdata/rotation.json"),
		&v); err != nil {
		t.Fatal(err)
	}
	same := func(what string, got []byte, want string) {
		t.Helper()
		if hex.EncodeToString(got) != want {
			t.Errorf("%s: %x, not %s", what, got, want)
		}
	}
	seed := func(n uint64) []byte { return b3(string(enc(n))) }
	network, sum := seed(1000), enc(uint8(0xa0), uint8(1), uint8(2), uint8(3), make([]byte, 44))
	same("network", network, v.Network)
	same("beacon", enc("wb-bcn/2", network, uint32(7), uint8(2), seed(1), seed(2),
		b3("\x0b\x01")), v.Beacon)
	same("sum", sum, v.Sum)
	same("seed", b3k("waybill/seed/2", sum), v.Seed)
	same("hand-over", enc("wb-han/2", network, uint32(7), uint32(9), seed(1), seed(2), seed(3),
		seed(4), uint64(100), uint64(1<<40), seed(5)), v.HandOver)
	var terms [][]byte
	for n, want := range v.Terms {
		same("term root", mth("term", terms), want)
		terms = append(terms, enc(uint32(n), seed(uint64(n))))
	}
	if want := [][2]string{{"00", "fe"}, {"00", "fe01"}, {"01", "0301e307"}}; !slices.Equal(
		v.Verdicts, want) {
		t.Errorf("verdicts %v, not %v", v.Verdicts, want)
	}
	checkAssigned(t, seed(6), v.Assigned)
	checkReceipts(t, &v, network, seed, same)

	var seats []seat
	refused := 0
	for i := range v.Epochs {
		e := &v.Epochs[i]
		var entries [][]byte
		for _, c := range e.Candidates {
			entries = append(entries, enc(uint32(c[0]), c[1]))
		}
		same("candidate root", mth("candidate", entries), e.Root)
		before := seats
		if i == 0 {
			for s := range v.Seats {
				seats = append(seats, seat{winner(e.bytes(t, e.Seed), 0, s, v.Seats, e.among()), 0})
			}
		} else if seats = e.handOver(t, seats, v.TermEpochs); e.Refused {
			refused++
			if !slices.Equal(seats, before) {
				t.Errorf("epoch %d changes seats", e.Epoch)
			}
		}
		var all, holders []byte
		for _, s := range seats {
			all, holders = enc(all, s.holder, s.mark), enc(holders, s.holder)
		}
		same("seats", all, e.Seats)
		same("digest", b3(string(holders)), e.Digest)
	}
	if len(v.Epochs) < 40 || refused == 0 {
		t.Errorf("%d epochs, %d without a rotation", len(v.Epochs), refused)
	}
}

func checkAssigned(t *testing.T, seed []byte, want []uint32) {
	t.Helper()
	bound := new(big.Int).Lsh(big.NewInt(24), 64)
	bound.Div(bound, big.NewInt(128))
	var got []uint32
	for c := range uint32(200) {
		digest := b3k("waybill/probe/2", enc(seed, uint16(5), c))
		if new(big.Int).SetUint64(le.Uint64(digest)).Cmp(bound) < 0 {
			got = append(got, c)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("assigned %v, not %v", got, want)
	}
}

// checkReceipts is the section "Receipts and audits".
func checkReceipts(t *testing.T, v *rotations, network []byte, seed func(uint64) []byte,
	same func(string, []byte, string)) {
	t.Helper()
	nonce := seed(8)
	same("probe", enc(network, uint32(7), uint32(6), uint32(3), nonce), v.Probe)
	keyed := func(data []byte) []byte {
		h := blake3.New(32, nonce)
		h.Write(data)
		return h.Sum(nil)
	}
	var keys []byte
	for i := range byte(8) {
		keys = enc(keys, make([]byte, 88), le.Uint64(keyed([]byte{i}))%1000)
	}
	same("digest", keyed(keys), v.Digest)
	same("digest of no clients", keyed(nil), v.NoClients)

	receipt := func(n, i uint64) []byte {
		signature := make([]byte, 64)
		for j := range signature {
			signature[j] = byte(n + i)
		}
		return enc(seed(n<<8|i), n+i, seed(n), signature)
	}
	var leaves [][]byte
	var of6 [][]byte
	for _, node := range []uint32{2, 5, 6, 9, 40} {
		var list [][]byte
		for i := range uint64(5) {
			list = append(list, receipt(uint64(node), i))
		}
		slices.SortFunc(list, func(a, b []byte) int {
			return bytes.Compare(b3(string(a)), b3(string(b)))
		})
		if node == 6 {
			of6 = list
		}
		leaf := enc(node)
		for _, r := range list {
			leaf = enc(leaf, b3(string(r)))
		}
		leaves = append(leaves, leaf)
	}
	same("receipt", of6[1], v.Receipt)
	same("message", enc("wb-prb/2", network, uint32(7), uint32(6), uint32(3), of6[1][:72]), v.Signed)
	same("receipts", mth("receipt", leaves), v.Receipts)
	shown := enc(uint32(7), leaves[2], of6[1], uint32(2), uint32(5))
	path := trail("receipt", 2, leaves)
	shown = append(shown, byte(len(path)))
	for _, step := range path {
		shown = append(shown, step...)
	}
	same("shown", shown, v.Shown)

	var asked [][2]uint32
	unhealthy := []uint64{1, 2, 50}
	for c := uint16(0); c < 256 && len(asked) < 2; c++ {
		digest := b3k("waybill/audit/2", enc(seed(9), uint32(3), c))
		position := le.Uint64(digest) % 101
		node := uint32(3 * position)
		if !slices.Contains(unhealthy, position) && (len(asked) == 0 || asked[0][0] != node) {
			asked = append(asked, [2]uint32{node, uint32(digest[8] % 5)})
		}
	}
	if !slices.Equal(asked, v.Asked) {
		t.Errorf("asked %v, not %v", asked, v.Asked)
	}
}
