package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/node/telemetry"
)

type versionInfo struct {
	telemetry.Build
	Platform string            `json:"platform"`
	Modules  map[string]string `json:"modules"`
}

// notable are the modules whose versions decide what a node computes.
var notable = []string{"github.com/consensys/gnark-crypto", "github.com/cometbft/cometbft",
	"github.com/cockroachdb/pebble/v2", "github.com/zeebo/blake3"}

// programVersion is what "waybill --version" prints after the name.
func programVersion() string {
	b, commit := telemetry.BuildInfo(), ""
	if b.Commit != "" {
		commit = "commit " + b.Commit + ", "
	}
	return fmt.Sprintf("%s (%s%s, %s/%s)", b.Version, commit, b.Go, runtime.GOOS, runtime.GOARCH)
}

func newVersion() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version and what it was built with",
		Args:  noArgs,
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		v := versionInfo{telemetry.BuildInfo(), runtime.GOOS + "/" + runtime.GOARCH,
			map[string]string{}}
		if info, ok := debug.ReadBuildInfo(); ok {
			for _, dep := range info.Deps {
				for _, name := range notable {
					if dep.Path == name {
						v.Modules[name] = dep.Version
					}
				}
			}
		}
		out := cmd.OutOrStdout()
		if *asJSON {
			return printJSON(out, v)
		}
		fmt.Fprintf(out, "waybill %s\n", programVersion())
		var rows []string
		for _, name := range notable {
			rows = append(rows, "  "+name, v.Modules[name])
		}
		text.Pairs(out, rows...)
		return nil
	}
	return cmd
}
