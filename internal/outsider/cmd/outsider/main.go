// Command outsider checks export files offline, by docs/protocol.md alone.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/waybill-network/waybill/internal/outsider"
)

func main() {
	path := flag.String("genesis", "genesis.json", "the network's genesis `file`")
	flag.Parse()
	raw, err := os.ReadFile(*path)
	if err == nil && flag.NArg() == 0 {
		err = fmt.Errorf("usage: outsider -genesis file export...")
	}
	var genesis *outsider.Genesis
	if err == nil {
		genesis, err = outsider.ParseGenesis(raw)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	code := 0
	for _, name := range flag.Args() {
		var s outsider.Summary
		file, err := os.ReadFile(name)
		if err == nil {
			s, err = genesis.Verify(file)
		}
		if err != nil {
			fmt.Printf("%s: REFUSED: %v\n", name, err)
			code = 1
			continue
		}
		fmt.Printf("%s: valid: %v\n", name, s)
	}
	os.Exit(code)
}
