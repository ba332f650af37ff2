package ledger

import (
	"bytes"
	"slices"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
)

// Keys of records: a prefix, then numbers, big-endian.
const (
	keyMeta    = "m" // one record, which every block changes
	keyAppHash = "z" // not part of what is hashed; the last

	prefixAccount     = 'a' // index
	prefixClient      = 'c' // index, of 64 bits
	prefixEpoch       = 'e' // epoch: where it starts, until it is settled
	prefixProofKey    = 'k' // size, from
	prefixRules       = 'l' // one record, once a plan was executed
	prefixNode        = 'n' // index
	prefixService     = 's' // index
	prefixSettlement  = 't' // epoch: height, rows and payers
	prefixRecord      = 'r' // height, of 64 bits: the record and the rollups
	prefixCertificate = 'v' // height: the record's certificate
	prefixWindows     = 'w' // epoch, node: what was ordered
	prefixCredit      = 'x' // epoch, node, service, payer
	prefixConvictions = 'y' // node: what it was convicted of

	// of networks whose committee rotates
	prefixRotation     = 'b' // one record: where it stands
	prefixTerm         = 'g' // term: its height, epoch and seats
	prefixCandidates   = 'h' // one record
	prefixConsensusKey = 'i' // index
	prefixReports      = 'j' // epoch: what its reports are about, until they were audited
	prefixReport       = 'p' // epoch, node
	prefixCandidacy    = 'u' // node
	prefixDuties       = 'd' // epoch: what members did, until it is settled
)

var appKey = blake3.ContextKey("waybill/app/2")

func key(prefix byte, numbers ...uint32) string {
	b := append(make([]byte, 0, 17), prefix)
	for _, n := range numbers {
		b = be.AppendUint32(b, n)
	}
	return string(b)
}

func indexKey(prefix byte, index uint32) string { return key(prefix, index) }
func clientRecordKey(index uint64) string {
	return key(prefixClient, uint32(index>>32), uint32(index))
}

func epochKey(epoch uint32) string      { return key(prefixEpoch, epoch) }
func settlementKey(epoch uint32) string { return key(prefixSettlement, epoch) }
func recordKey(prefix byte, height uint64) string {
	return key(prefix, uint32(height>>32), uint32(height))
}

func windowsKey(epoch, node uint32) string { return key(prefixWindows, epoch, node) }

func proofKeyKey(statements, from uint32) string { return key(prefixProofKey, statements, from) }

func creditRecordKey(epoch uint32, k creditKey) string {
	return key(prefixCredit, epoch, k.node, k.service, k.payer)
}

// genesisHash is the application hash before the first block.
func genesisHash(digest rollup.Hash) rollup.Hash {
	var b [32 + 8 + 32]byte
	copy(b[40:], digest[:])
	return blake3.Keyed(&appKey, b[:])
}

func appHash(previous rollup.Hash, height int64, records []Record) rollup.Hash {
	var b []byte
	for _, r := range records {
		b = append(b, byte(len(r.Key)))
		b = append(b, r.Key...)
		if r.Value == nil {
			b = le.AppendUint32(b, 0)
			continue
		}
		b = le.AppendUint32(b, uint32(len(r.Value))+1)
		b = append(b, r.Value...)
	}
	digest := blake3.Sum256(b)
	b = append(b[:0], previous[:]...)
	b = le.AppendUint64(b, uint64(height))
	return blake3.Keyed(&appKey, append(b, digest[:]...))
}

// changes returns the records that the block changed, in key order.
func (s *State) changes() []Record {
	records := make([]Record, 0, len(s.dirty)+1)
	for k := range s.dirty { // order-free: sorted below
		records = append(records, Record{Key: []byte(k), Value: s.encode(k)})
	}
	slices.SortFunc(records, func(a, b Record) int { return bytes.Compare(a.Key, b.Key) })
	return records
}

// hashRecord holds the application hash.
func (s *State) hashRecord() Record {
	return Record{Key: []byte(keyAppHash), Value: bytes.Clone(s.appHash[:])}
}

// encode returns the value of a record, nil when there is none.
func (s *State) encode(k string) []byte {
	switch k {
	case keyMeta:
		return s.encodeMeta()
	case key(prefixRules):
		return s.rules.encode()
	case key(prefixRotation):
		return s.encodeRotation()
	case key(prefixCandidates):
		return s.encodeCandidates()
	}
	number := func(i int) uint32 { return be.Uint32([]byte(k[1+4*i:])) }
	switch k[0] {
	case prefixAccount:
		a := s.accounts.at(number(0))
		return a.append(nil)
	case prefixClient:
		return s.encodeClient(uint64(number(0))<<32 | uint64(number(1)))
	case prefixProofKey:
		i, known := s.proofKeys.search(number(0), number(1))
		if !known {
			return nil
		}
		return le.AppendUint32(append([]byte(nil), s.proofKeys[i].Key[:]...), s.proofKeys[i].Until)
	case prefixNode:
		n := s.nodes.at(number(0))
		b := le.AppendUint32(nil, n.owner)
		b = le.AppendUint64(b, n.stake)
		b = append(b, n.key[:]...)
		b = append(b, n.transport[:]...)
		b = le.AppendUint32(b, n.since)
		b = le.AppendUint32(b, n.until)
		return appendName(n.leaving.append(b), n.address)
	case prefixTerm, prefixReports, prefixConsensusKey, prefixCandidacy, prefixDuties:
		return s.encodeRotating(k[0], number(0))
	case prefixReport:
		return s.encodeReport(number(0), number(1))
	case prefixConvictions:
		return s.nodes.at(number(0)).encodeConvictions()
	case prefixService:
		v := s.services.at(number(0))
		b := le.AppendUint32(nil, v.Owner)
		b = le.AppendUint64(b, v.UnitCap)
		b = le.AppendUint64(b, v.Price)
		b = le.AppendUint64(b, v.NextPrice)
		b = le.AppendUint32(b, v.From)
		return appendName(b, v.Unit)
	case prefixWindows:
		var b []byte
		for _, x := range s.ordered.of(number(1), number(0)) {
			b = le.AppendUint32(b, x.first)
			b = le.AppendUint32(b, x.last)
		}
		return b
	case prefixCredit:
		c := s.books.of(number(0)).credit(creditKey{number(1), number(2), number(3)})
		if c == nil {
			return nil
		}
		return c.append(nil)
	}
	if k[0] == prefixRecord || k[0] == prefixCertificate {
		return s.encodeRecord(k[0], uint64(number(0))<<32|uint64(number(1)))
	}
	return s.encodeEpoch(k[0], number(0))
}

func (s *State) encodeRecord(prefix byte, height uint64) []byte {
	r, ok := s.record(height)
	switch {
	case !ok:
		return nil
	case prefix == prefixRecord:
	case r.Certificate == nil:
		return nil
	default:
		return r.Certificate.Append(nil)
	}
	b := r.Record.Append(nil)
	for _, id := range r.Rollups {
		b = append(b, id[:]...)
	}
	return b
}

func (s *State) encodeClient(index uint64) []byte {
	return s.clients.at(index).append(make([]byte, 0, clientSize))
}

func (s *State) encodeMeta() []byte {
	b := append(make([]byte, 0, 108), s.digest[:]...)
	root := s.registryRoot()
	b = append(b, root[:]...)
	b = le.AppendUint64(b, uint64(s.height))
	b = le.AppendUint64(b, uint64(s.time))
	b = le.AppendUint64(b, s.supply)
	b = le.AppendUint64(b, s.deposits)
	return le.AppendUint32(b, s.unsettled)
}

func (s *State) encodeEpoch(prefix byte, epoch uint32) []byte {
	if prefix == prefixEpoch {
		if epoch < s.unsettled {
			return nil
		}
		begin := s.starts[epoch-s.unsettled]
		return le.AppendUint64(le.AppendUint64(nil, uint64(begin.time)), uint64(begin.height))
	}
	t, ok := s.settlement(epoch)
	if !ok {
		return nil
	}
	return t.SettlementTable.Append(le.AppendUint64(nil, t.Height))
}

func (a *account) append(b []byte) []byte {
	b = append(b, a.key[:]...)
	b = le.AppendUint64(b, a.nonce)
	for _, amount := range a.purses() {
		b = le.AppendUint64(b, amount)
	}
	b = le.AppendUint32(b, a.thawEpoch)
	for _, t := range a.allowances {
		b = le.AppendUint64(le.AppendUint32(b, t.from), t.amount)
	}
	return b
}

func (c *credit) append(b []byte) []byte {
	b = le.AppendUint32(b, c.windows)
	for _, sum := range [...]uint64{c.acks, c.units, c.Charge.Charge, c.Allowed, c.Paid} {
		b = le.AppendUint64(b, sum)
	}
	return b
}
