package keep

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/waybill-network/waybill/node"
	"github.com/waybill-network/waybill/node/committee"
	"github.com/waybill-network/waybill/node/keys"
	"github.com/waybill-network/waybill/node/signer"
	"github.com/waybill-network/waybill/node/signer/vault"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
)

// TestTakeOver moves a home's keys to a signer, cut off at each step and begun again: in the end
// the keys are in one place, which knows what they signed, and a backup of the home has none.
func TestTakeOver(t *testing.T) {
	c := newHome(t)
	password, err := keys.PasswordSource{File: c.Path(c.Node.PasswordFile)}.Password()
	ok(t, err)
	light := keys.Template{KDF: keys.PBKDF2}
	dir := filepath.Join(t.TempDir(), "signer")
	const listen = "unix:///run/waybill/signer.sock"
	signed := rollup.WindowKey{Epoch: 2, Node: 5, Window: 6}
	s := open(t, c)
	h := rollup.NewHeader(rollup.Network{1}, signed)
	h.AckCount, h.AckRoot = 1, rollup.Hash{1}
	h.Rows = []rollup.Row{{Payer: 1, Service: 2, Acks: 1, Units: 3}}
	ok(t, s.Sign(h, oneAck(), nil))

	ok(t, s.PutQuiet(true))
	ok(t, s.Close())
	_, err = TakeOver(c, dir, listen, password, light)
	is(t, err, ErrRecord)
	s = open(t, c)
	ok(t, errors.Join(s.PutQuiet(false), s.Close()))

	from := c.Path(c.Node.Keys)
	consensus := filepath.Join(from, node.ConsensusKeyFile)
	key, err := os.ReadFile(filepath.Join(from, node.BLSKeyFile))
	ok(t, err)
	_, err = vault.Make(dir, from, vault.Settings{}, password, light) // a run that was cut off
	ok(t, err)
	settings, err := TakeOver(c, dir, listen, password, light)
	ok(t, err)
	for _, gone := range []string{consensus, filepath.Join(from, node.BLSKeyFile),
		committee.SignStateFile(filepath.Join(c.HomeDir(), consensusName))} {
		if exists(gone) {
			t.Error(gone, "is still there")
		}
	}
	// One that was cut off before the second key was gone.
	ok(t, os.WriteFile(filepath.Join(from, node.BLSKeyFile), key, 0o600))
	ok(t, os.WriteFile(filepath.Join(dir, "UNFINISHED"), nil, 0o600))
	again, err := TakeOver(c, dir, listen, password, light)
	ok(t, err)
	if *again != *settings || exists(filepath.Join(from, node.BLSKeyFile)) {
		t.Errorf("a second run: %+v", again)
	}
	_, err = TakeOver(c, dir, listen, password, light)
	is(t, err, vault.ErrExists)

	c = load(t, c.HomeDir())
	if c.Signer.Address != listen || c.Signer.Key != settings.TLSKey.String() {
		t.Errorf("settings: %+v", c.Signer)
	}
	if _, err := node.LoadIdentity(c.Config, password); err != nil {
		t.Error("the home with its signer:", err)
	}
	v, err := vault.Open(dir, password)
	ok(t, err)
	if last := v.Votes().State(); last.Height != 7 || last.Step != 3 {
		t.Errorf("last vote %+v", last)
	}
	share := func(k rollup.WindowKey, id rollup.Hash) error {
		_, err := v.Sign(t.Context(), signer.RollupOf(&v.Network, 0, k, id))
		return err
	}
	ok(t, share(signed, h.ID()))
	is(t, share(signed, rollup.Hash{9}), signer.ErrSigned)
	ok(t, v.Close())

	for _, name := range names(t, backup(t, c, Options{Keys: true})) {
		if strings.Contains(name, "consensus.json") || strings.Contains(name, "bls.json") {
			t.Error("a backup has", name)
		}
	}
	s = open(t, c)
	ok(t, errors.Join(s.PutFence(store.Fence{To: "elsewhere"}), s.Close()))
	_, err = TakeOver(c, dir, listen, password, light)
	is(t, err, store.ErrMoved)
}

// oneAck is evidence of an ack.
func oneAck() []byte {
	le := binary.LittleEndian
	b := le.AppendUint64(le.AppendUint32(nil, 1), 7)                  // a run of a client
	b = le.AppendUint32(le.AppendUint32(le.AppendUint32(b, 2), 7), 1) // service, first, acks
	return append(b, make([]byte, rollup.BodySize)...)
}

// names are those of the files in an archive that is not encrypted.
func names(t *testing.T, archive []byte) (list []string) {
	t.Helper()
	z, err := zstd.NewReader(bytes.NewReader(archive))
	ok(t, err)
	defer z.Close()
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return list
		}
		ok(t, err)
		list = append(list, h.Name)
	}
}
