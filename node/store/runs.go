package store

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/waybill-network/waybill/rollup"
)

// Which window has a number is found by the runs of sealed windows. They lie in buckets of clients,
// so that a search reads a 64th of what the epoch has.
const runBuckets = 64

// encodedRun is client u64, service, first, count u32.
const encodedRun = 8 + 3*4

func appendRun(dst []byte, r rollup.Run) []byte {
	dst = binary.BigEndian.AppendUint64(dst, r.Client)
	dst = binary.BigEndian.AppendUint32(dst, r.Service)
	dst = binary.BigEndian.AppendUint32(dst, r.First)
	return binary.BigEndian.AppendUint32(dst, r.Count)
}

func parseRun(b []byte) rollup.Run {
	be := binary.BigEndian
	return rollup.Run{Client: be.Uint64(b), Service: be.Uint32(b[8:]), First: be.Uint32(b[12:]),
		Count: be.Uint32(b[16:])}
}

// parseRuns appends the runs of a value to dst.
func parseRuns(dst []rollup.Run, key, value []byte) ([]rollup.Run, error) {
	if len(value)%encodedRun != 0 {
		return dst, fmt.Errorf("%w: runs under %x: %d bytes", ErrCorrupt, key, len(value))
	}
	for ; len(value) > 0; value = value[encodedRun:] {
		dst = append(dst, parseRun(value))
	}
	return dst, nil
}

// runsKey is the key of the runs of a bucket, up to the window.
func runsKey(node, epoch uint32) []byte {
	b := binary.BigEndian.AppendUint32(append(make([]byte, 0, 16), keyRuns), epoch)
	return binary.BigEndian.AppendUint32(b, node)
}

func bucketKey(node, epoch uint32, client uint64) []byte {
	return append(runsKey(node, epoch), byte(client%runBuckets))
}

// setRuns keeps the runs of an own window.
func setRuns(b *pebble.Batch, k rollup.WindowKey, acks rollup.Acks) error {
	var buckets [runBuckets][]byte
	for _, run := range acks.Runs() {
		bucket := &buckets[run.Client%runBuckets]
		*bucket = appendRun(*bucket, run)
	}
	for i, runs := range buckets {
		if len(runs) == 0 {
			continue
		}
		key := binary.BigEndian.AppendUint32(bucketKey(k.Node, k.Epoch, uint64(i)), k.Window)
		if err := b.Set(key, runs, nil); err != nil {
			return err
		}
	}
	return nil
}

// ReadRuns yields the runs of a node's own sealed windows of an epoch, in any order. They are valid
// until yield returns.
func (s *Store) ReadRuns(node, epoch uint32, yield func(runs []rollup.Run) error) error {
	var runs []rollup.Run
	prefix := runsKey(node, epoch)
	return s.scan(prefix, after(prefix), func(key, value []byte) (bool, error) {
		var err error
		if runs, err = parseRuns(runs[:0], key, value); err != nil {
			return false, err
		}
		return true, yield(runs)
	})
}

// FindRun returns the own sealed window that has a number of a client for a service. Errors:
// ErrNotFound when none has, ErrPruned for an epoch below the watermark, ErrNew for one of which
// the store can not know.
func (s *Store) FindRun(node, epoch uint32, client uint64, service, number uint32) (window uint32,
	err error) {
	if err := s.checkKnown(epoch); err != nil {
		return 0, err
	}
	prefix := bucketKey(node, epoch, client)
	err = ErrNotFound
	scanErr := s.scan(prefix, after(prefix), func(key, value []byte) (bool, error) {
		if len(key) != len(prefix)+4 || len(value)%encodedRun != 0 {
			return false, fmt.Errorf("%w: runs under %x: %d bytes", ErrCorrupt, key, len(value))
		}
		if !hasNumber(value, client, service, number) {
			return true, nil
		}
		window, err = binary.BigEndian.Uint32(key[len(prefix):]), nil
		return false, nil
	})
	switch {
	case scanErr != nil:
		return 0, scanErr
	case err != nil: // or it was there until just now, and was pruned
		s.lockMu.Lock()
		defer s.lockMu.Unlock()
		return 0, cmp.Or(s.checkKnown(epoch), err)
	}
	return window, nil
}

// hasNumber looks for a number in encoded runs, which ascend by (client, service).
func hasNumber(runs []byte, client uint64, service, number uint32) bool {
	lo, hi := 0, len(runs)/encodedRun
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		r := parseRun(runs[mid*encodedRun:])
		switch {
		case r.Client < client || r.Client == client && r.Service < service:
			lo = mid + 1
		case r.Client == client && r.Service == service:
			return r.First <= number && uint64(number) < r.End()
		default:
			hi = mid
		}
	}
	return false
}

// Begin says from which epoch on this store knows all that its node said: 0 for a store that is as
// old as the node's keys. Before that nothing is signed in it. The first word stands.
func (s *Store) Begin(epoch uint32) error {
	s.lockMu.Lock()
	defer s.lockMu.Unlock()
	if err := s.Err(); err != nil { // what is read below may never have become durable
		return err
	}
	if has, err := s.has([]byte{keyBegin}); has || err != nil {
		return err
	}
	if err := s.put([]byte{keyBegin}, binary.BigEndian.AppendUint32(nil, epoch)); err != nil {
		return err
	}
	s.begin.Store(int64(epoch))
	return nil
}

// Since returns the first epoch of which the store knows all that its node said, and has it still;
// false for a store that was never told where it begins.
func (s *Store) Since() (epoch uint32, known bool) {
	begin := s.begin.Load()
	if begin < 0 {
		return 0, false
	}
	return max(uint32(begin), s.watermark.Load()), true
}

// checkKnown answers for an epoch before Since: ErrPruned, ErrNew.
func (s *Store) checkKnown(epoch uint32) error {
	if err := s.checkRetained(epoch); err != nil {
		return err
	}
	// Since has the watermark too, which may have risen by now.
	if begin := s.begin.Load(); begin < 0 || int64(epoch) < begin {
		return fmt.Errorf("%w: what was said in epoch %d is not known", ErrNew, epoch)
	}
	return nil
}

// Billed returns what this member signed of a node's rollups in an epoch: the next numbers, and the
// window above all that it signed. Error: see Sign.
func (s *Store) Billed(node, epoch uint32) (numbers *rollup.Numbers, window uint32, err error) {
	if err := s.checkKnown(epoch); err != nil {
		return nil, 0, err
	}
	numbers = new(rollup.Numbers)
	var runs []rollup.Run
	prefix := windowKey(keyBilled, rollup.WindowKey{Epoch: epoch, Node: node})[:9]
	err = s.scan(prefix, after(prefix), func(key, value []byte) (bool, error) {
		k, err := parseWindowKey(key)
		if err == nil {
			runs, err = parseRuns(runs[:0], key, value)
		}
		if err != nil {
			return false, err
		}
		for _, run := range runs { // windows ascend, and the numbers in them
			numbers.Take(run)
		}
		window = k.Window + 1
		return true, nil
	})
	return numbers, window, err
}

// Sign binds this member to a rollup before it signs it: header and evidence, that it is the one of
// its window, and the runs of which no number may be signed again, all in one synced write. The
// caller has looked at Billed, and lets nothing else of the node be signed meanwhile. Errors:
// ErrPruned, ErrNew, ErrCorrupt for a header or evidence that does not decode, ErrFailed.
func (s *Store) Sign(h *rollup.Header, evidence []byte, runs []rollup.Run) error {
	kind, err := evidenceKind(evidence)
	if err != nil {
		return err
	}
	s.lockMu.Lock() // a prune must not overtake it
	defer s.lockMu.Unlock()
	if err := s.Err(); err != nil { // what is read below may never have become durable
		return err
	}
	if err := s.checkKnown(h.Epoch); err != nil {
		return err
	}
	k, id := h.Key(), h.ID()
	encoded := make([]byte, 0, len(runs)*encodedRun)
	for _, run := range runs {
		encoded = appendRun(encoded, run)
	}
	return s.commit(func(b *pebble.Batch) error {
		err := errors.Join(
			b.Set(windowKey(keyLock, k), id[:], nil),
			b.Set(windowKey(keyBilled, k), encoded, nil))
		has, hasErr := s.has(idKey(keyArchive, id)) // from an own window's archive everything is made
		if has || err != nil || hasErr != nil {
			return errors.Join(err, hasErr)
		}
		return errors.Join(setHeader(b, k, id, h.Append(nil)), b.Set(idKey(kind, id), evidence, nil))
	}, pebble.Sync)
}

// ForgetBilled forgets what this member signed in the epochs before the given one, which are
// settled: nothing of them is signed any more. It is durable.
func (s *Store) ForgetBilled(before uint32) error {
	return s.commit(func(b *pebble.Batch) error {
		return b.DeleteRange([]byte{keyBilled}, epochKey(keyBilled, before), nil)
	}, pebble.Sync)
}
