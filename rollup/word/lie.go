package word

import "github.com/waybill-network/waybill/rollup"

// Lie says what evidence is of. Those below firstShown convict on chain.
type Lie uint8

// The lies.
const (
	LieTwoRollups   Lie = 1 // two rollups of a window
	LieTwoTickets   Lie = 2 // two tickets of a window
	LieNumberTwice  Lie = 3 // a number twice, in two tickets
	LieTwoRecords   Lie = 4 // two records of a height
	LieTwoHandovers Lie = 5 // two hand-overs of a term

	LieRefused     Lie = 16 // refused and included
	LieTwoOffers   Lie = 17 // two offers of a window
	LiePrice       Lie = 18 // a price above the service's
	LieContent     Lie = 19 // a root that the manifest does not have
	LieInvalid     Lie = 20 // a ticket for what cannot be valid
	LieTwoAcks     Lie = 21 // two contents of a number
	LieTwoCosigned Lie = 22 // two roots of a window co-signed
)

const firstShown = LieRefused

// OnChain reports whether the lie convicts on chain, as a transaction of kind 14.
func (l Lie) OnChain() bool { return l < firstShown }

// Registry is what is known of those who may have lied.
type Registry interface {
	rollup.Registry
	// Committee returns the committee of a term.
	Committee(term uint32) (*rollup.Committee, bool)
	// Price returns the price of a service in an epoch.
	Price(service, epoch uint32) (uint64, bool)
	// Rollups returns how many rollups a block ordered, and the root over their ids, as the record
	// says that the evidence comes with; false without one.
	Rollups() (count uint32, root rollup.Hash, ok bool)
}

// Verdict says who lied.
type Verdict struct {
	Lie     Lie
	Epoch   uint32   // of what was said
	Nodes   []uint32 // ascending: the node itself, or the members
	Clients []uint64
}

// Evidence is two words that exclude each other, or one that cannot be true.
type Evidence interface {
	// Lie says what it is of.
	Lie() Lie
	// Judge checks the evidence and returns who lied. The error is a Reason: it convicts nobody.
	Judge(network *rollup.Network, reg Registry) (Verdict, error)

	append(dst []byte) []byte
	needs() needs
}

// needs are the leaves that a judge asks for; nil for none.
type needs struct {
	node    *uint32
	client  *uint64
	service *uint32
	epoch   *uint32 // the record must be of this one
}

// Append appends the encoding of evidence: the lie (1), and what is to be said of it. It is the
// payload of kind 14, for lies that are on chain.
func Append(dst []byte, e Evidence) []byte { return e.append(append(dst, byte(e.Lie()))) }

// Parse decodes evidence and nothing after it. The error is ReasonMalformed, or ReasonSame or
// ReasonSlot for what the encoding shows already.
func Parse(b []byte) (Evidence, error) {
	e, err := parse(b, (*reader).evidence)
	if err != nil {
		return nil, err
	}
	return e, nil
}

// fail records a refusal with a reason of its own.
func (r *reader) fail(reason Reason, format string, args ...any) {
	if r.Err == nil {
		r.Err = refuse(reason, format, args...)
	}
	r.B = nil
}

func (r *reader) evidence() Evidence {
	switch lie := Lie(r.U8()); lie {
	case LieTwoRollups:
		return r.twoRollups()
	case LieTwoTickets:
		return r.twoTickets()
	case LieNumberTwice:
		return r.numberTwice()
	case LieTwoRecords:
		return r.twoRecords()
	case LieTwoHandovers:
		return r.twoHandOvers()
	case LieRefused:
		return r.refused()
	case LieTwoOffers:
		return r.twoOffers()
	case LiePrice:
		return r.price()
	case LieContent:
		return r.content()
	case LieInvalid:
		return r.invalid()
	case LieTwoAcks:
		return r.twoAcks()
	case LieTwoCosigned:
		return r.twoCosigned()
	default:
		r.Fail("no evidence of lie %d", uint8(lie))
		return nil
	}
}

// Path is an inclusion path; its entry is hashed by who has it.
type Path []rollup.Hash

func (p Path) append(dst []byte) []byte {
	dst = append(dst, byte(len(p)))
	for i := range p {
		dst = append(dst, p[i][:]...)
	}
	return dst
}

func (r *reader) path() Path {
	n := r.Count(uint64(r.U8()), len(rollup.Hash{}))
	p := make(Path, n)
	for i := range p {
		p[i] = r.hash()
	}
	return p
}

// leads checks that an entry is the one with an index, of count, under a root: ReasonPath.
func (p Path) leads(kind *rollup.TreeKind, entry []byte, index, count uint32,
	root rollup.Hash) error {
	err := rollup.VerifyPath(kind, root, kind.LeafHash(entry), uint64(index), uint64(count), p)
	if err != nil {
		return refuse(ReasonPath, "%w", err)
	}
	return nil
}
