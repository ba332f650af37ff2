package node

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/waybill-network/waybill/node/peer"
	"github.com/waybill-network/waybill/rollup"
)

// TestAlarms: an alarm is a file that says what it is, which holds the header and both evidences,
// which a restart finds again, and which lasts until it is removed.
func TestAlarms(t *testing.T) {
	dir := filepath.Join(t.TempDir(), alarmsDir)
	open := func() *alarms { return &alarms{dir: dir, log: slog.New(slog.DiscardHandler)} }
	a := open()
	if list := a.list(); len(list) != 0 {
		t.Fatalf("%+v", list)
	}
	h := rollup.NewHeader(rollup.Network{1}, rollup.WindowKey{Node: 3, Epoch: 5, Window: 7})
	p := &peer.FalseProof{Header: h, Proven: []byte("proven"), Statements: []byte("statements"),
		Err: rollup.ErrRows}
	a.raise(p)
	a.raise(p) // again is the same file
	for range 2 {
		list := open().list() // as after a restart
		if len(list) != 1 || list[0].Lost {
			t.Fatalf("%+v", list)
		}
		content, err := os.ReadFile(list[0].File)
		if err != nil {
			t.Fatal(err)
		}
		var file alarmFile
		if err := json.Unmarshal(content, &file); err != nil {
			t.Fatal(err)
		}
		if file.What != alarmWhat || file.Rollup != h.ID().String() || file.Window != 7 ||
			!bytes.Equal(file.Header, h.Append(nil)) || !bytes.Equal(file.Proven, p.Proven) ||
			!bytes.Equal(file.Statements, p.Statements) || file.Error != rollup.ErrRows.Error() {
			t.Errorf("%s", content)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	if err := os.Remove(a.list()[0].File); err != nil {
		t.Fatal(err)
	}
	if list := a.list(); len(list) != 0 {
		t.Errorf("after it was removed: %+v", list)
	}

	// Where nothing can be written the alarm lasts as long as the process.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a = open()
	a.raise(p)
	lost := 0
	for _, alarm := range a.list() {
		if alarm.Lost {
			lost++
		}
	}
	if lost != 1 {
		t.Errorf("%+v", a.list())
	}
}
