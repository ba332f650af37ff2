package cli

import (
	"github.com/spf13/cobra"

	"github.com/waybill-network/waybill/proofs/prover"
)

// newProveWorker is what a node starts as a child to prove in. It is no command for people, so help
// does not list it.
func newProveWorker() *cobra.Command {
	return &cobra.Command{
		Use:    "prove-worker",
		Short:  "Make proofs for the process that started this one",
		Hidden: true,
		Args:   noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return prover.Child(cmd.InOrStdin(), raw(cmd))
		},
	}
}
