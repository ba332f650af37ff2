package workload

import "testing"

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
