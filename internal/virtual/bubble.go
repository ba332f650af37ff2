package virtual

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/waybill-network/waybill/kernels/cpu"
)

// Prepare starts what a process starts once and every bubble uses: the watch of signals, which the
// engine's log asks for, and the choice of kernels. It must be called outside of any bubble.
func Prepare() {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	signal.Stop(hangup)
	cpu.Selected()
}
