package virtual

import (
	"encoding/binary"
	"io/fs"
	"os"
	"path/filepath"

	cmtcons "github.com/cometbft/cometbft/proto/tendermint/consensus"
	"github.com/cosmos/gogoproto/proto"
)

// copyHome copies a home's files, with the rights that they have.
func copyHome(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, name), info.Mode().Perm())
		case !info.Mode().IsRegular():
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), b, info.Mode().Perm())
	})
}

// cutLog leaves of the engine's log of consensus what is certain to have been synced: all up to the
// last message that the engine waits for before it goes on, which are its own votes and proposals
// and the ends of heights (docs/adr/0058-the-whole-network-in-virtual-time.md).
func cutLog(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	synced := 0
	for at := 0; len(b)-at >= 8; {
		length := int(binary.BigEndian.Uint32(b[at+4:]))
		if length > len(b)-at-8 {
			break // half of a message
		}
		var m cmtcons.TimedWALMessage
		if err := proto.Unmarshal(b[at+8:at+8+length], &m); err != nil {
			return err
		}
		at += 8 + length
		info := m.GetMsg().GetMsgInfo()
		if info != nil && info.PeerID == "" || m.GetMsg().GetEndHeight() != nil {
			synced = at
		}
	}
	return os.Truncate(path, int64(synced))
}
