package virtual

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/waybill-network/waybill/node"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/homes"
	"github.com/waybill-network/waybill/node/store"
)

// storePath is where each node's store lies on its disk.
const storePath = "/store"

// Machine is a node with its host, its disk and its home. Host, Disk, home and Node are those of
// its latest life.
type Machine struct {
	Index   int
	Address netip.Addr
	Host    *Host
	Disk    Disk
	Node    *node.Node // nil while it is down

	world   *World
	home    string
	lives   int
	wire    *trip
	power   bool                // is what the wire takes
	stopped chan struct{}       // closed when StopAside is done; nil: it is not under way
	settled []map[uint32]uint64 // acks by node, of each epoch; nil: it was down for too long
}

// remember notes what was settled: a ledger keeps it for so many epochs.
func (m *Machine) remember() {
	view := m.Node.View()
	for epoch := uint32(len(m.settled)); epoch < view.NextToSettle(); epoch++ {
		var acks map[uint32]uint64
		if s, ok := view.Settlement(epoch); ok {
			acks = make(map[uint32]uint64)
			for i := range s.Rows {
				acks[s.Rows[i].Node] += s.Rows[i].Acks
			}
		}
		m.settled = append(m.settled, acks)
	}
}

// World is a network of real nodes on made hosts and disks. It must live in a bubble of
// testing/synctest. One goroutine drives it.
type World struct {
	Seed     uint64
	Net      *Network
	Files    *homes.Network
	Machines []*Machine

	rng   *rand.Rand
	logs  func(machine, life int) *slog.Logger
	stops sync.WaitGroup // of nodes that were killed
}

// Options say what world to make.
type Options struct {
	Seed  uint64
	Link  func(from, to netip.Addr) Link
	Homes homes.Options // Dir must be set
	// Log is asked for the log of each life of a machine; nil: nothing is logged
	Log func(machine, life int) *slog.Logger
}

// addressOf is the address of a machine.
func addressOf(machine int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 0, 0, byte(machine + 1)})
}

// clientAddress is where clients call from.
var clientAddress = netip.AddrFrom4([4]byte{10, 0, 1, 1})

// New makes a world whose machines are down.
func New(o Options) (*World, error) {
	w := &World{Seed: o.Seed, Net: NewNetwork(o.Seed, o.Link), logs: o.Log,
		rng: rand.New(rand.NewPCG(o.Seed, 1))}
	if w.logs == nil {
		w.logs = func(int, int) *slog.Logger { return slog.New(slog.DiscardHandler) }
	}
	o.Homes.BasePort, o.Homes.HostOf = 7000, func(i int) string { return addressOf(i).String() }
	var err error
	if w.Files, err = homes.Write(o.Homes); err != nil {
		return nil, err
	}
	for i, files := range w.Files.Nodes {
		m := &Machine{Index: i, Address: addressOf(i), Disk: NewDisk(), world: w, home: files.Home}
		w.Machines = append(w.Machines, m)
		s, err := store.Open(storePath, store.Options{FS: m.Disk})
		if err != nil {
			return nil, err
		}
		if err := s.Begin(0); err != nil {
			return nil, err
		}
		if err := s.Close(); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// Start boots a machine and starts its node.
func (m *Machine) Start(ctx context.Context) error {
	loaded, err := config.Load(filepath.Join(m.home, "config.toml"), nil, nil)
	if err != nil {
		return err
	}
	loaded.Config.Store.Path = storePath
	id, err := node.LoadIdentity(loaded.Config, []byte(m.world.Files.Password))
	if err != nil {
		return err
	}
	m.lives++
	m.Host, m.wire = m.world.Net.Boot(m.Address), new(trip)
	system := node.System{Net: m.Host, Disk: errorfs.Wrap(m.Disk, m.wire)}
	m.Node, err = system.Start(ctx, loaded.Config, id, m.world.logs(m.Index, m.lives))
	if err != nil {
		m.Host.Kill()
		return fmt.Errorf("machine %d, life %d: %w", m.Index, m.lives, err)
	}
	return nil
}

// Stop stops the node as its operator would.
func (m *Machine) Stop() {
	m.Node.Stop()
	m.Node = nil
	m.Host.Kill()
}

// StopAside is Stop beside the caller; Await waits for its end.
func (m *Machine) StopAside() {
	old, host := m.Node, m.Host
	m.Node, m.stopped = nil, make(chan struct{})
	go func(done chan struct{}) {
		old.Stop()
		host.Kill()
		close(done)
	}(m.stopped)
}

// Await waits for the end of StopAside.
func (m *Machine) Await() {
	if m.stopped != nil {
		<-m.stopped
		m.stopped = nil
	}
}

// KillWithin arms a kill, or a power cut that keeps so many percent of what was not synced, at one
// of the next writes and syncs of the store. Fallen must be asked until it happened.
func (m *Machine) KillWithin(at int, power bool, kept int) {
	host, disk, rng := m.Host, m.Disk, rand.New(rand.NewPCG(m.world.Seed, uint64(at)))
	m.power = power
	m.wire.fail = func() Disk {
		if power {
			host.PowerOff()
			return disk.AfterPowerCut(kept, rng)
		}
		host.Kill()
		return disk.AfterKill(rng)
	}
	m.wire.arm(at)
}

// Fallen reports whether the machine is down by KillWithin. All goroutines of the bubble must be at
// rest.
func (m *Machine) Fallen() (bool, error) {
	if m.Node == nil {
		return false, nil
	}
	disk, gone := m.wire.tripped()
	if !gone {
		return false, nil
	}
	return true, m.end(disk, m.power)
}

// Kill ends the machine's process. All goroutines of the bubble must be at rest. The next life
// begins with what the process had written. Its remains wind down on a host that is down and a disk
// that nobody will read.
func (m *Machine) Kill() error {
	m.Host.Kill()
	return m.end(m.Disk.AfterKill(m.world.rng), false)
}

// PowerCut is Kill without a word to the peers, and with what was not synced lost, but for so many
// percent of it.
func (m *Machine) PowerCut(kept int) error {
	m.Host.PowerOff()
	return m.end(m.Disk.AfterPowerCut(kept, m.world.rng), true)
}

func (m *Machine) end(disk Disk, unsynced bool) error {
	home := filepath.Join(m.world.Files.Dir, "node"+strconv.Itoa(m.Index)+"-"+strconv.Itoa(m.lives))
	if err := copyHome(home, m.home); err != nil {
		return err
	}
	old := m.Node
	m.Disk, m.home, m.Node = disk, home, nil
	m.world.stops.Go(old.Stop)
	data := filepath.Join(home, "consensus", "data")
	if err := store.MarkPlace(data); err != nil { // the copy stands for the original
		return err
	}
	if unsynced {
		if err := cutLog(filepath.Join(data, "cs.wal", "wal")); err != nil {
			return err
		}
	}
	return nil
}

// Wait waits until nothing of killed nodes runs.
func (w *World) Wait() { w.stops.Wait() }

// StartAll starts all machines that are down.
func (w *World) StartAll(ctx context.Context) error {
	errs := make(chan error, len(w.Machines))
	for _, m := range w.Machines {
		if m.Node == nil {
			go func() { errs <- m.Start(ctx) }()
		} else {
			errs <- nil
		}
	}
	var first error
	for range w.Machines {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}
