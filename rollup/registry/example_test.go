package registry_test

import (
	"errors"
	"fmt"
	"log"

	"github.com/waybill-network/waybill/rollup/registry"
)

// A registry of a hundred clients, one of which is revoked, shows two of them to an outsider who
// knows nothing but the root.
func Example() {
	tree := registry.New(registry.Clients, new(registry.Memory))
	var indices []uint64
	var leaves []byte
	for i := range uint64(100) {
		c := registry.Client{Key: [96]byte{byte(i)}, Payer: 5, Until: registry.None,
			Numbers: registry.None, Services: [3]uint32{0, registry.None, registry.None}}
		indices, leaves = append(indices, i), c.Append(leaves)
	}
	if err := tree.Set(indices, leaves); err != nil {
		log.Fatal(err)
	}
	heads := registry.Heads{Clients: tree.Head()}
	before := heads.Root()

	revoked := registry.Client{Key: [96]byte{42}, Payer: 5, Until: 8, Numbers: registry.None,
		Services: [3]uint32{0, registry.None, registry.None}}
	if err := tree.Set([]uint64{42}, revoked.Append(nil)); err != nil {
		log.Fatal(err)
	}
	heads.Clients = tree.Head()
	fmt.Println("another root:", heads.Root() != before)

	shown := []uint64{41, 42}
	proof, err := tree.Prove(shown)
	if err != nil {
		log.Fatal(err)
	}
	entries := append(leaves[41*registry.ClientSize:42*registry.ClientSize:42*registry.ClientSize],
		revoked.Append(nil)...)
	fmt.Println(len(entries), "bytes of clients,", len(proof), "bytes of proof")
	fmt.Println("honest:", registry.Clients.Verify(heads.Clients, shown, entries, proof))

	entries[registry.ClientSize+104]++ // until
	err = registry.Clients.Verify(heads.Clients, shown, entries, proof)
	fmt.Println("an epoch more:", errors.Is(err, registry.ReasonRoot))
	// Output:
	// another root: true
	// 256 bytes of clients, 224 bytes of proof
	// honest: <nil>
	// an epoch more: true
}

// Client 64 and those before it are past their last epoch, and those epochs are settled.
func ExampleTree_Forget() {
	store := new(registry.Memory)
	tree := registry.New(registry.Services, store)
	var indices []uint64
	for i := range uint64(200) {
		indices = append(indices, i)
	}
	if err := tree.Set(indices, make([]byte, 200*registry.ServiceSize)); err != nil {
		log.Fatal(err)
	}
	root, size := tree.Root(), store.Size()
	if err := tree.Forget(0); err != nil {
		log.Fatal(err)
	}
	fmt.Println("the same root:", tree.Root() == root, "with", size-store.Size(), "bytes less")
	_, err := tree.Prove([]uint64{63})
	fmt.Println(err)
	_, err = tree.Prove([]uint64{64})
	fmt.Println(err)
	// Output:
	// the same root: true with 4032 bytes less
	// registry: this part of the tree was forgotten: page 0 of height 0
	// <nil>
}
