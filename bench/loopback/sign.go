package loopback

import (
	"encoding/binary"
	"runtime"
	"sync"

	"github.com/waybill-network/waybill/internal/kernelbench"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// smallest is the secret key of client 0; the others follow.
const smallest = 1009

func smallSecret(i int) (*bls.SecretKey, error) {
	b := make([]byte, bls.SecretKeySize)
	binary.BigEndian.PutUint32(b[bls.SecretKeySize-4:], uint32(smallest+i))
	return bls.ParseSecretKey(b)
}

// signNode makes the submissions that a feeding node is to get. Its clients take turns, each with
// its own counter.
func (n *Network) signNode(node int, l *Signed) [][]byte {
	out := make([][]byte, l.count)
	workers := runtime.GOMAXPROCS(0)
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			s := signer{steps: kernelbench.NewSteps()}
			for i := w; i < l.count; i += workers {
				out[i] = s.sign(n, node, l.epoch, i*l.size, l.size)
			}
		})
	}
	group.Wait()
	return out
}

// signer signs in one goroutine.
type signer struct {
	steps    kernelbench.Steps
	messages []byte
	factors  []uint32
	encoded  []byte
}

// sign makes count acks from the given one on.
func (s *signer) sign(n *Network, node int, epoch uint32, first, count int) []byte {
	frames := make([]byte, 0, count*rollup.AckSize)
	s.messages, s.factors = s.messages[:0], s.factors[:0]
	for i := first; i < first+count; i++ {
		c := i%n.cfg.Clients*n.cfg.Feeding + node
		ack := rollup.Ack{Net: n.id.Net(), Epoch: epoch, Node: n.nodes[node], Client: n.indices[c],
			Number: uint32(i / n.cfg.Clients), Units: 1 + uint64(i)*1009%unitCap}
		binary.LittleEndian.PutUint64(ack.Request[:], uint64(i))
		binary.LittleEndian.PutUint64(ack.Request[8:], uint64(node)<<32|uint64(epoch))
		frames = ack.Append(frames)
		s.messages = ack.AppendMessage(s.messages, &n.id)
		s.factors = append(s.factors, uint32(smallest+c))
	}
	s.steps.Hash(s.messages, rollup.MessageSize, rollup.MessageSize)
	s.steps.Scale(s.factors)
	s.encoded = s.steps.Encoded(s.encoded[:0])
	for i := range count {
		copy(rollup.Frame(frames[i*rollup.AckSize:][:rollup.AckSize]).Signature(),
			s.encoded[i*bls.SignatureSize:][:bls.SignatureSize])
	}
	return frames
}

// parallel calls f for 0 to n-1 on all cores.
func parallel(n int, f func(i int)) {
	var group sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		group.Go(func() {
			for i := w; i < n; i += workers {
				f(i)
			}
		})
	}
	group.Wait()
}
