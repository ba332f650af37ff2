package replay

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/waybill-network/waybill/bench/workload"
	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
)

// ErrOtherReplay says that a folder belongs to a replay to other nodes, or into another network.
var ErrOtherReplay = errors.New("replay: the folder is of another replay")

// Folder is where a replay keeps what another run goes on with: the seed of its parties, and the
// book of what they signed. Give both to Config.
type Folder struct {
	Seed []byte
	Book *client.Book
}

// folderFile is what a folder is about. Clients are spread over the nodes by their order, so that
// another list would give a client another node.
type folderFile struct {
	Network rollup.Network `json:"network"`
	Nodes   []string       `json:"nodes"`
	Seed    string         `json:"seed"` // hexadecimal
}

// OpenFolder opens a folder, which is made with the given seed when there is none. Nobody else can
// open it until Close. Errors: ErrOtherReplay, those of client.OpenBook, and the system's.
func OpenFolder(dir string, network rollup.Network, nodes []string, seed []byte) (*Folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	book, err := client.OpenBook(filepath.Join(dir, "book")) // the lock is the book's
	if err != nil {
		return nil, err
	}
	f := &Folder{Seed: seed, Book: book}
	// All of it, for as long as the folder is there: a delivery whose ack is forgotten would be
	// signed again.
	book.Remember(math.MaxInt64*time.Nanosecond, math.MaxInt/4)
	if err := f.read(filepath.Join(dir, "replay.json"), network, nodes); err != nil {
		return nil, errors.Join(err, book.Close())
	}
	return f, nil
}

func (f *Folder) read(path string, network rollup.Network, nodes []string) error {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f.write(path, &folderFile{network, nodes, hex.EncodeToString(f.Seed)})
	}
	if err != nil {
		return err
	}
	var kept folderFile
	if err := json.Unmarshal(content, &kept); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	switch {
	case kept.Network != network:
		return fmt.Errorf("%w: %s is of network %s", ErrOtherReplay, path, kept.Network)
	case !slices.Equal(kept.Nodes, nodes):
		return fmt.Errorf("%w: %s is of the nodes %q, in this order", ErrOtherReplay, path,
			kept.Nodes)
	}
	if f.Seed, err = hex.DecodeString(kept.Seed); err != nil {
		return fmt.Errorf("%s: the seed: %w", path, err)
	}
	return nil
}

// write writes the file so that it is there as a whole, or not.
func (f *Folder) write(path string, content *folderFile) error {
	text, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(append(text, '\n'))
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Close closes the book.
func (f *Folder) Close() error { return f.Book.Close() }

// names gives each delivery of a workload a name that is the same in another run over it: by what
// it is, and by how many like it came before. More deliveries at the workload's end change none.
type names map[uint64]uint64

func (n names) of(d *workload.Delivery) uint64 {
	b := fmt.Appendf(nil, "%q %q %q %d %x", d.Address, d.Payer, d.Service, d.Units, d.Record)
	what := blake3.Sum256(b)
	like := binary.LittleEndian.Uint64(what[:])
	nth := n[like]
	n[like]++
	name := blake3.Sum256(binary.LittleEndian.AppendUint64(what[:], nth))
	return max(1, binary.LittleEndian.Uint64(name[:]))
}
