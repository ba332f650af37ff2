package workload

import (
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"time"
)

// Generator imitates a content network's log: objects by a Zipf law (popular ones first), sizes
// log-normal per object, clients by a flatter Zipf law. The same seed gives the same deliveries on
// every machine.
type Generator struct {
	Seed     uint64
	Requests int
	Clients  int // distinct addresses; default Requests/8, at least 1
	Objects  int // distinct paths; default Requests/4, at least 1
}

var generatedSites = [...]string{"blog", "shop", "video", "docs", "images", "api", "games", "radio"}

var generatedFiles = [...]string{".html", ".png", ".jpg", ".css", ".js", ".xml", ".bin"}

// Deliveries yields Requests deliveries whose records are lines in Combined Log Format.
func (g Generator) Deliveries() iter.Seq2[Delivery, error] {
	clients, objects := g.Clients, g.Objects
	if clients <= 0 {
		clients = max(1, g.Requests/8)
	}
	if objects <= 0 {
		objects = max(1, g.Requests/4)
	}
	return func(yield func(Delivery, error) bool) {
		r := rand.New(rand.NewPCG(g.Seed, 0x57617962696c6c))
		popular := rand.NewZipf(r, 1.1, 4, uint64(objects-1))
		visitor := rand.NewZipf(r, 1.05, 64, uint64(clients-1))
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		for range g.Requests {
			at = at.Add(time.Duration(r.ExpFloat64() * float64(250*time.Millisecond)))
			object, client := popular.Uint64(), visitor.Uint64()
			status, size := 200, objectSize(g.Seed, object)
			switch p := r.Float64(); {
			case p < 0.03:
				status, size = 404, 312
			case p < 0.05:
				status, size = 301, 178
			}
			line := fmt.Sprintf(
				`10.%d.%d.%d - - [%s] "GET /%s/o%d%s HTTP/1.1" %d %d "-" "generator"`,
				client>>16&255, client>>8&255, client&255, at.Format("02/Jan/2006:15:04:05 -0700"),
				generatedSites[object%uint64(len(generatedSites))], object,
				generatedFiles[object%uint64(len(generatedFiles))],
				status, size)
			d, err := parseCombined([]byte(line), true)
			if err != nil {
				panic("workload: generated line does not parse: " + err.Error())
			}
			if !yield(d, nil) {
				return
			}
		}
	}
}

// objectSize draws an object's size, fixed for the object: log-normal, median 12 KiB, sigma 1.5.
func objectSize(seed, object uint64) uint64 {
	r := rand.New(rand.NewPCG(seed^0x73697a65, object))
	return 64 + uint64(math.Exp(math.Log(12<<10)+1.5*r.NormFloat64()))
}
