package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"time"
)

// ParseGenesis decodes and validates a genesis file. Unknown, repeated and missing fields are
// errors, like everything that Validate refuses; the order of fields and white space are free. The
// error is a *GenesisError.
func ParseGenesis(b []byte) (*Genesis, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	tree, err := parseJSON(dec, "", 0)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, wrong("", "something follows the object")
	}
	g := new(Genesis)
	d := genesisDecoder{}
	d.genesis(g, tree)
	if d.err != nil {
		return nil, d.err
	}
	if err := g.Validate(); err != nil {
		return nil, err
	}
	return g, nil
}

const maxDepth = 8 // of objects and arrays within each other

// parseJSON reads one value: map[string]any without repeated names, []any, string, json.Number,
// bool or nil. encoding/json alone would accept repeated names, and names in another case.
func parseJSON(dec *json.Decoder, path string, depth int) (any, error) {
	tok, err := dec.Token()
	if err != nil {
		return nil, wrong(path, "%w", err)
	}
	delim, ok := tok.(json.Delim)
	if !ok {
		return tok, nil
	}
	if depth == maxDepth {
		return nil, wrong(path, "nested too deep")
	}
	var array []any
	object := make(map[string]any)
	for dec.More() {
		if delim == '[' {
			v, err := parseJSON(dec, fmt.Sprintf("%s[%d]", path, len(array)), depth+1)
			if err != nil {
				return nil, err
			}
			array = append(array, v)
			continue
		}
		tok, err := dec.Token()
		if err != nil {
			return nil, wrong(path, "%w", err)
		}
		name := tok.(string) // the decoder lets nothing else stand there
		if _, twice := object[name]; twice {
			return nil, wrong(join(path, name), "there twice")
		}
		if object[name], err = parseJSON(dec, join(path, name), depth+1); err != nil {
			return nil, err
		}
	}
	if _, err := dec.Token(); err != nil { // the closing bracket
		return nil, wrong(path, "%w", err)
	}
	if delim == '[' {
		return array, nil
	}
	return object, nil
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// genesisDecoder fills a genesis from a tree and keeps the first error.
type genesisDecoder struct{ err error }

func (d *genesisDecoder) fail(path, format string, args ...any) {
	if d.err == nil {
		d.err = wrong(path, format, args...)
	}
}

// optional are the fields that a genesis may leave out.
var optional = []string{"params.rotation", "checkpoint"}

// object hands each field of v to its reader: all of them must be there but the optional ones, and
// no others.
func (d *genesisDecoder) object(path string, v any, fields map[string]func(path string, v any)) {
	object, ok := v.(map[string]any)
	if !ok {
		d.fail(path, "not an object")
		return
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if fields[name] == nil {
			d.fail(join(path, name), "an unknown field")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if v, ok := object[name]; ok {
			fields[name](join(path, name), v)
		} else if !slices.Contains(optional, join(path, name)) {
			d.fail(join(path, name), "missing")
		}
	}
}

func (d *genesisDecoder) genesis(g *Genesis, tree any) {
	d.object("", tree, map[string]func(string, any){
		"version":      func(path string, v any) { g.Version = int(d.number(path, v, 16)) },
		"chain_id":     d.text(&g.ChainID),
		"genesis_time": d.time(&g.GenesisTime),
		"treasury":     d.binary(&g.Treasury),
		"params":       func(path string, v any) { d.params(path, v, &g.Params) },
		"committee": func(path string, v any) {
			array := d.array(path, v)
			g.Members = make([]Member, len(array))
			for i, v := range array {
				d.member(fmt.Sprintf("%s[%d]", path, i), v, &g.Members[i])
			}
		},
		"checkpoint": func(path string, v any) {
			g.Checkpoint = new(Checkpoint)
			d.checkpoint(path, v, g.Checkpoint)
		},
	})
}

func (d *genesisDecoder) checkpoint(path string, v any, c *Checkpoint) {
	d.object(path, v, map[string]func(string, any){
		"network":  d.binary(&c.Network),
		"height":   func(path string, v any) { c.Height = int64(d.number(path, v, 63)) },
		"app_hash": d.binary(&c.AppHash),
		"nodes": func(path string, v any) {
			for i, v := range d.array(path, v) {
				c.Nodes = append(c.Nodes, uint32(d.number(fmt.Sprintf("%s[%d]", path, i), v, 32)))
			}
		},
	})
}

func (d *genesisDecoder) params(path string, v any, p *Params) {
	d.object(path, v, map[string]func(string, any){
		"epoch_seconds": integer(d, &p.EpochSeconds, 32),
		"grace_seconds": integer(d, &p.GraceSeconds, 32),
		"grace_blocks":  integer(d, &p.GraceBlocks, 32),
		"shares": func(path string, v any) {
			d.object(path, v, map[string]func(string, any){
				"node":     integer(d, &p.Shares.Node, 16),
				"service":  integer(d, &p.Shares.Service, 16),
				"protocol": integer(d, &p.Shares.Protocol, 16),
			})
		},
		"grant_fee":          integer(d, &p.GrantFee, 64),
		"grant_epochs":       integer(d, &p.GrantEpochs, 32),
		"allowance":          integer(d, &p.Allowance, 64),
		"serve_stake":        integer(d, &p.ServeStake, 64),
		"slash_equivocation": integer(d, &p.SlashEquivocation, 16),
		"unbond_seconds":     integer(d, &p.UnbondSeconds, 32),
		"proofs":             func(path string, v any) { d.proofs(path, v, &p.Proofs) },
		"rotation": func(path string, v any) {
			p.Rotation = new(Rotation)
			d.rotation(path, v, p.Rotation)
		},
	})
}

func (d *genesisDecoder) rotation(path string, v any, r *Rotation) {
	d.object(path, v, map[string]func(string, any){
		"seats":            integer(d, &r.Seats, 16),
		"term_epochs":      integer(d, &r.TermEpochs, 16),
		"min_stake":        integer(d, &r.MinStake, 64),
		"stake_cap":        integer(d, &r.StakeCap, 64),
		"jail_withhold":    integer(d, &r.JailWithhold, 32),
		"slash_withhold":   integer(d, &r.SlashWithhold, 16),
		"jail_absent":      integer(d, &r.JailAbsent, 32),
		"evidence_epochs":  integer(d, &r.EvidenceEpochs, 32),
		"evidence_seconds": integer(d, &r.EvidenceSeconds, 32),
		"evidence_blocks":  integer(d, &r.EvidenceBlocks, 32),
		"reward":           integer(d, &r.Reward, 16),
	})
}

func (d *genesisDecoder) proofs(path string, v any, p *Proofs) {
	d.object(path, v, map[string]func(string, any){
		"development": func(path string, v any) {
			var ok bool
			if p.Development, ok = v.(bool); !ok {
				d.fail(path, "neither true nor false")
			}
		},
		"keys": func(path string, v any) {
			for i, v := range d.array(path, v) {
				var k ProofKey
				d.object(fmt.Sprintf("%s[%d]", path, i), v, map[string]func(string, any){
					"statements": integer(d, &k.Statements, 32),
					"key":        d.binary(&k.Key),
				})
				p.Keys = append(p.Keys, k)
			}
		},
	})
}

func (d *genesisDecoder) member(path string, v any, m *Member) {
	d.object(path, v, map[string]func(string, any){
		"owner":          d.binary(&m.Owner),
		"bls_key":        d.binary(&m.BLSKey),
		"proof":          d.binary(&m.Proof),
		"transport_key":  d.binary(&m.TransportKey),
		"node_signature": d.binary(&m.NodeSignature),
		"consensus_key":  d.binary(&m.ConsensusKey),
		"peer_address":   d.text(&m.PeerAddress),
		"p2p_address":    d.text(&m.P2PAddress),
		"stake":          integer(d, &m.Stake, 64),
	})
}

func (d *genesisDecoder) array(path string, v any) []any {
	array, ok := v.([]any)
	if !ok {
		d.fail(path, "not an array")
	}
	return array
}

func (d *genesisDecoder) number(path string, v any, bits int) uint64 {
	n, ok := v.(json.Number)
	x, err := strconv.ParseUint(n.String(), 10, bits)
	if !ok || err != nil {
		d.fail(path, "not an integer of %d bits", bits)
	}
	return x
}

func integer[T uint16 | uint32 | uint64](d *genesisDecoder, dst *T, bits int) func(string, any) {
	return func(path string, v any) { *dst = T(d.number(path, v, bits)) }
}

func (d *genesisDecoder) text(dst *string) func(string, any) {
	return func(path string, v any) {
		s, ok := v.(string)
		if !ok {
			d.fail(path, "not a string")
		}
		*dst = s
	}
}

func (d *genesisDecoder) binary(dst interface{ UnmarshalText([]byte) error }) func(string, any) {
	return func(path string, v any) {
		s, ok := v.(string)
		if !ok {
			d.fail(path, "not a string")
			return
		}
		if err := dst.UnmarshalText([]byte(s)); err != nil {
			d.fail(path, "%w", err)
		}
	}
}

func (d *genesisDecoder) time(dst *time.Time) func(string, any) {
	return func(path string, v any) {
		s, _ := v.(string)
		t, err := time.Parse(time.RFC3339Nano, s)
		// Parse alone takes more than the RFC has
		if err != nil || t.UTC().Format(time.RFC3339Nano) != s {
			d.fail(path, "not a time as in RFC 3339, in UTC and in its shortest form")
		}
		*dst = t.UTC()
	}
}
