package vault

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/waybill-network/waybill/node/committee/ballot"
	"github.com/waybill-network/waybill/node/signer"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// format names the files of Export (docs/keeping.md).
const format = "waybill-signed/1"

// Errors of Import.
var (
	ErrFormat  = errors.New("vault: not a file of what was signed")
	ErrNetwork = errors.New("vault: what was signed is of another network")
)

// Signed is all that a vault knows of what its keys signed, as a file says it.
type Signed struct {
	Format       string            `json:"format"`
	Network      rollup.Network    `json:"network"`
	ChainID      string            `json:"chain_id"`
	ConsensusKey ledger.Key        `json:"consensus_key"`
	DutyKey      ledger.BLSKey     `json:"duty_key"`
	Exported     time.Time         `json:"exported"`
	Votes        LastVote          `json:"votes"`
	Below        map[string]uint64 `json:"below"` // by kind
	Statements   []SignedStatement `json:"statements"`
}

// LastVote is up to where votes were cast: nothing at it or below it may be.
type LastVote struct {
	Height int64 `json:"height"`
	Round  int32 `json:"round"`
	Step   int8  `json:"step"`
}

// SignedStatement is a slot, and what was said in it. Without Said nothing may be said there.
type SignedStatement struct {
	Kind   string       `json:"kind"`
	Number uint64       `json:"number"`
	Node   uint32       `json:"node,omitzero"`
	Part   uint32       `json:"part,omitzero"`
	Said   *rollup.Hash `json:"said,omitempty"`
}

// Export returns all that was signed.
func (v *Vault) Export() (*Signed, error) {
	entries, err := v.memory.all()
	if err != nil {
		return nil, err
	}
	last := v.votes.State()
	out := &Signed{Format: format, Network: v.Network, ChainID: v.ChainID,
		ConsensusKey: v.ConsensusKey, DutyKey: v.DutyKey,
		Exported:   time.Now().UTC().Truncate(time.Second),
		Votes:      LastVote{last.Height, last.Round, last.Step},
		Below:      make(map[string]uint64),
		Statements: make([]SignedStatement, len(entries))}
	for kind, number := range v.memory.below {
		out.Below[kind.String()] = number
	}
	for i, e := range entries {
		out.Statements[i] = SignedStatement{Kind: e.slot.Kind.String(), Number: e.slot.Number,
			Node: e.slot.Node, Part: e.slot.Part}
		if e.what != (rollup.Hash{}) {
			out.Statements[i].Said = &entries[i].what
		}
	}
	return out, nil
}

// ReadSigned reads a file of Export: ErrFormat.
func ReadSigned(r io.Reader) (*Signed, error) {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	s := new(Signed)
	if err := d.Decode(s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if s.Format != format {
		return nil, fmt.Errorf("%w: format %q, this program knows %q", ErrFormat, s.Format, format)
	}
	if s.Votes.Height < 0 || s.Votes.Round < 0 || s.Votes.Step < 0 || s.Votes.Step > 3 {
		return nil, fmt.Errorf("%w: votes %+v", ErrFormat, s.Votes)
	}
	return s, nil
}

// Imported says what Import changed.
type Imported struct {
	Added  int   `json:"added"`  // statements
	Closed int   `json:"closed"` // slots in which the two said different things: nothing more is
	Height int64 `json:"height"` // of the last vote, of both
}

// Import adds what another signer of the same keys signed to what the vault of a folder knows. It
// never takes anything away, so it may be repeated. The vault opens from then on. Errors:
// ErrFormat, ErrNetwork, ErrKeys, and those of Open.
func Import(dir string, password []byte, s *Signed) (*Imported, error) {
	v, err := open(dir, password, openStore)
	if err != nil {
		return nil, err
	}
	done, err := v.add(s)
	if err := errors.Join(err, v.Close()); err != nil {
		return nil, err
	}
	return done, Finish(dir)
}

func (v *Vault) add(s *Signed) (*Imported, error) {
	switch {
	case s.Network != v.Network || s.ChainID != v.ChainID:
		return nil, fmt.Errorf("%w: %s (%s)", ErrNetwork, s.Network, s.ChainID)
	case s.ConsensusKey != v.ConsensusKey || s.DutyKey != v.DutyKey:
		return nil, fmt.Errorf("%w: consensus key %s", ErrKeys, s.ConsensusKey)
	}
	below := make(map[signer.Kind]uint64)
	for name, number := range s.Below {
		kind, ok := signer.KindOf(name)
		if !ok {
			return nil, fmt.Errorf("%w: kind %q", ErrFormat, name)
		}
		below[kind] = number
	}
	entries := make([]entry, len(s.Statements))
	for i, x := range s.Statements {
		kind, ok := signer.KindOf(x.Kind)
		if !ok {
			return nil, fmt.Errorf("%w: kind %q", ErrFormat, x.Kind)
		}
		entries[i].slot = signer.Slot{Kind: kind, Number: x.Number, Node: x.Node, Part: x.Part}
		if x.Said != nil {
			entries[i].what = *x.Said
		}
	}
	err := v.votes.Raise(ballot.State{Height: s.Votes.Height, Round: s.Votes.Round,
		Step: s.Votes.Step})
	if err != nil {
		return nil, err
	}
	done := new(Imported)
	done.Added, done.Closed, err = v.memory.merge(entries, below)
	done.Height = v.votes.State().Height
	return done, err
}
