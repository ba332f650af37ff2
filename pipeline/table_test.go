package pipeline

import (
	"testing"

	"github.com/waybill-network/waybill/rollup"
)

// TestTable finds every ack of a full window, and no other.
func TestTable(t *testing.T) {
	m := newWindowMemory()
	m.reset()
	frames := m.frames
	series := func(i int) (client uint64, service, number uint32) {
		return uint64(i) % 7 << (i % 2 * 33), uint32(i % 3), uint32(i) / 7 << (i % 3 * 8)
	}
	added := 0
	for i := range rollup.MaxAcks {
		client, service, number := series(i)
		if _, ok := m.table.find(frames, nil, client, service, number); ok {
			continue // the shifts make some twice
		}
		a := rollup.Ack{Client: client, Service: service, Number: number}
		m.table.insert(client, service, number, added)
		frames = a.Append(frames)
		added++
	}
	for i := range added {
		f := rollup.Frame(frames[i*rollup.AckSize : (i+1)*rollup.AckSize])
		if at, ok := m.table.find(frames, nil, f.Client(), f.Service(), f.Number()); !ok || at != i {
			t.Fatalf("ack %d is found at %d, %v", i, at, ok)
		}
	}
	if _, ok := m.table.find(frames, nil, 8, 0, 0); ok || added < rollup.MaxAcks/2 {
		t.Errorf("an ack from nowhere, %d added", added)
	}
}
