package registry

import "encoding/binary"

var le = binary.LittleEndian

// Sizes of leaves and of a BLS public key in bytes.
const (
	ClientSize   = 128
	NodeSize     = 150
	ServiceSize  = 32
	ProofKeySize = 44

	KeySize = 96
)

// None stands for a service that is not named, and for an end that no epoch reaches.
const None = 1<<32 - 1

// MaxServices is how many services a client can be granted.
const MaxServices = 3

// MaxCap is the largest cap and the largest price of a service.
const MaxCap = 1 << 40

// Client is a key that may use some services at a payer's cost. Of all this only Until changes.
type Client struct {
	Key      [KeySize]byte       // BLS
	Payer    uint32              // account
	Since    uint32              // the first epoch
	Until    uint32              // the first epoch in which it is no more, above Since
	Numbers  uint32              // how many it may use at one node for one service in one epoch
	Services [MaxServices]uint32 // ascending, one at least; the rest is None
}

// ValidIn reports whether the client may acknowledge in an epoch.
func (c *Client) ValidIn(epoch uint32) bool { return c.Since <= epoch && epoch < c.Until }

// Uses reports whether the client was granted a service.
func (c *Client) Uses(service uint32) bool {
	for _, s := range c.Services {
		if s == service {
			return s != None
		}
	}
	return false
}

// Append appends the leaf to dst.
func (c *Client) Append(dst []byte) []byte {
	dst = append(dst, c.Key[:]...)
	for _, v := range [...]uint32{c.Payer, c.Since, c.Until, c.Numbers} {
		dst = le.AppendUint32(dst, v)
	}
	for _, s := range c.Services {
		dst = le.AppendUint32(dst, s)
	}
	return append(dst, 0, 0, 0, 0)
}

// ParseClient decodes a client's leaf: ReasonLength, ReasonField. The key is not looked at.
func ParseClient(b []byte) (c Client, err error) {
	if len(b) != ClientSize {
		return c, refuse(ReasonLength, "a client of %d bytes", len(b))
	}
	r := fields(b)
	r.fill(c.Key[:])
	c.Payer, c.Since, c.Until, c.Numbers = r.u32(), r.u32(), r.u32(), r.u32()
	for i := range c.Services {
		c.Services[i] = r.u32()
	}
	if rest := r.u32(); rest != 0 {
		return c, refuse(ReasonField, "a client's rest is %08x", rest)
	}
	if c.Since >= c.Until {
		return c, refuse(ReasonField, "a client since %d until %d", c.Since, c.Until)
	}
	return c, checkServices(&c.Services)
}

// checkServices checks that services ascend, that one is named, and that the rest is None.
func checkServices(services *[MaxServices]uint32) error {
	if services[0] == None {
		return refuse(ReasonField, "a client without a service")
	}
	for i, s := range services[1:] {
		if before := services[i]; s <= before && !(s == None && before == None) {
			return refuse(ReasonField, "service %d behind %d", s, before)
		}
	}
	return nil
}

// Status is what a node is to the committee.
type Status uint8

// What a node can be.
const (
	Idle      Status = iota // it does not stand for the committee
	Standing                // it does
	Jailed                  // it was absent, and may come back
	Leaving                 // its stake is bonded until its duties end
	Gone                    // it has left
	Convicted               // it was slashed
)

// Node is a node's keys, owner and stake.
type Node struct {
	Key     [KeySize]byte // BLS
	NodeKey [32]byte      // Ed25519: of its transport and of its words
	Owner   uint32        // account
	Since   uint32        // the first epoch
	Until   uint32        // the first epoch in which it is no more
	Stake   uint64
	Status  Status
}

// Append appends the leaf to dst.
func (n *Node) Append(dst []byte) []byte {
	dst = append(append(dst, n.Key[:]...), n.NodeKey[:]...)
	for _, v := range [...]uint32{n.Owner, n.Since, n.Until} {
		dst = le.AppendUint32(dst, v)
	}
	dst = le.AppendUint64(dst, n.Stake)
	return append(dst, byte(n.Status), 0)
}

// ParseNode decodes a node's leaf: ReasonLength, ReasonField. The keys are not looked at.
func ParseNode(b []byte) (n Node, err error) {
	if len(b) != NodeSize {
		return n, refuse(ReasonLength, "a node of %d bytes", len(b))
	}
	r := fields(b)
	r.fill(n.Key[:])
	r.fill(n.NodeKey[:])
	n.Owner, n.Since, n.Until = r.u32(), r.u32(), r.u32()
	n.Stake = r.u64()
	n.Status = Status(r[0])
	switch {
	case n.Status > Convicted:
		return n, refuse(ReasonField, "a node of status %d", n.Status)
	case r[1] != 0:
		return n, refuse(ReasonField, "a node's rest is %02x", r[1])
	case n.Since > n.Until:
		return n, refuse(ReasonField, "a node since %d until %d", n.Since, n.Until)
	}
	return n, nil
}

// Service is what a service costs, and the most that one ack can count.
type Service struct {
	Owner     uint32 // account
	Cap       uint64 // most units of an ack, for ever
	Price     uint64 // of 2^20 units, in epochs before From
	NextPrice uint64 // from From on, not above Price
	From      uint32 // epoch
}

// PriceIn returns the price in an epoch.
func (s *Service) PriceIn(epoch uint32) uint64 {
	if epoch < s.From {
		return s.Price
	}
	return s.NextPrice
}

// Append appends the leaf to dst.
func (s *Service) Append(dst []byte) []byte {
	dst = le.AppendUint32(dst, s.Owner)
	for _, v := range [...]uint64{s.Cap, s.Price, s.NextPrice} {
		dst = le.AppendUint64(dst, v)
	}
	return le.AppendUint32(dst, s.From)
}

// ParseService decodes a service's leaf: ReasonLength, ReasonField.
func ParseService(b []byte) (s Service, err error) {
	if len(b) != ServiceSize {
		return s, refuse(ReasonLength, "a service of %d bytes", len(b))
	}
	r := fields(b)
	s.Owner = r.u32()
	s.Cap, s.Price, s.NextPrice = r.u64(), r.u64(), r.u64()
	s.From = r.u32()
	switch {
	case s.Cap < 1 || s.Cap > MaxCap:
		return s, refuse(ReasonField, "a cap of %d", s.Cap)
	case s.Price > MaxCap:
		return s, refuse(ReasonField, "a price of %d", s.Price)
	case s.NextPrice > s.Price:
		return s, refuse(ReasonField, "a next price of %d above %d", s.NextPrice, s.Price)
	}
	return s, nil
}

// ProofKey is a verifying key that proofs of some epochs are checked under.
type ProofKey struct {
	Size   uint32 // of the circuit, in statements
	Digest Hash   // BLAKE3 of the verifying key
	From   uint32 // the first epoch
	Until  uint32 // the first epoch in which it is suspended
}

// ValidIn reports whether proofs of an epoch are checked under the key.
func (p *ProofKey) ValidIn(epoch uint32) bool { return p.From <= epoch && epoch < p.Until }

// Append appends the leaf to dst.
func (p *ProofKey) Append(dst []byte) []byte {
	dst = append(le.AppendUint32(dst, p.Size), p.Digest[:]...)
	return le.AppendUint32(le.AppendUint32(dst, p.From), p.Until)
}

// ParseProofKey decodes a proof key's leaf: ReasonLength, ReasonField.
func ParseProofKey(b []byte) (p ProofKey, err error) {
	if len(b) != ProofKeySize {
		return p, refuse(ReasonLength, "a proof key of %d bytes", len(b))
	}
	r := fields(b)
	p.Size = r.u32()
	r.fill(p.Digest[:])
	p.From, p.Until = r.u32(), r.u32()
	if p.Size == 0 {
		return p, refuse(ReasonField, "a proof key for no statements")
	}
	return p, nil
}

// fields takes fields off the front of bytes whose length was checked.
type fields []byte

func (f *fields) fill(dst []byte) { *f = (*f)[copy(dst, *f):] }

func (f *fields) u32() (v uint32) {
	v, *f = le.Uint32(*f), (*f)[4:]
	return v
}

func (f *fields) u64() (v uint64) {
	v, *f = le.Uint64(*f), (*f)[8:]
	return v
}
