package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/waybill-network/waybill/rollup/delivery"
)

// bucket bounds a rate. Whoever comes pays for what it takes by waiting: the first one not at all,
// the others until what was taken before has flowed off. Nil is no bound.
type bucket struct {
	rate uint64 // bytes a second

	mu   sync.Mutex
	free time.Time // when what was taken has flowed off
}

// maxWait is how long a stream may wait for the rate.
const maxWait = time.Minute

func newBucket(rate uint64) *bucket {
	if rate == 0 {
		return nil
	}
	return &bucket{rate: rate}
}

// wait returns when so many bytes may pass: ReasonRate when that would take too long.
func (b *bucket) wait(ctx context.Context, bytes uint64) error {
	if b == nil {
		return nil
	}
	delay, err := b.take(time.Now(), bytes)
	if err != nil || delay <= 0 {
		return err
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (b *bucket) take(now time.Time, bytes uint64) (delay time.Duration, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.free.Before(now) {
		b.free = now
	}
	if delay = b.free.Sub(now); delay > maxWait {
		return 0, delivery.Refuse(delivery.ReasonRate, "%d bytes a second", b.rate)
	}
	b.free = b.free.Add(time.Duration(float64(bytes) / float64(b.rate) * float64(time.Second)))
	return delay, nil
}

// volume bounds how much is sent in a month (of UTC), which outlives restarts.
type volume struct {
	path string
	most uint64 // 0: no bound

	mu    sync.Mutex
	used  used
	dirty bool
}

// used is what a file says of a volume.
type used struct {
	Month string `json:"month"` // 2026-11
	Bytes uint64 `json:"bytes"`
}

func openVolume(dir string, most uint64) (*volume, error) {
	v := &volume{path: filepath.Join(dir, "volume.json"), most: most}
	text, err := os.ReadFile(v.path)
	if errors.Is(err, os.ErrNotExist) {
		return v, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &v.used)
	}
	if err != nil {
		return nil, fmt.Errorf("serve: %s: %w", v.path, err)
	}
	return v, nil
}

func (v *volume) turn(now time.Time) {
	if month := now.UTC().Format("2006-01"); v.used.Month != month {
		v.used = used{Month: month}
	}
}

// left is nil while there is something left of the volume.
func (v *volume) left() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.turn(time.Now())
	if v.most > 0 && v.used.Bytes >= v.most {
		return delivery.Refuse(delivery.ReasonVolume, "%d bytes in %s", v.most, v.used.Month)
	}
	return nil
}

func (v *volume) use(bytes uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.turn(time.Now())
	v.used.Bytes += bytes
	v.dirty = true
}

// sync writes down what was used. Streams that use more meanwhile do not wait for the disk. It is
// called from one goroutine at a time.
func (v *volume) sync() error {
	v.mu.Lock()
	used, dirty := v.used, v.dirty
	v.dirty = false
	v.mu.Unlock()
	if !dirty {
		return nil
	}
	text, err := json.Marshal(used)
	if err == nil {
		err = os.WriteFile(v.path+".new", append(text, '\n'), 0o600)
	}
	if err == nil {
		err = os.Rename(v.path+".new", v.path)
	}
	if err != nil {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.dirty = true
	}
	return err
}

func (v *volume) close() error { return v.sync() }
