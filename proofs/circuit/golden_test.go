package circuit

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/consensys/gnark/constraint"

	"github.com/waybill-network/waybill/rollup"
)

// TestCircuits holds the compiled circuits against circuits.txt: that of 256 statements, without
// -short that of 1,024, and all of them, which takes a minute, with WAYBILL_CIRCUITS=check. With
// WAYBILL_CIRCUITS=write it writes the file.
func TestCircuits(t *testing.T) {
	mode := os.Getenv("WAYBILL_CIRCUITS")
	var lines strings.Builder
	for _, size := range rollup.CircuitSizes {
		if mode == "" && (size > 1024 || size > 256 && testing.Short()) {
			continue
		}
		shape, err := ShapeOf(size)
		if err != nil {
			t.Fatal(err)
		}
		system, err := compile(shape)
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("%5d %7d %6d %7d %s", size, system.GetNbConstraints(),
			system.GetNbSecretVariables()+system.GetNbPublicVariables(),
			system.GetNbInternalVariables(), digest(system))
		fmt.Fprintln(&lines, line)
		want, err := goldenLine(size)
		if mode != "write" && (err != nil || want != strings.TrimSpace(line)) {
			t.Errorf("%d statements: got\n%s\nwant\n%s", size, line, want)
		}
		commitments := system.GetCommitments().(constraint.Groth16Commitments)
		if len(commitments) != 1 || commitments[0].NbPublicCommitted != 1 {
			t.Errorf("%d statements: %d commitments, where all random points must come from one", size,
				len(commitments))
		}
	}
	if mode == "write" {
		if err := os.WriteFile("circuits.txt", []byte(lines.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNoSuchCircuit(t *testing.T) {
	for _, size := range []int{0, -256, 128, 257, 65536} {
		if _, err := Compile(size); err == nil {
			t.Errorf("there is a circuit of %d statements", size)
		}
	}
}
