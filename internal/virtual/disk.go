package virtual

import (
	"math/rand/v2"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Disk is a node's disk in memory, which knows what was synced.
type Disk struct{ *vfs.MemFS }

// NewDisk returns an empty disk.
func NewDisk() Disk { return sized(vfs.NewCrashableMem()) }

// sized gives a disk its size.
func sized(fs *vfs.MemFS) Disk {
	const size = 1 << 40
	fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: size, TotalBytes: size})
	return Disk{fs}
}

// AfterKill returns what a process finds that follows one which was killed: all that was written.
// What the killed one still writes does not get there.
func (d Disk) AfterKill(rng *rand.Rand) Disk { return d.after(100, rng) }

// AfterPowerCut returns what is on the disk after a power cut: what was synced, and of the rest
// each block or name with a chance of kept percent.
func (d Disk) AfterPowerCut(kept int, rng *rand.Rand) Disk { return d.after(kept, rng) }

func (d Disk) after(kept int, rng *rand.Rand) Disk {
	return sized(d.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kept, RNG: rng}))
}
