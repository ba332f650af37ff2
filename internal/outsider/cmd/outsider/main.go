// Command outsider checks export files offline, by docs/protocol.md alone.
package main

import (
	"errors"
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
		err = errors.New("usage: outsider -genesis file export [export...]")
	}
	var genesis *outsider.Genesis
	if err == nil {
		genesis, err = outsider.ParseGenesis(raw)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	fmt.Printf("network %x\n", genesis.Network())
	code := 0
	for _, name := range flag.Args() {
		var proves string
		file, err := os.ReadFile(name)
		if err == nil {
			proves, err = genesis.Verify(file)
		}
		if err != nil {
			fmt.Printf("%s: REFUSED: %v\n", name, err)
			code = 1
			continue
		}
		fmt.Printf("%s: valid: %s\n", name, proves)
	}
	os.Exit(code)
}
