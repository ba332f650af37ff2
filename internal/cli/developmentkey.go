package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/waybill-network/waybill/proofs/keys"
	"github.com/waybill-network/waybill/rollup"
)

// proofsFlag adds the flag that says for how many statements a network's proofs are.
func proofsFlag(f *pflag.FlagSet, size *int) {
	f.IntVar(size, "proofs", rollup.CircuitSizes[0],
		"co-signed `statements` that one proof is about: "+sizes()+"; 0: no proofs")
}

func sizes() string {
	var list []string
	for _, size := range rollup.CircuitSizes {
		list = append(list, strconv.Itoa(size))
	}
	return strings.Join(list, ", ")
}

// developmentKeys returns a key for a network of one's own: from the user's cache or, where there
// can be none, from a folder. One that has to be made first is announced.
func developmentKeys(size int, folder string, progress io.Writer) ([]keys.Pair, error) {
	if size == 0 {
		return nil, nil
	}
	if !rollup.IsCircuitSize(size) {
		return nil, usagef("--proofs %d: want %s or 0", size, sizes())
	}
	dir, err := keys.DefaultDir()
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		dir = filepath.Join(folder, "keys")
	}
	var started time.Time
	pair, err := keys.Development(dir, size, func(info keys.Info) {
		started = time.Now()
		fmt.Fprintf(progress, "Making the development key for proofs about %d statements. That "+
			"is done once on this machine, and takes %s …\n", size, setupTakes(size))
	})
	if err != nil {
		return nil, fmt.Errorf("development key: %w", err)
	}
	if !started.IsZero() {
		fmt.Fprintf(progress, "… made in %.1f s, and kept in %s.\n", time.Since(started).Seconds(),
			dir)
	}
	return []keys.Pair{pair}, nil
}

// setupTakes says how long a setup takes on two cores.
func setupTakes(size int) string {
	switch {
	case size <= 256:
		return "some twenty seconds"
	case size <= 1024:
		return "half a minute"
	case size <= 4096:
		return "two minutes"
	}
	return "several minutes"
}
