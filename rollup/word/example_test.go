package word_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/word"
)

// parties is a registry of one node.
type parties struct{ key ed25519.PublicKey }

func (p parties) NodeKey(node uint32) ([32]byte, bool)     { return [32]byte(p.key), node == 2 }
func (parties) Client(uint64) (c rollup.Client, ok bool)   { return c, false }
func (parties) UnitCap(uint32) (limit uint64, ok bool)     { return 0, false }
func (parties) Price(_, _ uint32) (price uint64, ok bool)  { return 0, false }
func (parties) Rollups() (uint32, rollup.Hash, bool)       { return 0, rollup.Hash{}, false }
func (parties) Committee(uint32) (*rollup.Committee, bool) { return nil, false }

// Node 2 says of two rollups that they are its window 7. Whoever saw both convicts it.
func Example() {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	registry := parties{key.Public().(ed25519.PublicKey)}
	network := rollup.NetworkOf([]byte("an example's genesis"))

	e := &word.TwoRollups{Node: 2, Epoch: 1, Window: 7}
	for i := range e.Rollups {
		own := word.Own{Node: 2, Epoch: 1, Window: 7, Rollup: rollup.Hash{byte(i)}}
		e.Rollups[i], e.Signatures[i] = own.Rollup, word.Sign(&network, key, own)
	}
	transaction := word.Append(nil, e)
	fmt.Println(len(transaction), "bytes")

	evidence, err := word.Parse(transaction)
	if err != nil {
		log.Fatal(err)
	}
	verdict, err := evidence.Judge(&network, registry)
	fmt.Println(verdict.Lie, verdict.Nodes, err)

	e.Signatures[1] = e.Signatures[0]
	_, err = e.Judge(&network, registry)
	fmt.Println("with one signature:", errors.Is(err, word.ReasonSignature))
	// Output:
	// 205 bytes
	// two rollups of a window [2] <nil>
	// with one signature: true
}
