package delivery

import (
	"strings"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/word"
)

const (
	// FuelOfUnit is the fuel of one unit of a service, of which the last one may be begun only.
	FuelOfUnit = 1024
	// MaxFuel is the most that a run may be given.
	MaxFuel = 1 << 44
	// MaxInput is how many bytes of input a run may have.
	MaxInput = 1 << 24
	// MaxArgs is how many arguments a run may have, of MaxArgBytes together.
	MaxArgs, MaxArgBytes = 64, 4096
)

// Units returns how many units a run is billed that used so much fuel.
func Units(fuel uint64) uint64 {
	units := fuel / FuelOfUnit
	if fuel%FuelOfUnit > 0 {
		units++
	}
	return units
}

// Outcome is how a run ended. Each one follows from module, input, arguments and fuel alone.
type Outcome uint8

// The outcomes.
const (
	OutcomeExited  Outcome = iota + 1 // exited
	OutcomeTrapped                    // trapped
	OutcomeFuel                       // out_of_fuel
	numOutcomes
)

// Outcomes returns all outcomes.
func Outcomes() (all []Outcome) {
	for o := OutcomeExited; o < numOutcomes; o++ {
		all = append(all, o)
	}
	return all
}

//go:generate go tool stringer -type=Outcome -linecomment -output=outcome_string.go

var argsKey = blake3.ContextKey("waybill/compute/args/2")

// CheckArgs refuses arguments that a run cannot have: ReasonMalformed.
func CheckArgs(args []string) error {
	bytes := 0
	for _, a := range args {
		if bytes += len(a); strings.Contains(a, "\x00") {
			return Refuse(ReasonMalformed, "an argument with a zero byte")
		}
	}
	if len(args) > MaxArgs || bytes > MaxArgBytes {
		return Refuse(ReasonMalformed, "%d arguments of %d bytes", len(args), bytes)
	}
	return nil
}

// ArgsDigest returns the digest of arguments: zero of none.
func ArgsDigest(args []string) (digest rollup.Hash) {
	if len(args) == 0 {
		return digest
	}
	var b []byte
	for _, a := range args {
		b = append(le.AppendUint16(b, uint16(len(a))), a...)
	}
	return blake3.Keyed(&argsKey, b)
}

// Start is the first frame of a run: what the node signs before it runs a module.
type Start struct {
	Word      word.Run
	Signature word.Signature
}

// Meter says how much fuel a run has used so far. It is signed by nobody.
type Meter struct{ Fuel uint64 }

// Output is a piece of a run's output.
type Output []byte

// Result is the last frame of a run: what the node signs of how it ended.
type Result struct {
	Word      word.Ran
	Signature word.Signature
}

// Append appends the frame to dst.
func (s *Start) Append(dst []byte) []byte {
	return append(s.Word.Append(prefix(dst, KindStart, StartSize)), s.Signature[:]...)
}

// Append appends the frame to dst.
func (m Meter) Append(dst []byte) []byte {
	return le.AppendUint64(prefix(dst, KindMeter, meterSize), m.Fuel)
}

// Append appends the frame of a piece, of 1 to MaxOutput bytes, to dst.
func (o Output) Append(dst []byte) []byte { return append(prefix(dst, KindOutput, len(o)), o...) }

// Append appends the frame to dst.
func (x *Result) Append(dst []byte) []byte {
	return append(x.Word.Append(prefix(dst, KindResult, ResultSize)), x.Signature[:]...)
}

// ParseStart decodes the body of a start.
func ParseStart(b []byte) (s Start, err error) {
	r := newReader(b)
	if w := r.Next(word.RunSize); w != nil {
		if s.Word, err = word.ParseRun(w); err != nil {
			r.Fail("%w", err)
		}
	}
	r.Fill(s.Signature[:])
	return s, r.End()
}

// ParseMeter decodes the body of a meter.
func ParseMeter(b []byte) (m Meter, err error) {
	r := newReader(b)
	m.Fuel = r.U64()
	return m, r.End()
}

// ParseResult decodes the body of a result.
func ParseResult(b []byte) (x Result, err error) {
	r := newReader(b)
	if w := r.Next(word.RanSize); w != nil {
		if x.Word, err = word.ParseRan(w); err != nil {
			r.Fail("%w", err)
		}
	}
	if o := Outcome(x.Word.Outcome); r.Err == nil && (o == 0 || o >= numOutcomes) {
		r.Fail("an outcome %d", o)
	}
	r.Fill(x.Signature[:])
	return x, r.End()
}
