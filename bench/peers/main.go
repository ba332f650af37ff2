// Command peers runs the suites of package bench with libraries beside this program's code that the
// product does not depend on: blst, sha256-simd, lukechampine.com/blake3. It is what "make bench"
// runs where a C compiler is.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/waybill-network/waybill/bench"
	"github.com/waybill-network/waybill/proofs/prover"
)

// version is set by the linker; see the Makefile.
var version string

func main() {
	if slices.Equal(os.Args[1:], []string{"prove-worker"}) { // what package prover starts
		if err := prover.Child(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	c := bench.Command{Suites: bench.Suites(peers), Version: version, Out: os.Stdout,
		Err: os.Stderr}
	c.Flags(flag.CommandLine)
	flag.BoolVar(&c.JSON, "json", false, "print JSON instead of text")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(),
			"Usage: peers [flags] [SUITE...]\n\nSuites, all of them when none is named:")
		for _, s := range c.Suites {
			fmt.Fprintf(flag.CommandLine.Output(), "  %-10s %s\n", s.Name, s.What)
		}
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal ends the process at once
	err := c.Run(ctx, flag.Args()...)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	switch {
	case errors.Is(err, bench.ErrNoSuite), errors.Is(err, bench.ErrFlag):
		os.Exit(2)
	case err != nil:
		os.Exit(1)
	}
}

var peers = bench.Peers{
	Field: field, BLAKE3: manyBLAKE3, Outboard: outboard, Verify: verifyContent,
	SHA256: manySHA256, Expand: expand,
	Decompress: decompress, Subgroup: subgroup, Hash: hashToG1, MillerLoop: millerLoop,
	BatchVerify:     batchVerify,
	AggregateVerify: aggregateVerify, FastAggregate: fastAggregate,
}
