package workload

import (
	"slices"
	"testing"
)

func TestGeneratorIsSeededAndSkewed(t *testing.T) {
	g := Generator{Seed: 7, Requests: 4000}
	count := map[string]int{}
	var first []string
	for d, err := range g.Deliveries() {
		if err != nil {
			t.Fatal(err)
		}
		count[d.Address]++
		first = append(first, string(d.Record))
	}
	if len(first) != 4000 || len(count) < 50 || len(count) > 500 {
		t.Fatalf("%d requests of %d clients", len(first), len(count))
	}
	i := 0
	for d := range g.Deliveries() {
		if string(d.Record) != first[i] {
			t.Fatalf("delivery %d differs with the same seed", i)
		}
		i++
	}
	g.Seed++
	for d := range g.Deliveries() {
		if string(d.Record) == first[0] {
			t.Error("another seed gives the same first delivery")
		}
		break
	}
}

// TestBundle: every service is in one bundle, the same for all that are in it, and none has more
// than a grant names.
func TestBundle(t *testing.T) {
	services := map[string]bool{"download": true, "redirect": true, "not-found": true,
		"server-error": true}
	for _, kind := range kinds {
		services[kind] = true
	}
	for service := range services {
		bundle := Bundle(service)
		if len(bundle) > 3 || len(bundle) < 2 {
			t.Errorf("%s is in %v", service, bundle)
		}
		for _, other := range bundle {
			if !services[other] || !slices.Equal(Bundle(other), bundle) {
				t.Errorf("%s is in %v, and %s in %v", service, bundle, other, Bundle(other))
			}
		}
	}
	if bundle := Bundle("minutes"); len(bundle) != 1 || bundle[0] != "minutes" {
		t.Errorf("a service of another kind is in %v", bundle)
	}
}
