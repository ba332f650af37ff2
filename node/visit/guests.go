package visit

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/manifest"
)

// guest is a client that nobody has seen before.
type guest struct {
	key   *bls.SecretKey
	index uint64
}

// maxLife is for how many epochs a guest's grant is good at most: that of no client is for one
// epoch alone.
const maxLife = 24

// guests makes fresh clients at a payer's cost, and waits until the ledger has them.
func (v *Visitor) guests(ctx context.Context, n int, sites []*site, purse *purse) (list []*guest,
	fees uint64, err error) {
	view := v.cfg.Chain.View()
	params := view.Params()
	fees = uint64(n) * params.GrantFee
	payer, account, ok := v.payer(view, purse, fees)
	if !ok {
		return nil, 0, ErrNoPayer
	}
	var services []uint32
	for _, s := range sites {
		services = append(services, s.service)
	}
	network, from := view.Network(), view.Epoch()
	var keys []ledger.BLSKey
	var grants []ledger.Grant
	for range n {
		seed := make([]byte, 32)
		_, _ = rand.Read(seed) // it never fails
		sk, err := bls.KeyGen(seed)
		if err != nil {
			return nil, 0, err
		}
		key := ledger.BLSKey(sk.PublicKey().Bytes())
		list, keys = append(list, &guest{key: sk}), append(keys, key)
		life := min(2+mathrand.N(uint32(maxLife)), params.GrantEpochs)
		grants = append(grants, ledger.NewGrant(network, payer, ledger.Grant{Payer: account.Index,
			Key:      key,
			Proof:    ledger.ProvePossession(sk, network, rollup.RoleClient, ledger.KeyOf(payer)),
			Services: ledger.Services(services...), Numbers: ledger.Forever, From: from,
			Until: from + life}))
	}
	ctx, cancel := context.WithTimeout(ctx, grantWithin)
	defer cancel()
	if err := v.cfg.Chain.SubmitTx(ctx, ledger.NewGrants(network, grants)); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrGrants, err)
	}
	for i := range keys {
		for {
			index, ok := v.cfg.Chain.View().ClientByKey(keys[i])
			if list[i].index = index; ok {
				break
			}
			if !sleep(ctx, 100*time.Millisecond) {
				return nil, fees, ErrGrants
			}
		}
	}
	return list, fees, nil
}

// payer chooses who pays: a random one of those that can.
func (v *Visitor) payer(view *ledger.View, purse *purse, fees uint64) (ed25519.PrivateKey,
	ledger.Account, bool) {
	if !purse.pay(fees) {
		return nil, ledger.Account{}, false
	}
	for _, i := range mathrand.Perm(len(v.cfg.Payers)) {
		key := v.cfg.Payers[i]
		account, ok := view.AccountByKey(ledger.KeyOf(key))
		if ok && account.Balance >= fees && account.Reserve > 0 {
			return key, account, true
		}
	}
	return nil, ledger.Account{}, false
}

// purse is what may still be spent in an epoch. It is safe for concurrent use.
type purse struct {
	mu             sync.Mutex
	bytes, credits uint64
}

func (p *purse) pay(credits uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if credits > p.credits {
		return false
	}
	p.credits -= credits
	return true
}

// take takes what a visit may cost at most, unless there is not so much left.
func (p *purse) take(bytes, price uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	cost := costOf(bytes, price)
	if bytes > p.bytes || cost > p.credits {
		return false
	}
	p.bytes -= bytes
	p.credits -= cost
	return true
}

// back gives back what a visit did not need.
func (p *purse) back(bytes, price, used uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	used = min(used, bytes)
	p.bytes += bytes - used
	p.credits += costOf(bytes, price) - costOf(used, price)
}

// costOf is what bytes cost at a price of 2^20, in micro-credits, at most: bytes are below 2^24
// here, and prices at most 2^40.
func costOf(bytes, price uint64) uint64 {
	const unit = 1 << 20
	whole, rest := bytes/unit, bytes%unit
	return whole*price + (rest*(price>>20) + (rest*(price&(unit-1)))/unit) + 1
}

// site is what may be asked for of a service.
type site struct {
	service uint32
	price   uint64
	owner   [32]byte
	entries []manifest.Entry
}

// page is one thing that is asked for.
type page struct {
	site *site
	manifest.Entry
}

// sites returns some sites at random, whose content is not dearer than everything may be.
func (v *Visitor) sites() (list []*site) {
	view := v.cfg.Chain.View()
	all := v.cfg.Sites()
	for _, i := range mathrand.Perm(len(all)) {
		m := all[i]
		service, ok := view.Service(m.Service)
		if !ok || len(m.Entries) == 0 || costOf(Most, service.PriceIn(view.Epoch())) > v.cfg.Cost {
			continue
		}
		owner, ok := view.Account(service.Owner)
		if !ok {
			continue
		}
		list = append(list, &site{m.Service, service.PriceIn(view.Epoch()), owner.Key, m.Entries})
		if len(list) == maxSites {
			break
		}
	}
	return list
}

// page chooses what is asked for.
func (s *site) page() page { return page{s, s.entries[mathrand.N(len(s.entries))]} }
