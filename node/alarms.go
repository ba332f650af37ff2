package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/waybill-network/waybill/node/peer"
	"github.com/waybill-network/waybill/node/telemetry"
)

// alarmsDir is the folder in a node's home in which alarms lie, a file each, until the operator
// removes them.
const (
	alarmsDir   = "alarms"
	alarmPrefix = "false-proof-"
	alarmSuffix = ".json"
)

// maxAlarms bounds the files, for evidence is large. One shows as much as many.
const maxAlarms = 64

// alarms keeps what must not be forgotten or missed: it survives restarts.
type alarms struct {
	dir string
	log *slog.Logger

	mu      sync.Mutex
	unsaved []telemetry.Alarm // that could not be written, until a restart
}

// alarmFile says by itself what it is. Binary values are base64.
type alarmFile struct {
	What       string `json:"what"`
	Advice     string `json:"advice"`
	Network    string `json:"network"`
	Node       uint32 `json:"node"`
	Epoch      uint32 `json:"epoch"`
	Window     uint32 `json:"window"`
	Rollup     string `json:"rollup"`
	Error      string `json:"error"`
	Header     []byte `json:"header"`
	Proven     []byte `json:"evidence_rung_3"`
	Statements []byte `json:"evidence_rung_2"`
}

const (
	alarmWhat = "a false proof: evidence_rung_3 verifies for this rollup, and the statements in " +
		"evidence_rung_2, to which the same header commits, do not give its totals"
	alarmAdvice = "copy this file and show it to the other members: the setup's secret is known " +
		"to " +
		"somebody, or the circuit is wrong. Suspend the proof keys (a transaction of kind 25). " +
		"Removing the file from the node's home ends the alarm"
)

// raise keeps a false proof durably. What can not be written is an alarm until the restart.
func (a *alarms) raise(p *peer.FalseProof) {
	h := p.Header
	name := fmt.Sprintf("%s%d-%d-%d-%s%s", alarmPrefix, h.Epoch, h.Node, h.Window, h.ID(),
		alarmSuffix)
	content, err := json.MarshalIndent(alarmFile{What: alarmWhat, Advice: alarmAdvice,
		Network: h.Network.String(), Node: h.Node, Epoch: h.Epoch, Window: h.Window,
		Rollup: h.ID().String(), Error: p.Err.Error(),
		Header: h.Append(nil), Proven: p.Proven, Statements: p.Statements}, "", "  ")
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil && len(a.files()) < maxAlarms {
		err = writeDurably(a.dir, name, content)
	}
	if err != nil {
		a.log.Error("the evidence of a false proof could not be kept", "file", name, "err", err)
		if len(a.unsaved) < maxAlarms {
			a.unsaved = append(a.unsaved, telemetry.Alarm{File: name, Lost: true})
		}
	}
}

// writeDurably writes a file of a folder as a whole or not at all.
func writeDurably(dir, name string, content []byte) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // nothing is there after the rename
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	for _, path := range []string{dir, filepath.Dir(dir)} {
		d, err := os.Open(path)
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return err
		}
	}
	return nil
}

// list returns the alarms that nobody has ended, those of earlier runs too.
func (a *alarms) list() []telemetry.Alarm {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append(a.files(), a.unsaved...)
}

// files returns the alarms that lie in the home. A folder that can not be read is one.
func (a *alarms) files() (list []telemetry.Alarm) {
	entries, err := os.ReadDir(a.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return []telemetry.Alarm{{File: a.dir + " can not be read: " + err.Error()}}
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), alarmPrefix) && strings.HasSuffix(e.Name(), alarmSuffix) {
			list = append(list, telemetry.Alarm{File: filepath.Join(a.dir, e.Name())})
		}
	}
	return list
}
