package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"

	"github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"google.golang.org/protobuf/proto"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/cosign"
	"github.com/waybill-network/waybill/rollup/word"
)

var cosignSuite = Suite{
	Name: "cosign",
	What: "a window's clients are asked to co-sign it: offers, checks and answers, in bytes and time",
	Build: func(_ context.Context, quick bool) ([]Comparison, error) {
		clients, programs := rollup.MaxAcks, []int{64, 4096}
		if quick {
			clients, programs = 4096, []int{16}
		}
		c, err := newCrowd(clients)
		if err != nil {
			return nil, err
		}
		a := &asking{crowd: c, clients: clients}
		var list []Comparison
		for _, n := range programs {
			list = append(list, a.comparison(n))
		}
		return list, nil
	},
}

// asking is a window with an ack of each client of a crowd, and its way to their co-signatures. The
// parts follow each other: each works on what the one before left.
type asking struct {
	crowd   *crowd
	clients int
	frames  []byte

	acks       rollup.Acks
	window     cosign.Window
	offers     [][]byte // as they travel
	answers    [][]byte
	signatures []byte // of all clients, of the window's message
	signed     rollup.Hash
}

func (a *asking) comparison(programs int) Comparison {
	part := func(name string, run func(programs int) error) Contender {
		return Contender{Name: name, Kind: KindOwn,
			Run: func() (int, error) { return 1, run(programs) }}
	}
	parts := []Contender{part("node: order, roots, statements, their tree", a.statements),
		part("node: offers, made and encoded", a.offer),
		part("clients: offers decoded and checked against what was signed", a.check),
		part("node: all answers decoded and verified together", a.verify)}
	parts[0].Prepare = a.prepare
	parts[2].Prepare = a.sign
	return Comparison{
		Name: fmt.Sprintf("Cosign/clients=%d/programs=%d", a.clients, programs),
		What: fmt.Sprintf("steps of asking %d clients of %d programs for a co-signature of a window",
			a.clients, programs),
		Op: "window", Cores: 1, Compute: true, View: ViewParts, Contenders: parts, Rounds: 6,
		Extra: func(samples []Sample) string {
			node := samples[0].CPUNsPerOp + samples[1].CPUNsPerOp + samples[3].CPUNsPerOp
			n := float64(a.clients)
			return fmt.Sprintf("%.1f bytes a client are offered, %.1f answered; the node works %.0f ms "+
				"for it, which is %.2f µs a client, and a client's program %.2f µs besides its "+
				"signature", float64(bytesOf(a.offers))/n, float64(bytesOf(a.answers))/n, node/1e6,
				node/1e3/n, samples[2].CPUNsPerOp/1e3/n)
		},
	}
}

func bytesOf(messages [][]byte) (n int) {
	for _, m := range messages {
		n += len(m)
	}
	return n
}

func (a *asking) prepare() error {
	if a.frames == nil {
		a.frames = unsigned(a.crowd.network.ID, rollup.WindowKey{}, a.clients, a.clients)
	}
	return nil
}

func (a *asking) statements(int) (err error) {
	key := rollup.WindowKey{}
	if a.acks, err = new(rollup.Sealer).Archive(a.crowd.network.ID, key, a.frames,
		a.crowd.view); err != nil {
		return err
	}
	statements, err := rollup.Statements(a.acks, key, a.crowd.view,
		func(uint64) bool { return true })
	if err != nil {
		return err
	}
	a.window = cosign.Window{Network: a.crowd.network.ID, Key: key,
		Tree: rollup.NewStatementTree(statements)}
	return nil
}

// offer makes the offers of every program, each of which has neighbouring clients.
func (a *asking) offer(programs int) error {
	a.offers = a.offers[:0]
	w := word.Offer{Count: uint32(a.window.Tree.Len()), Root: a.window.Tree.Root()}
	said := word.Sign(&a.window.Network, a.crowd.network.Members[0].Transport, w)
	for p := range programs {
		var asked []cosign.Asked
		for client := p * a.clients / programs; client < (p+1)*a.clients/programs; client++ {
			asked = append(asked, cosign.Asked{Client: uint64(client), FirstStatement: client,
				Statements: 1})
		}
		for o := range a.window.Offers(asked) {
			message, err := proto.Marshal(api.NewCosignOffer(o, said))
			if err != nil {
				return err
			}
			a.offers = append(a.offers, message)
		}
	}
	return nil
}

// sign makes every client's signature, which is not measured: the secret key of each is that of the
// one before plus a step, so that its signature is the one before plus another.
func (a *asking) sign() error {
	if a.signed == a.window.Tree.Root() {
		return nil
	}
	o := cosign.Offer{Network: a.window.Network, Key: a.window.Key,
		Count: uint32(a.window.Tree.Len()), Root: a.window.Tree.Root()}
	message := o.Message()
	h, err := bls12381.HashToG1(message[:], []byte(bls.SignatureDST))
	if err != nil {
		return err
	}
	points, steps := make([]bls12381.G1Jac, a.clients), make(map[fr.Element]bls12381.G1Affine)
	before := new(fr.Element)
	for i := range points {
		secret := &a.crowd.secrets[i]
		by := *new(fr.Element).Sub(secret, before)
		step, known := steps[by]
		if !known {
			step.ScalarMultiplication(&h, by.BigInt(new(big.Int)))
			steps[by] = step
		}
		if i > 0 {
			points[i] = points[i-1]
		}
		points[i].AddMixed(&step)
		before = secret
	}
	a.signatures = a.signatures[:0]
	for _, p := range bls12381.BatchJacobianToAffineG1(points) {
		encoded := p.Bytes()
		a.signatures = append(a.signatures, encoded[:]...)
	}
	a.signed = a.window.Tree.Root()
	return nil
}

var errDeclined = errors.New("a client does not sign what it signed before")

// check is what the clients' programs do with the offers, and leaves their answers.
func (a *asking) check(int) error {
	a.answers = a.answers[:0]
	for _, raw := range a.offers {
		message := new(api.CosignOffer)
		if err := proto.Unmarshal(raw, message); err != nil {
			return err
		}
		o, err := message.Decode()
		if err != nil {
			return err
		}
		for _, v := range o.Check(&cosign.Signed{Network: a.window.Network, Book: a}, nil) {
			if v.Refused {
				return fmt.Errorf("%w: %v", errDeclined, v.Reason)
			}
		}
		answer := &api.CosignRequest{Epoch: message.Epoch, Window: message.Window,
			Clients: o.Clients}
		for _, client := range o.Clients {
			answer.Signatures = append(answer.Signatures,
				a.signatures[client*bls.SignatureSize:][:bls.SignatureSize]...)
		}
		encoded, err := proto.Marshal(answer)
		if err != nil {
			return err
		}
		a.answers = append(a.answers, encoded)
	}
	return nil
}

// verify is what a node does with the answers.
func (a *asking) verify(int) error {
	o := cosign.Offer{Network: a.window.Network, Key: a.window.Key,
		Count: uint32(a.window.Tree.Len()), Root: a.window.Tree.Root()}
	message := o.Message()
	m := bls.Multi{Message: message[:],
		Signatures: bls.Column{Stride: bls.SignatureSize, Width: bls.SignatureSize}}
	for _, raw := range a.answers {
		answer := new(api.CosignRequest)
		if err := proto.Unmarshal(raw, answer); err != nil {
			return err
		}
		for _, index := range answer.Clients {
			client, known := a.crowd.view.Client(index)
			if !known {
				return fmt.Errorf("%w %d", rollup.ErrUnknownClient, index)
			}
			m.Keys = append(m.Keys, client.Key)
		}
		m.Signatures.Data = append(m.Signatures.Data, answer.Signatures...)
		m.Parts = append(m.Parts, len(m.Keys))
	}
	verdicts := make([]bls.Verdict, len(m.Parts))
	if _, _, err := bls.NewVerifier(bls.Default, 1).VerifyMulti(&m, verdicts); err != nil {
		return err
	}
	for _, v := range verdicts {
		if v != bls.VerdictValid {
			return v
		}
	}
	return nil
}

// Has, AppendRun and Refused make the frames the clients' book.
func (a *asking) Has(client uint64) bool { return client < uint64(a.clients) }

// AppendRun appends units and request of the one ack that a client signed.
func (a *asking) AppendRun(dst []byte, run rollup.Run) ([]byte, bool) {
	if run.Client >= uint64(a.clients) || run.First != 0 || run.Count != 1 {
		return dst, false
	}
	ack := frame(a.frames, int(run.Client))
	if ack.Service() != run.Service {
		return dst, false
	}
	request := ack.Request()
	return append(binary.LittleEndian.AppendUint64(dst, ack.Units()), request[:]...), true
}

// Refused says that the node refused nothing.
func (a *asking) Refused(rollup.Run) bool { return false }
