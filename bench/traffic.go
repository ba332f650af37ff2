package bench

import (
	"encoding/binary"
	"runtime"
	"sync"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// services is how many services the clients of traffic use; the client's index says which. A grant
// names no more.
const services = 3

// traffic is acks of one node and window in the order of arrival: clients take turns, each with its
// own counter.
type traffic struct {
	frames     []byte // 128 bytes an ack
	messages   []byte // rollup.MessageSize bytes an ack: what is signed
	signer     []uint32
	secrets    []*bls.SecretKey
	keys       []*bls.PublicKey
	signatures []bls.Signature
}

// newTraffic signs n acks on all cores; it takes about half a millisecond an ack.
func newTraffic(network rollup.Network, key rollup.WindowKey, secrets []*bls.SecretKey,
	n int) *traffic {
	t := &traffic{frames: unsigned(network, key, len(secrets), n), signer: make([]uint32, n),
		secrets: secrets,
		keys:    make([]*bls.PublicKey, len(secrets)), signatures: make([]bls.Signature, n)}
	t.messages = messages(&network, t.frames)
	parallel(len(secrets), func(i int) { t.keys[i] = secrets[i].PublicKey() })
	parallel(n, func(i int) {
		f := t.ack(i)
		t.signer[i] = uint32(f.Client())
		t.signatures[i] = bls.Default.Sign(secrets[f.Client()], message(t.messages, i))
		encoded := t.signatures[i].Bytes()
		copy(f.Signature(), encoded[:])
	})
	return t
}

func (t *traffic) len() int { return len(t.signer) }

func (t *traffic) ack(i int) rollup.Frame { return frame(t.frames, i) }

// batch returns acks from up to to, for verification.
func (t *traffic) batch(from, to int) *bls.Batch {
	frames := t.frames[from*rollup.AckSize : to*rollup.AckSize]
	return &bls.Batch{Keys: t.keys, Signer: t.signer[from:to],
		Messages: column(t.messages[from*rollup.MessageSize : to*rollup.MessageSize]),
		Signatures: bls.Column{Data: frames[rollup.SignatureOffset:], Stride: rollup.AckSize,
			Width: bls.SignatureSize}}
}

// aggregate is the sum of the first n signatures.
func (t *traffic) aggregate(n int) [bls.SignatureSize]byte {
	var sum bls.Sum
	for i := range n {
		sum.Add(&t.signatures[i])
	}
	s := sum.Signature()
	return s.Bytes()
}

// unsigned makes n acks without signatures; clients take turns, and each uses one service.
func unsigned(network rollup.Network, key rollup.WindowKey, clients, n int) []byte {
	frames := make([]byte, 0, n*rollup.AckSize)
	for i := range n {
		client, number := i%clients, i/clients
		ack := rollup.Ack{Net: network.Net(), Epoch: key.Epoch, Node: key.Node,
			Client: uint64(client), Service: uint32(client % services),
			Number: uint32(number), Units: 1 + uint64(number)*1009%65536}
		binary.LittleEndian.PutUint64(ack.Request[:], uint64(client)<<32|uint64(number))
		frames = ack.Append(frames)
	}
	return frames
}

// messages returns what the clients of acks sign, one after the other.
func messages(network *rollup.Network, frames []byte) []byte {
	n := len(frames) / rollup.AckSize
	out := make([]byte, 0, n*rollup.MessageSize)
	for i := range n {
		out = frame(frames, i).AppendMessage(out, network)
	}
	return out
}

func message(messages []byte, i int) []byte {
	return messages[i*rollup.MessageSize : (i+1)*rollup.MessageSize]
}

func column(messages []byte) bls.Column {
	return bls.Column{Data: messages, Stride: rollup.MessageSize, Width: rollup.MessageSize}
}

// benchNetwork is a network of which there is nothing but the name.
var benchNetwork = rollup.NetworkOf([]byte("waybill-bench"))

func frame(frames []byte, i int) rollup.Frame {
	return rollup.Frame(frames[i*rollup.AckSize : (i+1)*rollup.AckSize])
}

// clientSecrets derives the keys of n clients from their numbers.
func clientSecrets(n int) ([]*bls.SecretKey, error) {
	secrets := make([]*bls.SecretKey, n)
	for i := range secrets {
		seed := blake3.Sum256(binary.LittleEndian.AppendUint64([]byte("waybill/bench/client"),
			uint64(i)))
		sk, err := bls.KeyGen(seed[:])
		if err != nil {
			return nil, err
		}
		secrets[i] = sk
	}
	return secrets, nil
}

// parallel calls f for 0 to n-1 on all cores.
func parallel(n int, f func(i int)) {
	var wg sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				f(i)
			}
		})
	}
	wg.Wait()
}
