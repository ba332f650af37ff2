package outsider

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"slices"
	"testing"
)

// transactionValues adds the transactions of section 12, from its text and section 8's.
func transactionValues(t *testing.T, want map[string][]byte) {
	d := sectionTwelve()
	network := d.network
	owner, other := edwards("owner", 0), edwardsPublic("owner", 1)
	account := owner.Public().(ed25519.PublicKey)
	head := func(kind uint8) []byte { return enc("wb-txn/2", network, kind) }
	signed := func(kind uint8, sender ed25519.PrivateKey, nonce uint64, payload ...any) []byte {
		tx := enc(head(kind), []byte(sender.Public().(ed25519.PublicKey)), nonce, enc(payload...))
		return enc(tx, ed25519.Sign(sender, tx))
	}
	text := func(s string) []byte { return enc(uint8(len(s)), s) }

	joining, node := newSecret("joining", 0), edwards("joining", 0)
	nodeKey := []byte(node.Public().(ed25519.PublicKey))
	as := possession(network, 2, account, joining.public())
	registration := enc(joining.public(), joining.sign(enc("wb-pop/2", as), pop), nodeKey,
		ed25519.Sign(node, enc("wb-nod/2", as, nodeKey)), uint64(2_000_000), text("127.0.0.1:7009"))

	client := clientKey(0)
	terms := enc([3]uint32{0, 1, none}, uint32(1000), uint32(1), uint32(9))
	proof := client.sign(enc("wb-pop/2", possession(network, 1, account, client.public())), pop)
	consent := ed25519.Sign(owner,
		enc("wb-grt/2", network, []byte(account), client.public(), terms))
	grant := enc(uint32(1), client.public(), proof, terms, consent)

	ticket := d.ticket()
	window, twice := enc(uint32(2), uint32(1), uint32(7)),
		[][]byte{b3("another rollup"), b3k("waybill/rollup/2", d.header())}
	slices.SortFunc(twice, bytes.Compare)
	evidence := enc(uint8(1), window)
	for _, id := range twice {
		said := ed25519.Sign(edwards("transport", 2), enc("wb-own/2", network, window, id))
		evidence = enc(evidence, id, said)
	}
	key := enc(uint32(256), b3("key"), uint32(30), uint32(40))
	plan := enc(uint32(0), uint32(3), uint32(30), text("waybill 3"))
	settled := sectionTwelveTable(t)
	members := quorum{signers: []int{0, 1, 3}}

	want["grant of client 0"] = grant
	for kind, tx := range map[uint8][]byte{
		1:  signed(1, edwards("treasury", 0), 7, []byte(account), uint64(1_000_000)),
		2:  signed(2, owner, 0, other, uint64(5)),
		3:  signed(3, owner, 1, registration),
		4:  signed(4, owner, 2, uint64(1000), uint64(1<<20), text("byte")),
		5:  enc(head(5), uint16(1), grant),
		6:  signed(6, owner, 3, uint16(2), uint64(0), uint64(1<<39)),
		7:  enc(head(7), ticket),
		8:  enc(head(8), settled.height, settled.over("wb-rec/2", settled.rec.body())),
		14: enc(head(14), evidence),
		19: signed(19, owner, 4, uint64(300)),
		20: signed(20, owner, 5, uint64(200)),
		22: signed(22, owner, 6, uint64(1000)),
		23: signed(23, owner, 7, uint32(1), uint64(999)),
		26: enc(head(26), plan, uint32(0), members.over("wb-pln/2", network, plan)),
		25: enc(head(25), key, uint32(0), members.over("wb-key/2", network, uint32(0), key)),
	} {
		want[fmt.Sprintf("B3 of the transaction of kind %d (%d bytes)", kind, len(tx))] = b3(
			string(tx))
	}
	if len(grant) != 236 {
		t.Errorf("a grant of %d bytes", len(grant))
	}
	rest := possession(network, 2, edwardsPublic("owner", 0), newSecret("member", 0).public())
	want["member 0, node signature"] = ed25519.Sign(edwards("transport", 0),
		slices.Concat(enc("wb-nod/2", rest), edwardsPublic("transport", 0)))
}
