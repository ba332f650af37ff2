package health

import (
	"encoding/binary"
	"fmt"

	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// keep keeps what was found in an epoch until its audit is over: v ‖ epoch has the unhealthy, u32
// each, and r ‖ epoch ‖ node a candidate's receipts. Numbers of keys are big-endian. What an epoch
// has is written once, at once, and durably, before the report that names it is signed.
type keep struct{ kv *store.KV }

const (
	keyVerdicts = 'v'
	keyReceipts = 'r'
)

func keepKey(kind byte, numbers ...uint32) []byte {
	b := []byte{kind}
	for _, n := range numbers {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return b
}

// put keeps an epoch's, and drops those of all others but one that may still be audited.
func (k keep) put(epoch, audited uint32, unhealthy []uint32, r *rotation.Receipts) error {
	batch := k.kv.Batch()
	for _, kind := range []byte{keyVerdicts, keyReceipts} {
		if err := k.each([]byte{kind}, []byte{kind + 1}, func(key, _ []byte) error {
			if e := binary.BigEndian.Uint32(key[1:]); e != epoch && e != audited {
				batch.Delete(key)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	value := []byte{}
	for _, u := range unhealthy {
		value = binary.LittleEndian.AppendUint32(value, u)
	}
	batch.Set(keepKey(keyVerdicts, epoch), value)
	for _, node := range r.Nodes() {
		value := []byte{}
		for _, receipt := range r.Of(node) {
			value = receipt.Append(value)
		}
		batch.Set(keepKey(keyReceipts, epoch, node), value)
	}
	return batch.Write(true)
}

// verdicts returns the unhealthy of an epoch that was probed to the end.
func (k keep) verdicts(epoch uint32) (unhealthy []uint32, done bool, err error) {
	value, err := k.kv.Get(keepKey(keyVerdicts, epoch))
	if err != nil || value == nil {
		return nil, false, err
	}
	for ; len(value) >= 4; value = value[4:] {
		unhealthy = append(unhealthy, binary.LittleEndian.Uint32(value))
	}
	return unhealthy, true, nil
}

// receipts returns those of an epoch; none when there are none.
func (k keep) receipts(epoch uint32) (*rotation.Receipts, error) {
	all := new(rotation.Receipts)
	end := keepKey(keyReceipts, epoch, 1<<32-1)
	err := k.each(keepKey(keyReceipts, epoch), append(end, 0), func(key, value []byte) error {
		var list []*rotation.Receipt
		for ; len(value) >= rotation.ReceiptSize; value = value[rotation.ReceiptSize:] {
			r, err := rotation.ParseReceipt(value[:rotation.ReceiptSize])
			if err != nil {
				return err
			}
			list = append(list, r)
		}
		return all.Add(binary.BigEndian.Uint32(key[5:]), list)
	})
	if err != nil {
		return nil, fmt.Errorf("receipts of epoch %d: %w", epoch, err)
	}
	return all, nil
}

func (k keep) each(from, to []byte, yield func(key, value []byte) error) (err error) {
	it, err := k.kv.Iterator(from, to, false)
	if err != nil {
		return err
	}
	defer func() {
		if closed := it.Close(); err == nil {
			err = closed
		}
	}()
	for ; it.Valid(); it.Next() {
		if err := yield(it.Key(), it.Value()); err != nil {
			return err
		}
	}
	return it.Error()
}
