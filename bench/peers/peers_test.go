package main

import (
	"bytes"
	"testing"

	"github.com/waybill-network/waybill/bench"
	"github.com/waybill-network/waybill/internal/kernelbench"
	"github.com/waybill-network/waybill/kernels/bls"
)

// TestSuitesAgree runs suites in which contenders hold their results against each other.
func TestSuitesAgree(t *testing.T) {
	suites, err := bench.Select(bench.Suites(peers), "field", "hash", "content")
	if err != nil {
		t.Fatal(err)
	}
	r, err := bench.Run(t.Context(), suites, bench.Options{Quick: true})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, res := range r.Results {
		for _, s := range res.Samples {
			seen[s.Contender] = true
		}
	}
	for _, name := range []string{"blst", "gnark-crypto", "sha256-simd", "zeebo/blake3",
		"lukechampine.com/blake3"} {
		if !seen[name] {
			t.Errorf("%s took no part", name)
		}
	}
}

// TestPeersCanRefuse: a peer that skipped its work would be fast.
func TestPeersCanRefuse(t *testing.T) {
	b := newBatchOf(t, 4, 30)
	run := func(c bench.Contender) error {
		if c.Prepare != nil {
			if err := c.Prepare(); err != nil {
				return err
			}
		}
		_, err := c.Run()
		return err
	}
	contenders := append(batchVerify(bls.SignatureDST, &b.Batch), decompress(b.Signatures)[0])
	for _, c := range contenders {
		if err := run(c); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
	own := kernelbench.NewSteps()
	own.Decode(b.Signatures.Data, b.Signatures.Stride)
	if !bytes.Equal(contenders[2].Result(), own.Encoded(nil)) {
		t.Error("other points")
	}
	hash := hashToG1(bls.SignatureDST, b.Messages)[0]
	if err := run(hash); err != nil {
		t.Error(err)
	}
	own.Hash(b.Messages.Data, b.Messages.Stride, b.Messages.Width)
	if !bytes.Equal(hash.Result(), own.Encoded(nil)) {
		t.Error("other hashes")
	}
	msg := []byte("one message")
	var signatures []bls.Signature
	for _, secret := range b.secrets {
		signatures = append(signatures, bls.Default.Sign(secret, msg))
	}
	sum := bls.AggregateSignatures(signatures)
	if err := run(fastAggregate(bls.SignatureDST, b.Keys, msg, &sum)[0]); err != nil {
		t.Error(err)
	}
	if run(fastAggregate(bls.SignatureDST, b.Keys[1:], msg, &sum)[0]) == nil {
		t.Error("an aggregate of others is accepted")
	}
	list := make([]bls.Signature, b.Signatures.Len())
	for i := range list {
		var err error
		if list[i], err = bls.ParseSignature(b.Signatures.At(i)); err != nil {
			t.Fatal(err)
		}
	}
	sum = bls.AggregateSignatures(list)
	aggregate := aggregateVerify(bls.SignatureDST, &b.Batch, &sum)[0]
	if err := run(aggregate); err != nil {
		t.Error(err)
	}
	b.Messages.At(7)[3] ^= 1
	if run(aggregate) == nil {
		t.Error("the sum of other signatures is accepted")
	}
	b.Messages.At(7)[3] ^= 1

	p := outside(0)
	b.shift(7, &p)
	for _, c := range append(contenders[:2:2], subgroup(b.Signatures)...) {
		if run(c) == nil {
			t.Errorf("%s accepts a point outside", c.Name)
		}
	}
	b.Signatures.At(7)[0] &^= 0x80
	if run(contenders[2]) == nil {
		t.Error("no encoding is decoded")
	}
}
