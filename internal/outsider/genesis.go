package outsider

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/supranational/blst/bindings/go"
)

type member struct {
	power   uint64
	key     []byte
	decoded *blst.P2Affine
}

// Genesis is the part of the genesis file that exports are checked against.
type Genesis struct {
	network                                [8]byte
	members                                []member
	shareNode, shareService, shareProtocol uint64
}

// fields are the members of one JSON object; every take removes one, and done refuses what is left.
type fields struct {
	at  string
	m   map[string]json.RawMessage
	err *error
}

func (f fields) fail(name, why string) {
	if *f.err == nil {
		*f.err = fmt.Errorf("genesis: %s%s: %s", f.at, name, why)
	}
}

// object splits a JSON object. Names are compared exactly and must not repeat.
func object(raw []byte, at string, err *error) fields {
	f := fields{at, map[string]json.RawMessage{}, err}
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, e := d.Token(); e != nil || t != json.Delim('{') {
		f.fail("", "not an object")
		return f
	}
	for d.More() {
		t, e := d.Token()
		name, isName := t.(string)
		var v json.RawMessage
		if e != nil || !isName || d.Decode(&v) != nil {
			f.fail("", "malformed")
			return f
		}
		if _, twice := f.m[name]; twice {
			f.fail(name, "given twice")
		}
		f.m[name] = v
	}
	if _, e := d.Token(); e != nil {
		f.fail("", "malformed")
	}
	if _, e := d.Token(); e != io.EOF {
		f.fail("", "bytes left over")
	}
	return f
}

func (f fields) take(name string) []byte {
	v, ok := f.m[name]
	if !ok {
		f.fail(name, "missing")
	}
	delete(f.m, name)
	return v
}

func (f fields) done() {
	for name := range f.m {
		f.fail(name, "unknown field")
	}
}

func (f fields) text(name string) (s string) {
	if v := f.take(name); len(v) == 0 || v[0] != '"' || json.Unmarshal(v, &s) != nil {
		f.fail(name, "not a string")
	}
	return s
}

func (f fields) number(name string) uint64 {
	n, err := strconv.ParseUint(string(f.take(name)), 10, 64)
	if err != nil {
		f.fail(name, "not an unsigned integer")
	}
	return n
}

func (f fields) hex(name string, size int) []byte {
	s := f.text(name)
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != size || hex.EncodeToString(b) != s {
		f.fail(name, fmt.Sprintf("not %d bytes of lower-case hexadecimal", size))
		return make([]byte, size)
	}
	return b
}

func (f fields) address(name string) {
	host, port, err := net.SplitHostPort(f.text(name))
	if _, e := strconv.ParseUint(port, 10, 16); err != nil || e != nil || host == "" {
		f.fail(name, "not host:port")
	}
}

// ParseGenesis reads the genesis file of section 3, strictly.
func ParseGenesis(raw []byte) (*Genesis, error) {
	var err error
	g := &Genesis{}
	if !utf8.Valid(raw) {
		return nil, errors.New("genesis: not UTF-8")
	}
	top := object(raw, "", &err)
	if top.number("version") != 1 {
		top.fail("version", "not 1")
	}
	chain := top.text("chain_id")
	for _, c := range []byte(chain) {
		if c < 0x20 || c > 0x7e {
			top.fail("chain_id", "not printable ASCII")
		}
	}
	if len(chain) < 1 || len(chain) > 50 {
		top.fail("chain_id", "not 1 to 50 characters")
	}
	g.network = networkID(chain)
	if _, e := time.Parse(time.RFC3339, top.text("genesis_time")); e != nil {
		top.fail("genesis_time", "not RFC 3339")
	}
	top.hex("treasury", 32)

	params := object(top.take("params"), "params.", &err)
	params.number("epoch_seconds")
	params.number("grace_seconds")
	params.number("late_epochs")
	shares := object(params.take("shares"), "params.shares.", &err)
	g.shareNode, g.shareService, g.shareProtocol = shares.number("node"), shares.number("service"), shares.number("protocol")
	const whole = 10_000
	if g.shareNode > whole || g.shareService > whole || g.shareProtocol > whole ||
		g.shareNode+g.shareService+g.shareProtocol != whole {
		params.fail("shares", "sum is not 10000")
	}
	shares.done()
	params.done()

	var committee []json.RawMessage
	if json.Unmarshal(top.take("committee"), &committee) != nil || len(committee) == 0 || len(committee) > 8*255 {
		top.fail("committee", "not a list of 1 to 2040 members")
	}
	top.done()
	seen := map[string]bool{}
	for i, c := range committee {
		f := object(c, fmt.Sprintf("committee[%d].", i), &err)
		f.hex("owner", 32)
		f.hex("transport_key", 32)
		f.hex("consensus_key", 32)
		f.address("peer_address")
		f.address("p2p_address")
		m := member{power: f.number("stake") / 1_000_000, key: f.hex("bls_key", 96)}
		proof := f.hex("proof", 48)
		f.done()
		if err != nil {
			return nil, err
		}
		if m.power == 0 {
			f.fail("stake", "voting power is zero")
		}
		if seen[string(m.key)] {
			f.fail("bls_key", "used twice")
		}
		seen[string(m.key)] = true
		var e error
		if m.decoded, e = decodeKey(m.key); e != nil {
			f.fail("bls_key", e.Error())
		} else if e = verifySame(proof, []*blst.P2Affine{m.decoded}, m.key, dstProof); e != nil {
			f.fail("proof", e.Error())
		}
		g.members = append(g.members, m)
	}
	if err != nil {
		return nil, err
	}
	return g, nil
}

func (g *Genesis) committeeRoot() hash {
	entries := make([][]byte, len(g.members))
	for i, m := range g.members {
		e := binary.LittleEndian.AppendUint32(nil, uint32(i))
		e = binary.LittleEndian.AppendUint64(e, m.power)
		entries[i] = append(e, m.key...)
	}
	return tree("committee").root(entries)
}

// checkQuorum checks a bitmap's form and power, and the set's signature.
func (g *Genesis) checkQuorum(bitmap, sig, msg []byte) error {
	var all, set uint64 // 2040 members of at most 2^64/10^6 each: far from overflow, threefold too
	var keys []*blst.P2Affine
	if len(bitmap) != (len(g.members)+7)/8 {
		return errors.New("bitmap: wrong length")
	}
	for i := range 8 * len(bitmap) {
		on := bitmap[i/8]>>(i%8)&1 == 1
		switch {
		case i >= len(g.members):
			if on {
				return errors.New("bitmap: bit beyond the last member")
			}
			continue
		case on:
			set += g.members[i].power
			keys = append(keys, g.members[i].decoded)
		}
		all += g.members[i].power
	}
	if 3*set <= 2*all {
		return errors.New("certificate: no quorum")
	}
	if err := verifySame(sig, keys, msg, dstSign); err != nil {
		return fmt.Errorf("certificate: signature %w", err)
	}
	return nil
}
