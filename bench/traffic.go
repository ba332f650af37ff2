package bench

import (
	"encoding/binary"
	"runtime"
	"sync"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// services is how many services the clients of traffic use; the client's index says which.
const services = 4

// traffic is acks of one node and window in the order of arrival: clients take turns, each with its
// own counter.
type traffic struct {
	frames     []byte // 128 bytes an ack
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
	parallel(len(secrets), func(i int) { t.keys[i] = secrets[i].PublicKey() })
	parallel(n, func(i int) {
		f := t.ack(i)
		t.signer[i] = f.Client()
		t.signatures[i] = bls.Default.Sign(secrets[f.Client()], f.Message())
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
		Messages: bls.Column{Data: frames, Stride: rollup.AckSize, Width: rollup.MessageSize},
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

// unsigned makes n acks without signatures.
func unsigned(network rollup.Network, key rollup.WindowKey, clients, n int) []byte {
	frames := make([]byte, 0, n*rollup.AckSize)
	for i := range n {
		client, seq := uint32(i%clients), uint32(i/clients)
		ack := rollup.Ack{Network: network, Epoch: key.Epoch, Window: key.Window, Node: key.Node,
			Client: client, Service: client % services,
			Seq: seq, Units: 1 + uint64(seq)*1009%65536}
		binary.LittleEndian.PutUint64(ack.Request[:], uint64(client)<<32|uint64(seq))
		frames = ack.Append(frames)
	}
	return frames
}

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
