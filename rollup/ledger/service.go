package ledger

import (
	"crypto/ed25519"
	"math"
	"math/bits"

	"github.com/waybill-network/waybill/rollup"
)

// MaxPrice is the highest price, in micro-credits per 2^20 units.
const MaxPrice = 1 << 40

// ServiceRegistration is the payload of register service.
type ServiceRegistration struct {
	Price   uint64 `json:"price,string"`    // micro-credits per 2^20 units
	UnitCap uint64 `json:"unit_cap,string"` // units of one ack
	Unit    string `json:"unit"`
}

// NewRegisterService builds the registration of a service that the sender owns.
func NewRegisterService(
	net rollup.Network, owner ed25519.PrivateKey, nonce uint64, service *ServiceRegistration,
) []byte {
	return sign(net, KindRegisterService, owner, nonce, service)
}

func (p *ServiceRegistration) decode(r *reader) {
	p.Price, p.UnitCap, p.Unit = r.U64(), r.U64(), r.Name()
}

func (p *ServiceRegistration) append(b []byte) []byte {
	b = le.AppendUint64(b, p.Price)
	b = le.AppendUint64(b, p.UnitCap)
	return appendName(b, p.Unit)
}

func (p *ServiceRegistration) judge(w *world, _ *Tx, _ *account) error {
	// A price times a cap of 2^64 is still allowed; it has no lower bits.
	hi, lo := bits.Mul64(p.Price, p.UnitCap)
	if p.Price > MaxPrice || p.UnitCap < 1 || p.UnitCap > rollup.MaxUnitCap ||
		hi > 1 || hi == 1 && lo > 0 {
		return refuse(CodeOutOfRange, "price %d with cap %d", p.Price, p.UnitCap)
	}
	return room("services", uint64(w.services.len()), 1, math.MaxUint32)
}

func (p *ServiceRegistration) verify(*world, *Tx, *claims, *error) error { return nil }

func (p *ServiceRegistration) execute(s *State, sender uint32, r *Result) {
	service := Service{Owner: sender, Unit: p.Unit, Price: p.Price, NextPrice: p.Price,
		UnitCap: p.UnitCap}
	index := s.addService(service)
	r.Index, r.Count = uint64(index), 1
	s.events = append(s.events, ServiceRegistered{*s.services.at(index)})
}

func (s *State) addService(v Service) uint32 {
	v.Index = uint32(s.services.len())
	s.services.push(s.gen, v)
	s.touch(indexKey(prefixService, v.Index))
	return v.Index
}
