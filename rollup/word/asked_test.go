package word

import (
	"crypto/ed25519"
	"fmt"
	"testing"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
)

// TestAsked: the word over answers to a message is that over its entries one by one, and nothing
// that an answer or an ack says can be changed under it.
func TestAsked(t *testing.T) {
	var frames []byte
	var entries []Answer
	var answers []rollup.Answer
	for i := range 67 {
		ack := rollup.Ack{Epoch: 9, Node: 2, Number: uint32(i), Units: 1}
		frames = ack.Append(frames)
		said := rollup.Answer{Code: rollup.Code(i % 34), Arg: uint64(i) << 33}
		answers = append(answers, said)
		entries = append(entries, Answer{blake3.Sum256(ack.Append(nil)), said})
	}
	want := Answers{Node: 2, Epoch: 9, Height: 1 << 40}
	want.Over(entries)
	if got := Ask(frames).Answers(2, 1<<40, answers); got != want {
		t.Errorf("%+v, not %+v", got, want)
	}
	for i := range answers {
		changed := append([]rollup.Answer(nil), answers...)
		changed[i].Arg++
		if Ask(frames).Answers(2, 1<<40, changed) == want {
			t.Errorf("the argument of answer %d is not under the word", i)
		}
		frames[i*rollup.AckSize+127]++
		if Ask(frames).Answers(2, 1<<40, answers) == want {
			t.Errorf("the last byte of ack %d is not under the word", i)
		}
		frames[i*rollup.AckSize+127]--
	}
}

// BenchmarkAnswers is what the word on the answers to one message costs its node, and its client.
func BenchmarkAnswers(b *testing.B) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	public := [32]byte(key.Public().(ed25519.PublicKey))
	var network rollup.Network
	for _, n := range []int{1, 32, 1024, 8192} {
		frames, answers := make([]byte, n*rollup.AckSize), make([]rollup.Answer, n)
		b.Run(fmt.Sprintf("node/acks=%d", n), func(b *testing.B) {
			for b.Loop() {
				Sign(&network, key, Ask(frames).Answers(0, 1, answers))
			}
		})
		s := Sign(&network, key, Ask(frames).Answers(0, 1, answers))
		b.Run(fmt.Sprintf("client/acks=%d", n), func(b *testing.B) {
			for b.Loop() {
				w := Ask(frames).Answers(0, 1, answers)
				if err := Verify(&network, public, w, &s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
