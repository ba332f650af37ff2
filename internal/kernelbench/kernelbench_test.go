package kernelbench

import (
	"errors"
	"maps"
	"testing"
)

// source has two implementations, of which the CPU lacks one.
type source struct{}

func (source) Name() string    { return "double" }
func (source) Names() []string { return []string{"fast", "plain"} }

func (source) Implementation(name string) (int, error) {
	if name == "fast" {
		return 0, errors.New("the CPU lacks it")
	}
	return 2, nil
}

func TestEach(t *testing.T) {
	Register(source{}, func(i int) float64 { return float64(i) })
	defer delete(kernels, "double")
	if got := maps.Collect(Each[float64]("double")); len(got) != 1 || got["plain"] != 2 {
		t.Errorf("implementations %v", got)
	}
	for name, each := range map[string]func(){
		"another type": func() { Each[string]("double") },
		"no kernel":    func() { Each[float64]("triple") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			each()
		}()
	}
}
