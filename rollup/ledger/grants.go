package ledger

import (
	"crypto/ed25519"
	"errors"
	"slices"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
)

// MaxGrants is how many grants one transaction can carry, or clients one can revoke.
const MaxGrants = 1024

// Forever is the until and the number of numbers of a grant without bounds of its own.
const Forever = 1<<32 - 1

// Grants is the payload of grants: it makes clients. It has no sender, since each grant has its
// payer's signature and a copy does what its payer wanted. Each stands or falls alone, and the
// transaction is refused only when all fall.
type Grants struct {
	Grants []Grant `json:"grants"` // 1 to MaxGrants

	fell    []error // why each fell so far, nil for one that stands
	digests []rollup.Hash
}

const grantSize = 4 + 96 + 48 + 3*4 + 4 + 4 + 4 + 64

// Grant is a payer's word (section 3): who holds the key may use these services at my cost.
type Grant struct {
	Payer     uint32       `json:"payer"` // account
	Key       BLSKey       `json:"bls_key"`
	Proof     BLSSignature `json:"proof"`    // of possession, for the payer
	Services  [3]uint32    `json:"services"` // ascending, rollup.NoService behind the last
	Numbers   uint32       `json:"numbers"`  // acks for a node and service in an epoch
	From      uint32       `json:"from"`     // the first epoch in which it can be executed
	Until     uint32       `json:"until"`    // the first one in which it and its client are over
	Signature Signature    `json:"signature"`
}

// Services returns up to three services as a grant has them. More are left out.
func Services(list ...uint32) (services [3]uint32) {
	services = [3]uint32{rollup.NoService, rollup.NoService, rollup.NoService}
	list = slices.Clone(list)
	slices.Sort(list)
	copy(services[:], slices.Compact(list))
	return services
}

// GrantMessage returns what the payer signs.
func GrantMessage(net rollup.Network, payer Key, g *Grant) []byte {
	b := append([]byte("wb-grt/2"), net[:]...)
	b = append(b, payer[:]...)
	b = append(b, g.Key[:]...)
	return g.appendTerms(b)
}

// appendTerms appends what the payer decides.
func (g *Grant) appendTerms(b []byte) []byte {
	for _, service := range g.Services {
		b = le.AppendUint32(b, service)
	}
	b = le.AppendUint32(b, g.Numbers)
	b = le.AppendUint32(b, g.From)
	return le.AppendUint32(b, g.Until)
}

// NewGrant returns the grant with the payer's signature. Its proof must be for the payer:
// ProvePossession of the client's key makes it.
func NewGrant(net rollup.Network, payer ed25519.PrivateKey, g Grant) Grant {
	g.Signature = Signature(ed25519.Sign(payer, GrantMessage(net, KeyOf(payer), &g)))
	return g
}

// NewGrants builds the transaction that makes clients of 1 to MaxGrants grants.
func NewGrants(net rollup.Network, grants []Grant) []byte {
	return (&Grants{Grants: grants}).append(head(net, KindGrants))
}

func (p *Grants) decode(r *reader) {
	n := r.U16()
	if n == 0 || n > MaxGrants {
		r.Fail("%d grants, where 1 to %d may be", n, MaxGrants)
	}
	p.Grants = make([]Grant, r.Count(uint64(n), grantSize))
	for i := range p.Grants {
		g := &p.Grants[i]
		g.Payer = r.U32()
		r.Fill(g.Key[:])
		r.Fill(g.Proof[:])
		for k := range g.Services {
			g.Services[k] = r.U32()
		}
		g.Numbers, g.From, g.Until = r.U32(), r.U32(), r.U32()
		r.Fill(g.Signature[:])
	}
}

func (p *Grants) append(b []byte) []byte {
	b = le.AppendUint16(b, uint16(len(p.Grants)))
	for i := range p.Grants {
		b = p.Grants[i].append(b)
	}
	return b
}

func (g *Grant) append(b []byte) []byte {
	b = le.AppendUint32(b, g.Payer)
	b = append(b, g.Key[:]...)
	b = append(b, g.Proof[:]...)
	b = g.appendTerms(b)
	return append(b, g.Signature[:]...)
}

// Fallen is a grant that makes no client.
type Fallen struct {
	Grant int   // its place in the transaction
	Err   error // a *Refusal
}

// Code returns why the grant fell.
func (f *Fallen) Code() (code TxCode) {
	errors.As(f.Err, &code)
	return code
}

// outcome says what became of the transaction: the refusal of the first grant when none stands.
func (p *Grants) outcome() error {
	if slices.Contains(p.fell, nil) {
		return nil
	}
	return p.fell[0]
}

// whole implements inParts.
func (p *Grants) whole() bool {
	return !slices.ContainsFunc(p.fell, func(err error) bool { return err != nil })
}

func (p *Grants) judge(w *world, _ *Tx, _ *account) error {
	if err := room("clients", w.clients.size(), len(p.Grants), rollup.MaxClients); err != nil {
		return err
	}
	p.fell = make([]error, len(p.Grants))
	for i := range p.Grants {
		p.fell[i] = p.Grants[i].judge(w)
	}
	return p.outcome()
}

// judge checks what a grant says against the state, without signatures.
func (g *Grant) judge(w *world) error {
	epoch := w.epoch()
	switch {
	case epoch >= g.Until:
		return refuse(CodeExpired, "until epoch %d, now %d", g.Until, epoch)
	case epoch < g.From:
		return refuse(CodeTooEarly, "from epoch %d on, now %d", g.From, epoch)
	case uint64(g.Until) > uint64(g.From)+uint64(w.params.GrantEpochs):
		return refuse(CodeOutOfRange, "from epoch %d until %d, where %d epochs may be", g.From, g.Until,
			w.params.GrantEpochs)
	case g.Payer == 0 || !w.accounts.has(g.Payer):
		return refuse(CodeUnknownPayer, "%d", g.Payer)
	case w.accounts.at(g.Payer).balance < w.params.GrantFee:
		return refuse(CodeInsufficientBalance, "payer %d has %d, the fee of a grant is %d", g.Payer,
			w.accounts.at(g.Payer).balance, w.params.GrantFee)
	case w.taken(&g.Key):
		return refuse(CodeKeyTaken, "BLS key %s", g.Key)
	}
	return g.judgeServices(w)
}

func (g *Grant) judgeServices(w *world) error {
	if g.Services[0] == rollup.NoService {
		return refuse(CodeOutOfRange, "no service")
	}
	for i, service := range g.Services {
		if i > 0 && service <= g.Services[i-1] && service != rollup.NoService {
			return refuse(CodeOutOfRange, "services %v are not ascending", g.Services)
		}
		if service != rollup.NoService && !w.services.has(service) {
			return refuse(CodeUnknownService, "%d", service)
		}
	}
	return nil
}

// verify claims payers' signatures and proofs of the grants that stand and did not verify before.
func (p *Grants) verify(w *world, _ *Tx, c *claims, _ *error) error {
	p.digests = make([]rollup.Hash, len(p.Grants))
	var buf [grantSize]byte
	for i := range p.Grants {
		g, at := &p.Grants[i], &p.fell[i]
		if *at != nil {
			continue
		}
		p.digests[i] = blake3.Sum256(g.append(buf[:0]))
		if w.granted.has(&p.digests[i]) {
			continue
		}
		payer := w.accounts.at(g.Payer).key
		c.word(claim{at, errPayer}, payer, GrantMessage(w.id, payer, g), g.Signature)
		c.possession(claim{at, errProof}, w.id,
			possession{rollup.RoleClient, payer, &g.Key, &g.Proof})
	}
	return nil
}

// conclude implements inParts: it remembers which grants verified, and says who has a key that
// several name. Grants are remembered one by one only when not all verified: a whole transaction is
// remembered as one.
func (p *Grants) conclude(w *world, known bool) error {
	single := !known && !p.whole()
	for i, err := range p.fell {
		if p.fell[i] = coded(err); err == nil && single {
			w.granted.add(&p.digests[i], nil)
		}
	}
	p.fellRepeated()
	p.fellUnpaid(w)
	return p.outcome()
}

// fellRepeated lets the first of the grants that stand have a key that several name.
func (p *Grants) fellRepeated() {
	seen := make(map[BLSKey]bool, len(p.Grants))
	for i := range p.Grants {
		key := &p.Grants[i].Key
		switch {
		case p.fell[i] != nil:
		case seen[*key]:
			p.fell[i] = refuse(CodeKeyTaken, "by another grant of the transaction")
		default:
			seen[*key] = true
		}
	}
}

// fellUnpaid takes the fees of the grants that stand from their payers' balances, in order.
func (p *Grants) fellUnpaid(w *world) {
	fee, left := w.params.GrantFee, make(map[uint32]uint64)
	for i := range p.Grants {
		if p.fell[i] != nil || fee == 0 {
			continue
		}
		payer := p.Grants[i].Payer
		balance, seen := left[payer]
		if !seen {
			balance = w.accounts.at(payer).balance
		}
		if balance < fee {
			p.fell[i] = refuse(CodeInsufficientBalance, "payer %d has %d behind the grants before, the "+
				"fee is %d", payer, balance, fee)
			continue
		}
		left[payer] = balance - fee
	}
}

// execute makes a client of each grant that stands.
func (p *Grants) execute(s *State, _ uint32, r *Result) {
	r.Index = s.clients.size()
	for i := range p.Grants {
		g := &p.Grants[i]
		if p.fell[i] != nil {
			continue
		}
		if fee := s.params.GrantFee; fee > 0 {
			s.move(g.Payer, func(m *money) { m.balance -= fee })
			s.pay(0, fee)
		}
		c := &client{payer: g.Payer, since: s.epoch(), until: g.Until, taken: g.Until,
			numbers: g.Numbers, services: g.Services}
		c.key.bytes = g.Key
		s.addClient(c)
		r.Count++
	}
	s.events = append(s.events, ClientsGranted{First: r.Index, Count: r.Count})
}

// fallen lists the grants that fell.
func (p *Grants) fallen() (list []Fallen) {
	for i, err := range p.fell {
		if err != nil {
			list = append(list, Fallen{Grant: i, Err: err})
		}
	}
	return list
}
