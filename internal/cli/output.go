package cli

import (
	"encoding/json"
	"io"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/internal/text"
)

// jsonFlag adds --json to a command that prints data.
func jsonFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("json", false, "print JSON instead of text")
}

// raw is where a command writes what is no text.
func raw(cmd *cobra.Command) io.Writer {
	if g, ok := cmd.OutOrStdout().(*text.Guard); ok {
		return g.Raw()
	}
	return cmd.OutOrStdout()
}

// printJSON writes v indented, as one document.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
