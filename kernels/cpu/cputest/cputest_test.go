package cputest

import (
	"slices"
	"testing"

	"github.com/klauspost/cpuid/v2"

	"github.com/waybill-network/waybill/kernels/cpu"
)

func TestDemands(t *testing.T) {
	names := []string{"avx512", "avx2", "generic"}
	for _, c := range []struct {
		list              string
		required, unbuilt []string
	}{
		{"", nil, nil},
		{"avx2,neon", []string{"avx2"}, nil},
		{" k=avx512 , other=avx2", []string{"avx512"}, nil},
		{"k=neon", nil, []string{"neon"}},
	} {
		required, unbuilt := demands(c.list, "k", names)
		if !slices.Equal(required, c.required) || !slices.Equal(unbuilt, c.unbuilt) {
			t.Errorf("%q: %v, %v", c.list, required, unbuilt)
		}
	}
}

func TestEachWalksWhatRuns(t *testing.T) {
	k := cpu.Register("cputest", func(a, b int) error { return nil },
		cpu.Implementation[int]{Name: "of two architectures",
			Needs: []cpuid.FeatureID{cpuid.AVX2, cpuid.SVE}, Code: 1},
		cpu.Implementation[int]{Name: "plain", Code: 2},
		cpu.Implementation[int]{Name: cpu.Generic, Code: 3})
	var ran []int
	Each(t, k, func(t *testing.T, code int) { ran = append(ran, code) })
	if !slices.Equal(ran, []int{2, 3}) {
		t.Errorf("ran %v", ran)
	}
}
