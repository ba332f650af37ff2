package export_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// A committee of one signs the record of the block that settled an epoch. The file that says so is
// checked by who has nothing but the genesis file.
func ExampleVerify() {
	genesis, member := newGenesis()
	table := rollup.SettlementTable{Rows: []rollup.SettlementRow{{Node: 0, Service: 0, Payer: 2,
		Windows: 1, Price: 1 << 20, Acks: 3, Units: 3072, Charge: 3072, Allowed: 3000, Paid: 1000,
		ToNode: 800, ToService: 150}}, Payers: []rollup.PayerRow{{Payer: 2, Allowance: 3000,
		Paid: 1000}}}
	record := &rollup.Record{Network: genesis.Network(), Height: 400, Epoch: 10, SettledEpoch: 7,
		SettlementRoot: table.Root()}
	signature := rollup.SignRecord(member, record)
	settlement := &export.Settlement{SettlementTable: table, Witness: export.Witness{Record: record,
		Certificate: &rollup.RecordCertificate{Height: 400, Signers: genesis.Committee().Signers(0),
			Signature: signature.Bytes()}}}
	file := settlement.Append(nil)

	report, err := export.Verify(file, export.TrustOf(genesis))
	if err != nil {
		log.Fatal(err)
	}
	for _, check := range report.Checks {
		fmt.Printf("%s: %d bytes\n", check.Name, check.Bytes)
	}

	file[len(file)-20] ^= 1 // in what the payer paid
	_, err = export.Verify(file, export.TrustOf(genesis))
	fmt.Println("changed:", errors.Is(err, rollup.ErrSettlement))
	// Output:
	// settlement: 148 bytes
	// record: 218 bytes
	// changed: true
}

// newGenesis returns the genesis of a network with one member, and the member's key.
func newGenesis() (*ledger.Genesis, *bls.SecretKey) {
	key := func(name string) ledger.Key {
		seed := sha256.Sum256([]byte(name))
		return ledger.KeyOf(ed25519.NewKeyFromSeed(seed[:]))
	}
	seed := sha256.Sum256([]byte("an example's member"))
	secret, err := bls.KeyGen(seed[:])
	if err != nil {
		log.Fatal(err)
	}
	genesis := &ledger.Genesis{
		Version: ledger.GenesisVersion, ChainID: "example", Treasury: key("treasury"),
		GenesisTime: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		Params: ledger.Params{EpochSeconds: 60, GraceSeconds: 10, GraceBlocks: 5,
			Shares: rollup.Shares{Node: 8000, Service: 1500, Protocol: 500}, GrantEpochs: 720,
			SlashEquivocation: ledger.DefaultSlash,
			UnbondSeconds:     ledger.DefaultUnbond},
		Members: []ledger.Member{{Owner: key("owner"), BLSKey: secret.PublicKey().Bytes(),
			TransportKey: key("node"), ConsensusKey: key("consensus"),
			PeerAddress: "127.0.0.1:7401", P2PAddress: "127.0.0.1:7402", Stake: 1_000_000}},
	}
	node := sha256.Sum256([]byte("node"))
	genesis.Sign(0, secret, ed25519.NewKeyFromSeed(node[:]))
	return genesis, secret
}
