// Command waybill runs and operates a node, and verifies what the network signed.
//
// Exit codes: 0 done, 1 failed or does not hold, 2 wrong usage, 3 what was to be read cannot be.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/waybill-network/waybill/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal ends the process at once
	os.Exit(cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
