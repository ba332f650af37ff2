package lying

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// Truths change a window and leave it valid.
func Truths() []Lie {
	return []Lie{
		{"nothing", func(*Window, *rand.Rand) bool { return true }, nil, nil},
		{"numbers up to the limit", edit(true, func(_ *Window, s *rollup.Statement) bool {
			s.First = numbers - s.Acks
			return true
		}), nil, nil},
		{"an unsigned entry's numbers, that wrap", edit(false, func(_ *Window, s *rollup.Statement) bool {
			s.First = math.MaxUint32
			return true
		}), nil, nil},
		{"an unsigned entry's acks", edit(false, func(_ *Window, s *rollup.Statement) bool {
			s.Acks, s.Units = 1, 1
			return true
		}), nil, nil},
		{"an unsigned client of another time", admitting(false,
			func(c *rollup.Client, _ *rollup.Statement) { c.Since, c.Until = epoch-1, epoch }), nil, nil},
		{"an unsigned client without that service", admitting(false, without), nil, nil},
		{"an unsigned client's limit", admitting(false,
			func(c *rollup.Client, _ *rollup.Statement) { c.Numbers = 0 }), nil, nil},
		{"the acks of unsigned clients are nowhere", func(w *Window, _ *rand.Rand) bool {
			had := len(w.Acks)
			w.Acks = slices.DeleteFunc(w.Acks, func(a Acked) bool { return w.listed(a.Client) })
			w.Total()
			return len(w.Acks) < had
		}, nil, nil},
		{"an unsigned client has acks", func(w *Window, rng *rand.Rand) bool {
			i, ok := w.at(rng, func(i int) bool {
				return !w.Signed[i] && !w.acknowledged(w.Statements[i].Client)
			})
			if ok {
				s := w.Statements[i]
				w.acknowledge(rng, s.Client, s.Service)
				slices.SortFunc(w.Acks, func(a, b Acked) int { return compareAcked(&a, &b) })
				w.Total()
			}
			return ok
		}, nil, nil},
		{"units as few as can be", edit(true, func(_ *Window, s *rollup.Statement) bool {
			s.Units = uint64(s.Acks)
			return true
		}), nil, nil},
		{"units as many as can be", edit(true, func(w *Window, s *rollup.Statement) bool {
			s.Units = uint64(s.Acks) * w.World.Caps[s.Service]
			return true
		}), nil, nil},
	}
}

// Lies are about what the list shows: both rungs refuse them for the same reason.
func Lies() []Lie {
	return slices.Concat(listLies(), clientLies(), rowLies(), headerLies())
}

func listLies() []Lie {
	sameClient := func(a, b *rollup.Statement) bool { return a.Client == b.Client }
	otherClient := func(a, b *rollup.Statement) bool { return a.Client != b.Client }
	list := func(name string, tell Tell, want error) Lie {
		return Lie{name, tell, want, want}
	}
	lies := []Lie{
		list("clients out of order", swap(otherClient), rollup.ErrUnsorted),
		list("services out of order", swap(sameClient), rollup.ErrUnsorted),
		list("one client and service twice", repeat(true), rollup.ErrUnsorted),
		list("one client and service twice, unsigned", repeat(false), rollup.ErrUnsorted),
		list("a client signed and did not", func(w *Window, rng *rand.Rand) bool {
			i, ok := w.at(rng, func(i int) bool {
				return i > 0 && sameClient(&w.Statements[i-1], &w.Statements[i])
			})
			if ok {
				w.Signed[i] = !w.Signed[i]
				w.Total()
			}
			return ok && w.decodes()
		}, rollup.ErrList),
		list("nobody signed", func(w *Window, _ *rand.Rand) bool {
			clear(w.Signed)
			w.Signers = []uint64{w.Statements[0].Client}
			return true
		}, rollup.ErrList),
	}
	for _, signed := range []bool{true, false} {
		lies = append(lies,
			list("no acks", edit(signed, func(_ *Window, s *rollup.Statement) bool {
				s.Acks, s.Units = 0, 0
				return true
			}), rollup.ErrList),
			list("2^22 acks", edit(signed, func(_ *Window, s *rollup.Statement) bool {
				s.Acks, s.Units = 1<<22, 1<<22
				return true
			}), rollup.ErrList),
			list("2^24 acks", edit(signed, func(_ *Window, s *rollup.Statement) bool {
				s.Acks, s.Units = 1<<24+1, 1<<24+1
				return true
			}), rollup.ErrList),
			list("too many acks for the cap", edit(signed, func(w *Window, s *rollup.Statement) bool {
				most := rollup.MaxStatementUnits / w.World.Caps[s.Service]
				s.First, s.Acks, s.Units = 0, uint32(most+1), most+1
				return most < rollup.MaxStatementAcks
			}), rollup.ErrStatement))
	}
	return lies
}

// without takes the statement's service from what its client may use.
func without(c *rollup.Client, s *rollup.Statement) {
	kept := [3]uint32{rollup.NoService, rollup.NoService, rollup.NoService}
	n := 0
	for _, service := range c.Services {
		if service != s.Service && service != rollup.NoService {
			kept[n] = service
			n++
		}
	}
	if n == 0 {
		kept[0] = 2 // no window's; a client has one at least
	}
	c.Services = kept
}

func (w *Window) listed(client uint64) bool {
	return slices.ContainsFunc(w.Statements,
		func(s rollup.Statement) bool { return s.Client == client })
}

func compareAcked(a, b *Acked) int {
	if a.Client != b.Client {
		return int(int64(a.Client) - int64(b.Client))
	}
	return int(int64(a.Service) - int64(b.Service))
}

func clientLies() []Lie {
	one := func(name string, tell Tell, want error) Lie {
		return Lie{name, tell, want, want}
	}
	unknown := func(signed bool) Tell {
		return func(w *Window, rng *rand.Rand) bool {
			i, ok := w.at(rng, w.signs(signed))
			if ok {
				delete(w.World.Clients, w.Statements[i].Client)
			}
			return ok
		}
	}
	return []Lie{
		one("an unknown client", unknown(true), rollup.ErrUnknownClient),
		one("an unknown client, unsigned", unknown(false), rollup.ErrUnknownClient),
		one("an unknown service", func(w *Window, rng *rand.Rand) bool {
			delete(w.World.Caps, w.Statements[rng.IntN(len(w.Statements))].Service)
			return true
		}, rollup.ErrUnknownService),
		one("a client whose time is over", admitting(true,
			func(c *rollup.Client, _ *rollup.Statement) { c.Since, c.Until = epoch-1, epoch }),
			rollup.ErrNotValid),
		one("a client whose time comes", admitting(true,
			func(c *rollup.Client, _ *rollup.Statement) { c.Since, c.Until = epoch+1, epoch+9 }),
			rollup.ErrNotValid),
		one("a service that was not granted", admitting(true, without), rollup.ErrNotGranted),
		one("numbers beyond the client's limit", admitting(true,
			func(c *rollup.Client, s *rollup.Statement) { c.Numbers = s.First + s.Acks - 1 }),
			rollup.ErrNumbers),
		one("numbers beyond the limit", edit(true, func(_ *Window, s *rollup.Statement) bool {
			s.First = numbers - s.Acks + 1
			return true
		}), rollup.ErrNumbers),
		one("numbers that wrap", edit(true, func(_ *Window, s *rollup.Statement) bool {
			s.First = math.MaxUint32
			return true
		}), rollup.ErrNumbers),
		one("acks beside the statement", func(w *Window, rng *rand.Rand) bool {
			i, ok := w.at(rng, w.signs(true))
			if ok {
				w.acknowledge(rng, w.Statements[i].Client, w.Statements[i].Service)
				slices.SortFunc(w.Acks, func(a, b Acked) int { return compareAcked(&a, &b) })
				w.Total()
			}
			return ok
		}, rollup.ErrBothParts),
	}
}

func rowLies() []Lie {
	rows := func(name string, tell Tell) Lie {
		return Lie{name, tell, rollup.ErrRows, rollup.ErrRows}
	}
	return []Lie{
		rows("a row is missing", func(w *Window, rng *rand.Rand) bool {
			i := rng.IntN(len(w.Rows))
			w.Rows = slices.Delete(w.Rows, i, i+1)
			return len(w.Rows) > 0
		}),
		rows("a row of nobody", func(w *Window, _ *rand.Rand) bool {
			*w.row(77, w.Statements[0].Service) = rollup.Row{Payer: 77, Service: w.Statements[0].Service,
				Acks: 1, Units: 1}
			return true
		}),
		rows("a row of zeros of nobody", func(w *Window, _ *rand.Rand) bool {
			w.row(77, w.Statements[0].Service)
			return true
		}),
		rows("units in a row of zeros", func(w *Window, rng *rand.Rand) bool {
			i := slices.IndexFunc(w.Rows, func(r rollup.Row) bool { return r.Acks == 0 })
			if i >= 0 {
				w.Rows[i].Units = 1
			}
			return i >= 0
		}),
		rows("an ack in a row of zeros", func(w *Window, rng *rand.Rand) bool {
			i := slices.IndexFunc(w.Rows, func(r rollup.Row) bool { return r.Acks == 0 })
			if i >= 0 {
				w.Rows[i].Acks, w.Rows[i].Units = 1, 1
			}
			return i >= 0
		}),
		rows("an ack more in a row", inRow(func(_ *Window, r, _ *rollup.Row, _ uint64) bool {
			r.Acks++
			r.Units++
			return true
		})),
		rows("an ack fewer in a row", inRow(func(_ *Window, r, _ *rollup.Row, _ uint64) bool {
			r.Acks--
			return true
		})),
		rows("fewer units than acks in a row", inRow(func(_ *Window, r, p *rollup.Row, _ uint64) bool {
			r.Units -= p.Units - p.Acks + 1
			return true
		})),
		{"more units than the cap lets in a row", inRow(func(_ *Window, r, p *rollup.Row,
			most uint64) bool {
			r.Units += most - p.Units + 1
			return true
		}), rollup.ErrUnits, rollup.ErrUnits},
		{"units of acks that were sent one by one", func(w *Window, rng *rand.Rand) bool {
			for i, p := range w.statementRows() {
				if p.Acks == 0 && w.Rows[i].Acks > 0 {
					w.Rows[i].Units++
					return true
				}
			}
			return false
		}, rollup.ErrUnits, rollup.ErrUnits},
	}
}

func headerLies() []Lie {
	one := func(name string, want error, change func(h *rollup.Header)) Lie {
		return Lie{name, header(change), want, want}
	}
	return []Lie{
		one("another list", rollup.ErrList, func(h *rollup.Header) { h.ListRoot[3] ^= 8 }),
		one("another root", rollup.ErrRoot, func(h *rollup.Header) { h.StatementRoot[3] ^= 8 }),
		one("a statement more", rollup.ErrCount, func(h *rollup.Header) { h.StatementCount++ }),
		one("another window", rollup.ErrSignature, func(h *rollup.Header) { h.Window++ }),
		one("no signature", rollup.ErrSignature,
			func(h *rollup.Header) { h.StatementSignature = bls.IdentitySignature }),
		{"a signature is missing", func(w *Window, rng *rand.Rand) bool {
			signers := w.List().Signers()
			i := rng.IntN(len(signers))
			w.Signers = slices.Delete(signers, i, i+1)
			return true
		}, rollup.ErrSignature, rollup.ErrSignature},
		{"a signature too many", func(w *Window, _ *rand.Rand) bool {
			w.Signers = append(w.List().Signers(), 5)
			return true
		}, rollup.ErrSignature, rollup.ErrSignature},
	}
}

// Hidden are lies that the list does not show. Rung 2 has its reasons, on rung 3 there is no proof.
func Hidden() []Lie {
	lies := slices.Concat(unitLies(), treeLies())
	for i := range lies {
		lies[i].Third = rollup.ErrProof
	}
	return lies
}

func unitLies() []Lie {
	// set gives a other units, which b makes good.
	type of func(*Window, *rollup.Statement) uint64
	set := func(units of) func(w *Window, a, b *rollup.Statement) bool {
		return func(w *Window, a, b *rollup.Statement) bool {
			sum, to := a.Units+b.Units, units(w, a)
			a.Units = to
			b.Units = sum - to
			return sum >= to && b.Units >= uint64(b.Acks) &&
				b.Units <= uint64(b.Acks)*w.World.Caps[b.Service]
		}
	}
	below := func(_ *Window, s *rollup.Statement) uint64 { return uint64(s.Acks) - 1 }
	none := func(*Window, *rollup.Statement) uint64 { return 0 }
	above := func(w *Window, s *rollup.Statement) uint64 {
		return uint64(s.Acks)*w.World.Caps[s.Service] + 1
	}
	alone := func(units of) func(*Window, *rollup.Statement) bool {
		return func(w *Window, s *rollup.Statement) bool {
			s.Units = units(w, s)
			return true
		}
	}
	return []Lie{
		{"units below acks", pair(true, set(below)), rollup.ErrStatement, nil},
		{"no units", pair(true, set(none)), rollup.ErrStatement, nil},
		{"units above the cap", pair(true, set(above)), rollup.ErrStatement, nil},
		{"units below acks, unsigned", edit(false, alone(below)), rollup.ErrStatement, nil},
		{"no units, unsigned", edit(false, alone(none)), rollup.ErrStatement, nil},
		{"units above the cap, unsigned", edit(false, alone(above)), rollup.ErrStatement, nil},
		{"2^49 units, unsigned", edit(false, func(_ *Window, s *rollup.Statement) bool {
			s.Units += 1 << 49
			return true
		}), rollup.ErrStatement, nil},
		{"a unit more in a row", inRow(func(_ *Window, r, p *rollup.Row, most uint64) bool {
			if p.Units == most {
				return false
			}
			r.Units++
			return true
		}), rollup.ErrRows, nil},
		{"a unit fewer in a row", inRow(func(_ *Window, r, p *rollup.Row, _ uint64) bool {
			if p.Units == p.Acks {
				return false
			}
			r.Units--
			return true
		}), rollup.ErrRows, nil},
		{"units exchanged between rows", exchange, rollup.ErrRows, nil},
		{"an unsigned statement's units are paid for", func(w *Window, rng *rand.Rand) bool {
			parts := w.statementRows()
			i, ok := w.at(rng, w.signs(false))
			if !ok {
				return false
			}
			s := &w.Statements[i]
			key := rollup.Row{Payer: s.Payer, Service: s.Service}
			j, _ := slices.BinarySearchFunc(w.Rows, key, compareRows)
			w.Rows[j].Units += s.Units
			return parts[j].Units+s.Units <= parts[j].Acks*w.World.Caps[s.Service]
		}, rollup.ErrRows, nil},
	}
}

func treeLies() []Lie {
	tree := func(name string, tell Tell) Lie {
		return Lie{name, tell, rollup.ErrRoot, nil}
	}
	return []Lie{
		tree("another client under the root",
			under(func(_ *Window, s *rollup.Statement) { s.Client ^= 1 })),
		tree("another payer under the root", under(func(w *Window, s *rollup.Statement) {
			s.Payer = w.Rows[len(w.Rows)-1].Payer
		})),
		tree("another service under the root", under(func(w *Window, s *rollup.Statement) {
			s.Service = w.Rows[len(w.Rows)-1].Service
		})),
		tree("another number under the root",
			under(func(_ *Window, s *rollup.Statement) { s.First ^= 1 })),
		tree("other acks under the root", under(func(_ *Window, s *rollup.Statement) {
			if s.Acks++; uint64(s.Acks) > s.Units {
				s.Acks -= 2
			}
		})),
		tree("acks of two exchanged under the root", func(w *Window, rng *rand.Rand) bool {
			w.Under = slices.Clone(w.Statements)
			i, j := rng.IntN(len(w.Under)), rng.IntN(len(w.Under))
			w.Under[i].Acks, w.Under[j].Acks = w.Under[j].Acks, w.Under[i].Acks
			return !slices.Equal(w.Under, w.Statements)
		}),
		tree("clients of two exchanged under the root", func(w *Window, rng *rand.Rand) bool {
			w.Under = slices.Clone(w.Statements)
			i, j := rng.IntN(len(w.Under)), rng.IntN(len(w.Under))
			w.Under[i].Client, w.Under[j].Client = w.Under[j].Client, w.Under[i].Client
			return !slices.Equal(w.Under, w.Statements)
		}),
		tree("neighbours exchanged under the root", func(w *Window, rng *rand.Rand) bool {
			w.Under = slices.Clone(w.Statements)
			i := rng.IntN(len(w.Under))
			j := min(i+1, len(w.Under)-1)
			w.Under[i], w.Under[j] = w.Under[j], w.Under[i]
			return i != j
		}),
		tree("a statement more under the root", func(w *Window, rng *rand.Rand) bool {
			s := w.Statements[len(w.Statements)-1]
			s.Client++
			w.Under = append(slices.Clone(w.Statements), s)
			return len(w.Statements)%128 > 0
		}),
		tree("a statement fewer under the root", func(w *Window, rng *rand.Rand) bool {
			w.Under = w.Statements[:len(w.Statements)-1]
			return len(w.Under) > 0
		}),
	}
}
