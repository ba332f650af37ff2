package rollup

import (
	"cmp"
	"fmt"
	"iter"
	"math"
	"slices"
)

const runSize = 8 + 3*4

// MaxAcksSize is the most bytes that the list of a window's acks has: each ack a run of its own.
const MaxAcksSize = 4 + MaxAcks*(runSize+BodySize)

// Run is acks of one client for one service with consecutive numbers, of one node and epoch.
type Run struct {
	Client  uint64 `json:"client"`
	Service uint32 `json:"service"`
	First   uint32 `json:"first"` // number of the first ack
	Count   uint32 `json:"acks"`  // at least 1
}

// End returns the number behind the run's last, which may be 2^32.
func (r Run) End() uint64 { return uint64(r.First) + uint64(r.Count) }

// compareRuns orders by (client, service).
func compareRuns(a, b Run) int {
	return cmp.Or(cmp.Compare(a.Client, b.Client), cmp.Compare(a.Service, b.Service))
}

// Acks is an encoded list of acks without their signatures (section 6): a u32 count of runs, then
// 20 bytes a run and, in the same order, 40 bytes an ack. It is the archive of a window when it
// holds all of them, and the evidence of a rollup's acks part. Values come from ParseAcks,
// ParseEvidence and a Sealer; methods on anything else may panic.
type Acks []byte

// noAcks is what evidence without acks has in their place.
var noAcks = Acks{0, 0, 0, 0}

// ParseAcks checks length, limits and order. It does not copy b. Errors: ErrMalformed, ErrCount,
// ErrUnsorted, ErrNumbers.
func ParseAcks(b []byte) (Acks, error) {
	r := newReader(b)
	acks := r.acks(1)
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("acks: %w", err)
	}
	return acks, nil
}

// acks reads a list of at least least acks, in order.
func (r *reader) acks(least int) Acks {
	b := r.B
	runs := r.U32()
	if r.Err == nil && runs > MaxAcks {
		r.Err = fmt.Errorf("%w: %d runs, where %d may be", ErrCount, runs, MaxAcks)
	}
	r.Next(int(runs) * runSize)
	if r.Err != nil {
		return nil
	}
	total, err := checkRuns(b[4 : 4+int(runs)*runSize])
	if err == nil && (total < least || total > MaxAcks) {
		err = fmt.Errorf("%w: %d in the evidence, where %d to %d may be", ErrCount, total, least, MaxAcks)
	}
	if r.Err = err; err != nil {
		return nil
	}
	r.Next(total * BodySize)
	if r.Err != nil {
		return nil
	}
	n := len(b) - len(r.B)
	return Acks(b[:n:n])
}

// checkRuns checks encoded runs, at most MaxAcks of them, and returns how many acks they are.
func checkRuns(b []byte) (total int, err error) {
	var last Run
	for i := 0; len(b) > 0; i, b = i+1, b[runSize:] {
		run := runAt(b)
		switch {
		case i > 0 && compareRuns(last, run) >= 0:
			return 0, at("run", i, ErrUnsorted)
		case run.Client >= MaxClients:
			return 0, at("run", i, fmt.Errorf("%w: client %d", ErrMalformed, run.Client))
		case run.Count == 0 || run.Count > MaxAcks:
			return 0, at("run", i, fmt.Errorf("%w: %d acks", ErrCount, run.Count))
		case run.End() > math.MaxUint32:
			return 0, at("run", i, fmt.Errorf("%w: %d from number %d on", ErrNumbers, run.Count, run.First))
		}
		total += int(run.Count)
		last = run
	}
	return total, nil
}

func runAt(b []byte) Run {
	return Run{Client: le.Uint64(b), Service: le.Uint32(b[8:]), First: le.Uint32(b[12:]),
		Count: le.Uint32(b[16:])}
}

func appendRun(dst []byte, r Run) []byte {
	dst = le.AppendUint64(dst, r.Client)
	dst = le.AppendUint32(dst, r.Service)
	dst = le.AppendUint32(dst, r.First)
	return le.AppendUint32(dst, r.Count)
}

// check is what ParseAcks checks, for acks that come without having been parsed.
func (a Acks) check(least int) error {
	r := newReader(a)
	r.acks(least)
	return r.End()
}

// RunCount returns the number of runs.
func (a Acks) RunCount() int { return int(le.Uint32(a)) }

// Run returns run i.
func (a Acks) Run(i int) Run { return runAt(a[4+i*runSize:]) }

// bodies returns what the acks have for themselves, 40 bytes each.
func (a Acks) bodies() []byte { return a[4+a.RunCount()*runSize:] }

// Len returns the number of acks.
func (a Acks) Len() int { return len(a.bodies()) / BodySize }

// Runs yields the runs in order, each with the position of its first ack.
func (a Acks) Runs() iter.Seq2[int, Run] {
	return func(yield func(int, Run) bool) {
		from := 0
		for i := range a.RunCount() {
			run := a.Run(i)
			if !yield(from, run) {
				return
			}
			from += int(run.Count)
		}
	}
}

// Body returns units and request of ack i in tree order, 40 bytes in place.
func (a Acks) Body(i int) []byte {
	o := 4 + a.RunCount()*runSize + i*BodySize
	return a[o : o+BodySize : o+BodySize]
}

// Units returns the units of ack i.
func (a Acks) Units(i int) uint64 { return le.Uint64(a.Body(i)) }

// Request returns the request field of ack i.
func (a Acks) Request(i int) Hash { return Hash(a.Body(i)[8:]) }

// Index returns the position of an ack in tree order, false when it is not there.
func (a Acks) Index(client uint64, service, number uint32) (int, bool) {
	want := Run{Client: client, Service: service}
	for from, run := range a.Runs() {
		if c := compareRuns(run, want); c > 0 {
			break
		} else if c == 0 {
			return from + int(number-run.First), number >= run.First && uint64(number) < run.End()
		}
	}
	return 0, false
}

// Ack returns ack i, without its signature, of the rollup with header h.
func (a Acks) Ack(h *Header, i int) Ack {
	for from, run := range a.Runs() {
		if i < from+int(run.Count) {
			return Ack{Net: h.Network.Net(), Epoch: h.Epoch, Node: h.Node, Client: run.Client,
				Service: run.Service, Number: run.First + uint32(i-from), Units: a.Units(i),
				Request: a.Request(i)}
		}
	}
	panic("rollup: no such ack")
}

// Clients returns the clients of the acks, ascending, each once.
func (a Acks) Clients() []uint64 {
	var clients []uint64
	for _, run := range a.Runs() {
		if len(clients) == 0 || clients[len(clients)-1] != run.Client {
			clients = append(clients, run.Client)
		}
	}
	return clients
}

// Without returns the acks of all clients but those in signers, which ascend, in memory of its own:
// the acks part of a rollup whose window holds these acks.
func (a Acks) Without(signers []uint64) Acks {
	keep := func(client uint64) bool {
		_, signed := slices.BinarySearch(signers, client)
		return !signed
	}
	rest := make(Acks, 4, len(a))
	for _, run := range a.Runs() {
		if keep(run.Client) {
			rest = appendRun(rest, run)
		}
	}
	le.PutUint32(rest, uint32((len(rest)-4)/runSize))
	bodies := a.bodies()
	for from, run := range a.Runs() {
		if keep(run.Client) {
			rest = append(rest, bodies[from*BodySize:(from+int(run.Count))*BodySize]...)
		}
	}
	return rest
}

// Only returns the acks of one client for one service, in memory of their own.
func (a Acks) Only(client uint64, service uint32) Acks {
	only := Acks{0, 0, 0, 0}
	for from, run := range a.Runs() {
		if run.Client == client && run.Service == service {
			only[0] = 1
			only = appendRun(only, run)
			return append(only, a.bodies()[from*BodySize:(from+int(run.Count))*BodySize]...)
		}
	}
	return only
}
