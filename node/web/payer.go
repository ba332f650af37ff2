package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// Payers is what a node knows of the payers of its chain. It is safe for concurrent use.
type Payers interface {
	// Payer returns the account that is named by its index or its key in hexadecimal, with the
	// newest epochs before one, at most Epochs of them. ErrUnknown: there is none.
	Payer(account string, before uint32) (*Payer, error)
	// Invoice returns what a payer was charged in an epoch as CSV, or JSON. ErrUnknown: nothing;
	// ErrNotYet: the committee has not signed the settlement.
	Invoice(payer, epoch uint32, asJSON bool) ([]byte, error)
	// Settlement returns the certified settlement of an epoch. Errors are those of Invoice.
	Settlement(epoch uint32) ([]byte, error)
}

// Errors of Payers.
var (
	ErrUnknown = errors.New("web: the ledger has nothing of that, or keeps it no longer")
	ErrNotYet  = errors.New("web: the committee has not signed that yet")
)

// Epochs is the most epochs that a Payer has.
const Epochs = 20

// Payer is an account that pays for deliveries. Amounts are micro-credits.
type Payer struct {
	Index         uint32        `json:"index"`
	Key           string        `json:"key"`
	Balance       uint64        `json:"balance,string"`
	Reserve       uint64        `json:"reserve,string"`
	Committed     uint64        `json:"committed,string"`
	Thawing       uint64        `json:"thawing,string"`
	ThawEpoch     uint32        `json:"thaw_epoch"`
	Allowance     uint64        `json:"allowance,string"`      // of one node in this epoch
	NextAllowance uint64        `json:"next_allowance,string"` // and in the next one
	Epoch         uint32        `json:"epoch"`                 // that runs
	Epochs        []ChargeEpoch `json:"epochs"`                // that charged it, the newest first
	Older         *uint32       `json:"older"`                 // there may be more before this epoch
}

// ChargeEpoch is what a payer was charged in an epoch.
type ChargeEpoch struct {
	Epoch   uint32   `json:"epoch"`
	Settled bool     `json:"settled"` // else it is what was ordered so far
	Signed  bool     `json:"signed"`  // the committee signed the settlement: there are files of it
	Charges []Charge `json:"charges"` // by node and service
}

// Charge is what one node delivered of one service.
type Charge struct {
	Node    uint32 `json:"node"`
	Service uint32 `json:"service"`
	Unit    string `json:"unit"`
	Acks    uint64 `json:"acks,string"`
	Units   uint64 `json:"units,string"`
	Price   uint64 `json:"price,string"`   // of 2^20 units
	Amount  uint64 `json:"amount,string"`  // what the units cost
	Allowed uint64 `json:"allowed,string"` // of it, what the allowance left
	Paid    uint64 `json:"paid,string"`    // of that, what the reserve had
}

// payers answers for the page of a payer.
type payers struct{ Payers }

func (p payers) routes(mux *http.ServeMux, page http.Handler) {
	mux.Handle("GET /payer/{$}", page)
	mux.Handle("GET /payer/{account}", page)
	mux.HandleFunc("GET /api/payer/{account}", p.payer)
	mux.HandleFunc("GET /api/invoice/{payer}/{file}", p.invoice)
	mux.HandleFunc("GET /api/settlement/{file}", p.settlement)
}

// refuse answers with an error, in JSON.
func (p payers) refuse(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, ErrUnknown):
		status = http.StatusNotFound
	case errors.Is(err, ErrNotYet):
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "5")
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// A client that went away is no error of ours.
	json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
}

func (p payers) payer(w http.ResponseWriter, r *http.Request) {
	before := uint64(1<<32 - 1)
	var err error
	if text := r.URL.Query().Get("before"); text != "" {
		if before, err = strconv.ParseUint(text, 10, 32); err != nil {
			p.refuse(w, fmt.Errorf("%w: before is the number of an epoch", ErrUnknown))
			return
		}
	}
	found, err := p.Payer(r.PathValue("account"), uint32(before))
	if err != nil {
		p.refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(found)
}

func (p payers) invoice(w http.ResponseWriter, r *http.Request) {
	name, asJSON := strings.CutSuffix(r.PathValue("file"), ".json")
	name, asCSV := strings.CutSuffix(name, ".csv")
	epoch, failed := strconv.ParseUint(name, 10, 32)
	payer, err := strconv.ParseUint(r.PathValue("payer"), 10, 32)
	if err != nil || failed != nil || asJSON == asCSV {
		p.refuse(w, ErrUnknown)
		return
	}
	b, err := p.Invoice(uint32(payer), uint32(epoch), asJSON)
	kind := "text/csv; charset=utf-8"
	if asJSON {
		kind = "application/json"
	}
	p.file(w, b, err, kind, fmt.Sprintf("invoice-%d-epoch-%s", payer, r.PathValue("file")))
}

func (p payers) settlement(w http.ResponseWriter, r *http.Request) {
	name, ok := strings.CutSuffix(r.PathValue("file"), ".wbx")
	epoch, err := strconv.ParseUint(name, 10, 32)
	if err != nil || !ok {
		p.refuse(w, ErrUnknown)
		return
	}
	b, err := p.Settlement(uint32(epoch))
	p.file(w, b, err, "application/octet-stream", fmt.Sprintf("settlement-%d.wbx", epoch))
}

// file answers with a file to keep. Its name is made of numbers.
func (p payers) file(w http.ResponseWriter, b []byte, err error, kind, name string) {
	if err != nil {
		p.refuse(w, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(b)))
	h.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	h.Set("Cache-Control", "no-store")
	w.Write(b) // a client that went away is no error of ours
}
