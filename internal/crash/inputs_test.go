//go:build linux

package crash

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
)

// TestBadInputs feeds a live node what is not valid. Each input has a refusal of its own, and
// afterwards nothing is ordered, settled or moved but the valid acks and transactions that the test
// sent for comparison.
func TestBadInputs(t *testing.T) {
	Binary(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	o := short()
	o.GraceSeconds = 20
	n := Start(ctx, t, o)
	p, err := n.Register(ctx, 3, 12)
	if err != nil {
		t.Fatal(err)
	}
	before, err := n.Balances(ctx, 3)
	if err != nil {
		t.Fatal(err)
	}
	in := &inputs{T: t, Network: n, parties: p, books: NewBooks(p), stream: n.Clients[0].Open(ctx)}
	in.refuseAcks(ctx)
	in.refuseSubmissions(ctx)
	if err := in.stream.Close(ctx); err != nil {
		t.Errorf("the stream that the refusals came over: %v", err)
	}
	in.stream = n.Clients[0].Open(ctx)
	defer func() { _ = in.stream.Close(ctx) }() // it has answered everything
	registry := in.registry(ctx)
	in.refuseTransactions(ctx)
	audit, err := n.Audit(ctx, p, in.books, before)
	if err != nil {
		t.Fatal(err)
	}
	if now := in.registry(ctx); now != registry {
		t.Errorf("the transactions changed the registry or a nonce: %s, before %s", now, registry)
	}
	t.Logf("%d inputs:\n%s", len(in.table), strings.Join(in.table, "\n"))
	t.Logf("%d valid acks in %d rollups, nothing else; balances as these say", len(audit.Ordered),
		audit.Rollups)
}

// inputs is a test of bad inputs on its way.
type inputs struct {
	*testing.T
	*Network
	parties *Parties
	books   *Books
	stream  *client.Stream
	table   []string
	next    int // of the requests
}

// registry tells, from node 1, how many of each kind are registered, and the payers' nonces.
func (in *inputs) registry(ctx context.Context) string {
	in.Helper()
	status, err := in.Status(ctx, 1)
	if err != nil {
		in.Fatal(err)
	}
	text := fmt.Sprintf("%d nodes, %d services, %d clients, nonces", status.Nodes, status.Services,
		status.Clients)
	for _, index := range in.parties.Accounts {
		account, err := in.Account(ctx, 1, index)
		if err != nil {
			in.Fatal(err)
		}
		text += fmt.Sprint(" ", account.NextNonce)
	}
	return text
}

func (in *inputs) record(what, way, got, want string) {
	in.Helper()
	in.table = append(in.table, fmt.Sprintf("  %-52s %-7s %s", what, way, got))
	if got != want {
		in.Errorf("%s (%s): answered %s, should be %s", what, way, got, want)
	}
}

// epoch is the one that node 0 takes acks for.
func (in *inputs) epoch(ctx context.Context) uint32 {
	in.Helper()
	status, err := in.Status(ctx, 0)
	if err != nil {
		in.Fatal(err)
	}
	return status.Epoch
}

// fresh returns a valid ack for node 0, of a client that signs nothing else: under its next number,
// or so many behind that.
func (in *inputs) fresh(epoch uint32, c *Client, ahead uint32) rollup.Ack {
	in.next++
	service := in.parties.Services[0]
	ack := rollup.Ack{Net: in.ID.Net(), Epoch: epoch, Client: c.Index, Service: service,
		Number: c.next[series{0, epoch, service}] + ahead, Units: 1000,
		Request: blake3.Sum256(fmt.Appendf(nil, "GET /inputs/%d", in.next))}
	c.Resign(&ack)
	return ack
}

// submit sends acks over the stream and returns the codes.
func (in *inputs) submit(ctx context.Context, acks ...rollup.Ack) []rollup.Code {
	in.Helper()
	var frames []byte
	for i := range acks {
		frames = acks[i].Append(frames)
	}
	return in.submitFrames(ctx, frames)
}

func (in *inputs) submitFrames(ctx context.Context, frames []byte) (codes []rollup.Code) {
	in.Helper()
	pending, err := in.stream.Submit(ctx, frames)
	if err != nil {
		in.Fatal(err)
	}
	answer, err := pending.Wait(ctx)
	if err != nil {
		in.Fatal(err)
	}
	for _, a := range answer.Answers {
		codes = append(codes, a.Code)
	}
	return codes
}

// accept has a valid ack accepted, and returns it.
func (in *inputs) accept(ctx context.Context, c *Client) rollup.Ack {
	in.Helper()
	for range 10 {
		ack := in.fresh(in.epoch(ctx), c, 0)
		code := in.submit(ctx, ack)[0]
		switch {
		case code == rollup.CodeAccepted:
			if c.next == nil {
				c.next = make(map[series]uint32)
			}
			c.next[series{ack.Node, ack.Epoch, ack.Service}]++
			in.books.deliver(ack.Client, ack.Units)
			in.books.sign(&ack)
			in.books.report(&client.Outcome{Ack: ack, Attempts: 1})
			return ack
		case !passing(code):
			in.Fatalf("a valid ack: %v", code)
		}
		pause(ctx, poll)
	}
	in.Fatal("a valid ack is not taken")
	panic("unreachable")
}

// passing reports whether an ack that is made anew may be answered otherwise: because the epoch
// ended between, or the node was busy.
func passing(code rollup.Code) bool {
	return code.Class() == rollup.ClassNotNow || code == rollup.CodePastEpoch
}

// badAck is one line of the table: what is done to a valid ack for the epoch that runs.
type badAck struct {
	what string
	make func(a *rollup.Ack, c *Client)
	want rollup.Code
}

func resigned(change func(a *rollup.Ack)) func(*rollup.Ack, *Client) {
	return func(a *rollup.Ack, c *Client) {
		change(a)
		c.Resign(a)
	}
}

func signature(b [rollup.SignatureSize]byte) func(*rollup.Ack, *Client) {
	return func(a *rollup.Ack, _ *Client) { a.Signature = b }
}

var badAcks = []badAck{
	{"signed by another key", func(a *rollup.Ack, c *Client) {
		secret, _ := bls.KeyGen(seed("forger"))
		(&Client{Secret: secret, network: c.network}).Resign(a)
	}, rollup.CodeBadSignature},
	{"signed for another network", func(a *rollup.Ack, c *Client) {
		foreign := c.network
		foreign[31] ^= 1 // behind what the wire shows
		(&Client{Secret: c.Secret, network: foreign}).Resign(a)
	}, rollup.CodeBadSignature},
	{"units changed after signing", func(a *rollup.Ack, _ *Client) { a.Units++ },
		rollup.CodeBadSignature},
	{"request changed after signing", func(a *rollup.Ack, _ *Client) { a.Request[31] ^= 1 },
		rollup.CodeBadSignature},
	{"another client's index", func(a *rollup.Ack, _ *Client) { a.Client, a.Number = a.Client+1, 0 },
		rollup.CodeBadSignature},
	{"signature negated", func(a *rollup.Ack, _ *Client) { a.Signature[0] ^= 0x20 },
		rollup.CodeBadSignature},
	{"signature plus a point of order 3", func(a *rollup.Ack, _ *Client) { shift(a, 2) },
		rollup.CodeNotInSubgroup},
	{"a point of order 3", signature([48]byte{0: 0x80}), rollup.CodeNotInSubgroup},
	{"identity", signature(bls.IdentitySignature), rollup.CodeIdentity},
	{"identity with the sign bit", signature([48]byte{0: 0xe0}), rollup.CodeBadEncoding},
	{"identity with a stray byte", signature([48]byte{0: 0xc0, 47: 1}), rollup.CodeBadEncoding},
	{"x = p", func(a *rollup.Ack, _ *Client) { a.Signature = modulus() }, rollup.CodeBadEncoding},
	{"not marked as compressed", func(a *rollup.Ack, _ *Client) { a.Signature[0] &^= 0x80 },
		rollup.CodeBadEncoding},
	{"all zero", signature([48]byte{}), rollup.CodeBadEncoding},
	{"all ones", signature([48]byte(bytes.Repeat([]byte{0xff}, 48))), rollup.CodeBadEncoding},
	{"off the curve", func(a *rollup.Ack, _ *Client) { a.Signature = offCurve() },
		rollup.CodeNotOnCurve},
	{"wrong network", resigned(func(a *rollup.Ack) { a.Net[0] ^= 1 }), rollup.CodeWrongNetwork},
	{"wrong node", resigned(func(a *rollup.Ack) { a.Node++ }), rollup.CodeWrongNode},
	{"next epoch", resigned(func(a *rollup.Ack) { a.Epoch++ }), rollup.CodeEpochAhead},
	{"an epoch far ahead", resigned(func(a *rollup.Ack) { a.Epoch = ^uint32(0) }),
		rollup.CodeEpochAhead},
	{"a number left out", resigned(func(a *rollup.Ack) { a.Number++ }), rollup.CodeGap},
	{"the last number there is", resigned(func(a *rollup.Ack) { a.Number = ^uint32(0) }),
		rollup.CodeBeyondLimit},
	{"unknown client", resigned(func(a *rollup.Ack) { a.Client = 1 << 30 }),
		rollup.CodeUnknownClient},
	{"unknown service", resigned(func(a *rollup.Ack) { a.Service = 7 }), rollup.CodeUnknownService},
	{"zero units", resigned(func(a *rollup.Ack) { a.Units = 0 }), rollup.CodeZeroUnits},
	{"units above the cap", resigned(func(a *rollup.Ack) { a.Units = unitCap + 1 }),
		rollup.CodeExcessUnits},
	{"units of 2^64 - 1", resigned(func(a *rollup.Ack) { a.Units = ^uint64(0) }),
		rollup.CodeExcessUnits},
}

// refuseAcks sends every bad ack over the stream and as JSON, and those that take more than one
// ack.
func (in *inputs) refuseAcks(ctx context.Context) {
	in.Helper()
	client := in.parties.Clients[0]
	in.accept(ctx, client) // so that there is a number before the next
	for _, bad := range badAcks {
		make := func(epoch uint32) []rollup.Ack {
			ack := in.fresh(epoch, client, 0)
			bad.make(&ack, client)
			return []rollup.Ack{ack}
		}
		in.refuse(ctx, bad.what, bad.want, make)
		in.refuseJSON(ctx, bad.what, bad.want, make)
	}
	a, b := in.parties.Clients[1], in.parties.Clients[2]
	in.refuse(ctx, "signatures of two acks exchanged", rollup.CodeBadSignature,
		func(epoch uint32) []rollup.Ack {
			x, y := in.fresh(epoch, a, 0), in.fresh(epoch, b, 0)
			x.Signature, y.Signature = y.Signature, x.Signature
			return []rollup.Ack{x, y}
		})
	in.refuse(ctx, "errors of two signatures cancel out", rollup.CodeNotInSubgroup,
		func(epoch uint32) []rollup.Ack {
			x, y := in.fresh(epoch, a, 0), in.fresh(epoch, b, 0)
			shift(&x, 2)
			shift(&y, -2)
			return []rollup.Ack{x, y}
		})
	in.refuse(ctx, "shares of two signatures exchanged", rollup.CodeBadSignature,
		func(epoch uint32) []rollup.Ack {
			x, y := in.fresh(epoch, a, 0), in.fresh(epoch, a, 1)
			exchange(&x, &y)
			return []rollup.Ack{x, y}
		})
	in.refuse(ctx, "wrong tag", rollup.CodeMalformed, nil)
	in.repeat(ctx)
	in.late(ctx)
}

// refuse requires the refusal of all acks, made for the epoch that runs. When that has ended
// meanwhile, it is tried again.
func (in *inputs) refuse(ctx context.Context, what string, want rollup.Code,
	make func(epoch uint32) []rollup.Ack) {
	in.Helper()
	codes := in.submitFrames(ctx, bytes.Repeat([]byte("waybill!"), rollup.AckSize/8))
	for try := 0; make != nil && try < 10; try++ {
		codes = in.submit(ctx, make(in.epoch(ctx))...)
		if !slices.ContainsFunc(codes, func(c rollup.Code) bool { return c != want && passing(c) }) {
			break
		}
		pause(ctx, poll)
	}
	for _, code := range codes {
		if code != want {
			in.record(what, "stream", code.String(), want.String())
			return
		}
	}
	in.record(what, "stream", codes[0].String(), want.String())
}

// refuseJSON is refuse with the call that people make.
func (in *inputs) refuseJSON(ctx context.Context, what string, want rollup.Code,
	make func(epoch uint32) []rollup.Ack) {
	in.Helper()
	var got string
	for range 10 {
		got = in.postAck(ctx, in.jsonAck(&make(in.epoch(ctx))[0]))
		if code, err := rollup.ParseCode(got); err != nil || code == want || !passing(code) {
			break
		}
		pause(ctx, poll)
	}
	in.record(what, "JSON", got, want.String())
}

// jsonAck is an ack as people write it: with the whole network, of which the ack has the beginning.
func (in *inputs) jsonAck(a *rollup.Ack) string {
	network := in.ID
	copy(network[:], a.Net[:])
	return fmt.Sprintf(
		`{"ack":{"network":"%v","epoch":%d,"node":%d,"client":"%d","service":%d,`+
			`"number":%d,"units":"%d","request":"%v","signature":"%x"}}`,
		network, a.Epoch, a.Node, a.Client, a.Service, a.Number, a.Units, a.Request, a.Signature)
}

// postAck returns the code that SubmitAck answers, or what else it says.
func (in *inputs) postAck(ctx context.Context, body string) string {
	in.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost,
		in.Nodes[0].Ingest+api.IngestServiceSubmitAckProcedure, strings.NewReader(body))
	if err != nil {
		in.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		in.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		in.Fatal(err)
	}
	var answer struct {
		Code    string
		Details []struct{ Debug struct{ Code string } }
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		in.Fatalf("%s: %v", text, err)
	}
	switch {
	case response.StatusCode == http.StatusOK && answer.Code == "accepted":
		in.Errorf("accepted: %s", body)
	case len(answer.Details) > 0:
		return answer.Details[0].Debug.Code
	}
	return answer.Code
}

// repeat sends accepted acks again: the same, with other content, and ill-signed ones, about which
// nothing is said but that.
func (in *inputs) repeat(ctx context.Context) {
	in.Helper()
	client := in.parties.Clients[3]
	for _, c := range []struct {
		what   string
		change func(a *rollup.Ack)
		want   rollup.Code
	}{
		{"accepted before, the same", func(*rollup.Ack) {}, rollup.CodeKnown},
		{"accepted before, other units", func(a *rollup.Ack) { a.Units++; client.Resign(a) },
			rollup.CodeNumberUsed},
		{"accepted before, another request",
			func(a *rollup.Ack) { a.Request[0] ^= 1; client.Resign(a) }, rollup.CodeNumberUsed},
		{"accepted before, other units and the old signature",
			func(a *rollup.Ack) { a.Units++ }, rollup.CodeBadSignature},
		{"accepted before, without a signature", func(a *rollup.Ack) { a.Signature = [48]byte{} },
			rollup.CodeBadEncoding},
	} {
		in.refuse(ctx, c.what, c.want, func(uint32) []rollup.Ack {
			ack := in.accept(ctx, client)
			c.change(&ack)
			return []rollup.Ack{ack}
		})
	}
}

// late waits until an epoch and its tail are over, and sends acks of it.
func (in *inputs) late(ctx context.Context) {
	in.Helper()
	client := in.parties.Clients[4]
	ack := in.accept(ctx, client)
	err := in.await(ctx, "the end of an epoch and its tail", func() (bool, error) {
		status, err := in.Status(ctx, 0)
		return err == nil && status.Epoch > ack.Epoch+1, err
	})
	if err != nil {
		in.Fatal(err)
	}
	codes := in.submit(ctx, ack, in.fresh(ack.Epoch, client, 0))
	in.record("accepted before, its epoch over", "stream", codes[0].String(),
		rollup.CodeKnown.String())
	in.record("of an epoch that is over", "stream", codes[1].String(),
		rollup.CodePastEpoch.String())
	bad := in.fresh(ack.Epoch, client, 0)
	bad.Units++
	in.record("of an epoch that is over, ill-signed", "stream", in.submit(ctx, bad)[0].String(),
		rollup.CodeBadSignature.String())
}

// refuseSubmissions sends what is not a number of acks. Each ends its own stream.
func (in *inputs) refuseSubmissions(ctx context.Context) {
	in.Helper()
	ack := in.fresh(in.epoch(ctx), in.parties.Clients[5], 0)
	frame := ack.Append(nil)
	for _, c := range []struct {
		what   string
		frames []byte
	}{
		{"a truncated ack", frame[:rollup.AckSize-1]},
		{"one byte", frame[:1]},
		{"a byte after the ack", append(slices.Clone(frame), 0)},
		{"an ack and half of one", append(slices.Clone(frame), frame[:64]...)},
		{"an empty submission", nil},
		{"one ack too many", bytes.Repeat(frame, api.MaxSubmission+1)},
		{"sixteen submissions in one", bytes.Repeat(frame, 16*api.MaxSubmission)},
	} {
		stream := in.Clients[0].Ingest().SubmitAcks(ctx)
		_ = stream.Send(&api.SubmitAcksRequest{Frames: c.frames}) // the answer tells
		_, err := stream.Receive()
		got, want := connect.CodeOf(err).String(), connect.CodeInvalidArgument.String()
		if len(c.frames) > api.MaxSubmission*rollup.AckSize {
			want = connect.CodeResourceExhausted.String() // by its size, unread
		}
		in.record(c.what, "stream", got, want)
		_ = stream.CloseRequest()
		_ = stream.CloseResponse()
	}
	for _, c := range []struct{ what, body, want string }{
		{"no ack", `{}`, "malformed"},
		{"half a signature", strings.Replace(in.jsonAck(&ack), fmt.Sprintf("%x", ack.Signature), "a0",
			1), "malformed"},
		{"a request that is not hexadecimal", strings.Replace(in.jsonAck(&ack), ack.Request.String(),
			strings.Repeat("zz", 32), 1), "malformed"},
		{"units below zero", strings.Replace(in.jsonAck(&ack), `"1000"`, `"-1"`, 1),
			"invalid_argument"},
		{"broken JSON", in.jsonAck(&ack)[:40], "invalid_argument"},
		{"two megabytes of JSON", `{"ack":{"network":"` + strings.Repeat("0", 2<<20) + `"}}`,
			"resource_exhausted"},
	} {
		in.record(c.what, "JSON", in.postAck(ctx, c.body), c.want)
	}
}

// The signatures' arithmetic, on another library than the node's checks.

func point(b [48]byte) (p bls12381.G1Affine) {
	if _, err := p.SetBytes(b[:]); err != nil {
		panic(err) // of a signature that was made here
	}
	return p
}

// shift adds a point of order 3 to the signature: (0, y) with y of 2 or -2.
func shift(a *rollup.Ack, y int64) {
	p := point(a.Signature)
	var torsion bls12381.G1Affine
	torsion.Y.SetInt64(y)
	p.Add(&p, &torsion)
	a.Signature = p.Bytes()
}

// exchange moves a share from one signature to the other, so that their sum stays the same.
func exchange(a, b *rollup.Ack) {
	p, q := point(a.Signature), point(b.Signature)
	_, _, share, _ := bls12381.Generators()
	p.Add(&p, &share)
	q.Sub(&q, &share)
	a.Signature, b.Signature = p.Bytes(), q.Bytes()
}

// modulus is the field's modulus in place of x.
func modulus() (b [48]byte) {
	fp.Modulus().FillBytes(b[:])
	b[0] |= 0x80
	return b
}

// offCurve is the encoding of the least x that belongs to no point.
func offCurve() (b [48]byte) {
	for x := uint64(1); ; x++ {
		y := fp.NewElement(x*x*x + 4)
		if y.Legendre() == -1 {
			binary.BigEndian.PutUint64(b[40:], x)
			b[0] = 0x80
			return b
		}
	}
}
