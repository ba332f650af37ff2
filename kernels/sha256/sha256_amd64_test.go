//go:build !purego

package sha256

import (
	"testing"

	"github.com/klauspost/cpuid/v2"

	"github.com/waybill-network/waybill/kernels/cpu"
)

func TestOrder(t *testing.T) {
	for vendor, first := range map[cpuid.Vendor]string{cpuid.Intel: cpu.AVX512,
		cpuid.AMD: cpu.SHANI, cpuid.VendorUnknown: cpu.SHANI} {
		if list := ordered(vendor); len(list) != 2 || list[0].Name != first ||
			list[1].Name == first {
			t.Errorf("vendor %v: %v", vendor, list)
		}
	}
}
