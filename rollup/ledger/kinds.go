package ledger

// Kind is the kind of a transaction (section 8).
type Kind uint8

// The kinds. Numbers may have gaps.
const (
	KindDeposit Kind = 1 + iota
	KindTransfer
	KindRegisterNode
	KindRegisterService
	KindGrants
	KindRevoke
	KindTicket
	KindRecord
)

// The numbers that are left out are free.
const (
	KindStand      Kind = 9
	KindReport     Kind = 10
	KindReveal     Kind = 11
	KindReady      Kind = 12
	KindHandOver   Kind = 13
	KindEvidence   Kind = 14
	KindUnjail     Kind = 15
	KindUnstake    Kind = 16
	KindWithdraw   Kind = 17
	KindAddStake   Kind = 18
	KindReserve    Kind = 19
	KindThaw       Kind = 20
	KindAllowance  Kind = 22
	KindLowerPrice Kind = 23
	KindProofKey   Kind = 25
	KindPlan       Kind = 26
)

// Payload is what a transaction of one kind carries and does. Each kind has a type, a file with all
// of the type's methods, and a line in the table below; the kind's tests find what else is missing.
//
// A transaction passes judge and verify, which only read, and then execute, which cannot fail. That
// is why it is atomic. Between verify and execute all signatures are verified, those of many
// transactions together.
type Payload interface {
	// decode reads what append wrote. Failures stay in the reader.
	decode(r *reader)
	// append appends the encoding to b.
	append(b []byte) []byte
	// judge checks the payload against the state, at little cost. The sender is nil unless the kind
	// is one of accounts.
	judge(w *world, tx *Tx, sender *account) error
	// verify checks keys, and adds the signatures that the payload rests on to the claims; why one
	// of them does not verify belongs to at. What passed once is not asked for again, so it depends
	// on nothing but the transaction and on what a genesis, a registration or a settlement fixed for
	// good.
	verify(w *world, tx *Tx, c *claims, at *error) error
	// execute does what was found possible, with the sender's account, and notes in the result what
	// was created.
	execute(s *State, sender uint32, r *Result)
}

// inParts is a payload whose parts stand or fall alone.
type inParts interface {
	// whole reports whether all parts stand so far.
	whole() bool
	// conclude is asked when the claims are verified; known says that they were before, all of them.
	// The error is that of a transaction of which no part stands.
	conclude(w *world, known bool) error
	// fallen lists the parts that fell.
	fallen() []Fallen
}

// sender says who signs a transaction and counts it.
type sender uint8

const (
	senderAccount  sender = iota // an account, which signs with its key
	senderTreasury               // the treasury, whose count is its own
	senderNone                   // nobody: the payload proves itself
)

// kind is one line of the table of kinds.
type kind struct {
	name   string
	sender sender
	make   func() Payload // an empty one, to decode into
}

var kinds = [...]kind{
	KindDeposit:  {"deposit", senderTreasury, func() Payload { return new(Deposit) }},
	KindTransfer: {"transfer", senderAccount, func() Payload { return new(Transfer) }},
	KindRegisterNode: {"register_node", senderAccount,
		func() Payload { return new(NodeRegistration) }},
	KindRegisterService: {"register_service", senderAccount,
		func() Payload { return new(ServiceRegistration) }},
	KindGrants: {"grants", senderNone, func() Payload { return new(Grants) }},
	KindRevoke: {"revoke", senderAccount, func() Payload { return new(Revocation) }},
	KindTicket: {"ticket", senderNone, func() Payload { return new(Ticket) }},
	KindRecord: {"record_certificate", senderNone,
		func() Payload { return new(RecordCertificate) }},
	KindStand:      {"stand", senderAccount, func() Payload { return new(Stand) }},
	KindReport:     {"report", senderNone, func() Payload { return new(Report) }},
	KindReveal:     {"reveal", senderNone, func() Payload { return new(Reveal) }},
	KindReady:      {"ready", senderNone, func() Payload { return new(Ready) }},
	KindHandOver:   {"hand_over", senderNone, func() Payload { return new(HandOver) }},
	KindUnjail:     {"unjail", senderAccount, func() Payload { return new(Unjail) }},
	KindEvidence:   {"evidence", senderNone, func() Payload { return new(Evidence) }},
	KindUnstake:    {"unstake", senderAccount, func() Payload { return new(Unstake) }},
	KindWithdraw:   {"withdraw", senderAccount, func() Payload { return new(Withdraw) }},
	KindAddStake:   {"add_stake", senderAccount, func() Payload { return new(AddStake) }},
	KindReserve:    {"reserve", senderAccount, func() Payload { return new(Reserve) }},
	KindThaw:       {"thaw", senderAccount, func() Payload { return new(Thaw) }},
	KindAllowance:  {"allowance", senderAccount, func() Payload { return new(Allowance) }},
	KindLowerPrice: {"lower_price", senderAccount, func() Payload { return new(PriceCut) }},
	KindProofKey:   {"proof_key", senderNone, func() Payload { return new(ProofKeyChange) }},
	KindPlan:       {"plan", senderNone, func() Payload { return new(Plan) }},
}

// Kinds returns all kinds, ascending.
func Kinds() (all []Kind) {
	for k := range kinds {
		if kinds[k].make != nil {
			all = append(all, Kind(k))
		}
	}
	return all
}

// known reports whether there is such a kind.
func (k Kind) known() bool { return int(k) < len(kinds) && kinds[k].make != nil }

// String returns the name of the kind.
func (k Kind) String() string {
	if !k.known() {
		return "unknown"
	}
	return kinds[k].name
}

// MarshalText implements [encoding.TextMarshaler].
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }
