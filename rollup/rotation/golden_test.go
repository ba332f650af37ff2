package rotation

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/waybill-network/waybill/rollup"
)

var update = flag.Bool("update", false, "write testdata again")

// golden are test values of docs/rotation.md. Hashes and bytes are hexadecimal.
type golden struct {
	Network    string      `json:"network"`
	Beacon     string      `json:"beacon_message"`
	Sum        string      `json:"sum"`
	Seed       string      `json:"seed"`
	HandOver   string      `json:"hand_over"`
	Terms      []string    `json:"term_roots"` // of 0, 1, … terms, whose committee roots are seeds
	Verdicts   [][2]string `json:"verdicts"`   // coding and data, of the unhealthy 0; 0, 9; 3, 4, 999
	Assigned   []uint32    `json:"assigned"`   // below 200, of member 5 of 128 and 10,000 candidates
	Probe      string      `json:"probe"`
	Digest     string      `json:"digest"`   // of 1,000 clients, whose keys are their indices
	NoClients  string      `json:"digest_0"` // of none
	Receipt    string      `json:"receipt"`
	Signed     string      `json:"receipt_message"`
	Receipts   string      `json:"receipts_root"` // of nodes 2, 5, 6, 9 and 40
	Asked      [][2]uint32 `json:"asked"`         // node and answer, of the nodes 0, 3, … 300
	Shown      string      `json:"shown"`         // of node 6
	Seats      int         `json:"seats"`
	TermEpochs int         `json:"term_epochs"`
	Epochs     []history   `json:"epochs"`
}

// history is one epoch of a network: what is drawn among whom, and who has the seats after it.
type history struct {
	Epoch      uint32      `json:"epoch"`
	Seed       string      `json:"seed"`
	Candidates [][2]uint64 `json:"candidates"` // node, weight
	Root       string      `json:"candidate_root"`
	Silent     []uint32    `json:"silent"` // who does not say that it is ready
	Gone       []uint32    `json:"gone"`
	Refused    bool        `json:"refused"` // the seats stay as they were
	Seats      string      `json:"seats"`
	Digest     string      `json:"digest"`
}

func text(b []byte) string { return hex.EncodeToString(b) }

func seedText(n uint64) string { h := seedOf(n); return text(h[:]) }

// made makes the values.
func made(t *testing.T) *golden {
	t.Helper()
	network := rollup.Network(seedOf(1000))
	beacon := Beacon{Network: network, Epoch: 7, Round: 2, Previous: seedOf(1), Candidates: seedOf(2),
		Announced: rollup.Bitmap{0b1011, 1}}
	sum := [rollup.SignatureSize]byte{0xa0, 1, 2, 3}
	seed := Seed(&sum)
	over := HandOver{Network: network, Term: 7, Epoch: 9, Committee: seedOf(1), Seats: seedOf(2),
		Seed: seedOf(3), Terms: seedOf(4), SnapshotHeight: 100, SnapshotBytes: 1 << 40,
		SnapshotRoot: seedOf(5)}
	g := &golden{Network: network.String(), Beacon: text(beacon.Message(nil)), Sum: text(sum[:]),
		Seed: text(seed[:]), HandOver: text(over.Append(nil)), Seats: 16, TermEpochs: 4}
	var terms Terms
	for n := range uint64(6) {
		root := terms.Root()
		g.Terms = append(g.Terms, text(root[:]))
		terms.Add(seedOf(n))
	}
	for _, v := range []*Verdicts{verdicts(t, 8, 0), verdicts(t, 10, 0, 9),
		verdicts(t, 1000, 3, 4, 999)} {
		coding, data := v.Encode()
		g.Verdicts = append(g.Verdicts, [2]string{text([]byte{byte(coding)}), text(data)})
	}
	for c := range uint32(200) {
		if Assigned(seedOf(6), 128, 5, 10_000, c) {
			g.Assigned = append(g.Assigned, c)
		}
	}
	g.audit(t, network)
	g.Epochs = histories(t, g.Seats, g.TermEpochs)
	return g
}

// audit makes the values of a receipt and of its way into a report.
func (g *golden) audit(t *testing.T, network rollup.Network) {
	probe := Probe{Network: network, Epoch: 7, Candidate: 6, Prober: 3, Nonce: seedOf(8)}
	clientKey := func(i uint64) []byte { return append(make([]byte, 88), le.AppendUint64(nil, i)...) }
	digest, none := Digest(&probe.Nonce, 1000, clientKey), Digest(&probe.Nonce, 0, nil)
	g.Probe, g.Digest, g.NoClients = text(probe.Append(nil)), text(digest[:]), text(none[:])
	all := new(Receipts)
	for _, node := range []uint32{2, 5, 6, 9, 40} {
		if err := all.Add(node, receipts(uint64(node))); err != nil {
			t.Fatal(err)
		}
	}
	receipt := all.Of(6)[1]
	root := all.Root()
	g.Receipt, g.Signed = text(receipt.Append(nil)), text(receipt.Message(&probe))
	g.Receipts = text(root[:])
	var named []uint32
	for node := uint32(0); node <= 300; node += 3 {
		named = append(named, node)
	}
	v := verdicts(t, len(named), 1, 2, 50)
	for _, a := range Audit(seedOf(9), 3, named, v, everything) {
		g.Asked = append(g.Asked, [2]uint32{a.Candidate, uint32(a.Answer)})
	}
	shown, _ := all.Show(7, Asked{6, 1})
	g.Shown = text(shown.Append(nil))
}

func everything(int) bool { return true }

// histories are forty epochs in which nodes come and go, are silent, and are convicted.
func histories(t *testing.T, k, termEpochs int) (list []history) {
	t.Helper()
	r := rng(77)
	var seats Seats
	for epoch := range uint32(40) {
		h := history{Epoch: epoch, Seed: seedText(uint64(epoch)), Silent: []uint32{},
			Gone: []uint32{}}
		var among []Candidate
		for node := range uint32(24) {
			if epoch == 0 && node < 6 || epoch > 0 && r.IntN(8) > 0 {
				weight := MinWeight * uint64(1+node%5)
				if epoch >= 30 && node == 3 { // it would come to hold a third
					weight *= 20
				}
				among = append(among, Candidate{node, weight})
				h.Candidates = append(h.Candidates, [2]uint64{uint64(node), weight})
			}
			switch r.IntN(12) {
			case 0:
				h.Gone = append(h.Gone, node)
			case 1, 2, 3:
				h.Silent = append(h.Silent, node)
			}
		}
		c := candidates(t, among...)
		root := c.Root()
		h.Root = text(root[:])
		seats, h.Refused = after(t, seats, c, &h, k, termEpochs)
		digest := seats.Digest()
		h.Seats, h.Digest = text(seats.Append(nil)), text(digest[:])
		list = append(list, h)
	}
	return list
}

// after returns the seats after an epoch; epoch 0 gives the first ones.
func after(t *testing.T, seats Seats, c *Candidates, h *history, k, termEpochs int) (Seats, bool) {
	t.Helper()
	if h.Epoch == 0 {
		first, err := First(c, seedOf(0), k)
		if err != nil {
			t.Fatal(err)
		}
		h.Silent, h.Gone = []uint32{}, []uint32{}
		return first, false
	}
	drawn, err := seats.DrawAll(c, seedOf(uint64(h.Epoch)), h.Epoch, termEpochs)
	if err != nil {
		t.Fatal(err)
	}
	n := nodes{ready: map[uint32]bool{}, gone: set(h.Gone...)}
	silent := set(h.Silent...)
	for node := range uint32(24) {
		n.ready[node] = !silent[node]
	}
	next, _, err := seats.Next(drawn, n)
	if err != nil {
		return seats, true
	}
	return next, false
}

// TestGolden holds the test values of docs/rotation.md; the independent verifier makes them from
// the document.
func TestGolden(t *testing.T) {
	b, err := json.MarshalIndent(made(t), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, '\n')
	const name = "testdata/rotation.json"
	if *update {
		if err := os.WriteFile(name, b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, want) {
		t.Errorf("%s has other values; -update writes them", name)
	}
}
