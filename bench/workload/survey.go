package workload

import (
	"cmp"
	"errors"
	"iter"
	"maps"
	"slices"
)

// Survey is what a reading of deliveries gave.
type Survey struct {
	Requests  uint64    `json:"requests"`
	Clients   uint64    `json:"clients"`   // pairs of an address and a payer
	Addresses uint64    `json:"addresses"` // distinct ones
	Payers    uint64    `json:"payers"`
	Services  uint64    `json:"services"`
	Units     uint64    `json:"units"`
	ByPayer   []Share   `json:"by_payer"` // most units first
	Lines     uint64    `json:"lines"`    // read as requests or refused
	Refused   []Refused `json:"refused"`  // most lines first
}

// Share is what one payer's clients were served.
type Share struct {
	Payer    string `json:"payer"`
	Requests uint64 `json:"requests"`
	Units    uint64 `json:"units"`
}

// Refused are the lines that one reason kept from being read as requests.
type Refused struct {
	Reason    string `json:"reason"`
	Count     uint64 `json:"count"`
	FirstLine int    `json:"first_line"`
}

// RefusedLines is the number of lines that could not be read.
func (s *Survey) RefusedLines() (n uint64) {
	for _, r := range s.Refused {
		n += r.Count
	}
	return n
}

// RefusedShare is the share of the lines that could not be read, 0 to 1.
func (s *Survey) RefusedShare() float64 {
	if s.Lines == 0 {
		return 0
	}
	return float64(s.RefusedLines()) / float64(s.Lines)
}

// Take reads deliveries to their end. The survey holds what was read also when there is an error,
// which is never a [*LineError].
func Take(deliveries iter.Seq2[Delivery, error]) (*Survey, error) {
	type client struct{ address, payer string }
	s := &Survey{}
	clients := map[client]bool{}
	addresses := map[string]bool{}
	services := map[string]bool{}
	payers := map[string]*Share{}
	refused := map[Reason]*Refused{}
	var failure error
	for d, err := range deliveries {
		var line *LineError
		if errors.As(err, &line) {
			s.Lines++
			r := refused[line.Reason]
			if r == nil {
				r = &Refused{Reason: line.Reason.String(), FirstLine: line.Line}
				refused[line.Reason] = r
			}
			r.Count++
			continue
		}
		if err != nil {
			failure = err
			break
		}
		s.Lines++
		s.Requests++
		s.Units += d.Units
		clients[client{d.Address, d.Payer}] = true
		addresses[d.Address] = true
		services[d.Service] = true
		p := payers[d.Payer]
		if p == nil {
			p = &Share{Payer: d.Payer}
			payers[d.Payer] = p
		}
		p.Requests++
		p.Units += d.Units
	}
	s.Clients, s.Addresses = uint64(len(clients)), uint64(len(addresses))
	s.Payers, s.Services = uint64(len(payers)), uint64(len(services))
	s.ByPayer, s.Refused = []Share{}, []Refused{}
	for p := range maps.Values(payers) {
		s.ByPayer = append(s.ByPayer, *p)
	}
	slices.SortFunc(s.ByPayer, func(a, b Share) int {
		return cmp.Or(cmp.Compare(b.Units, a.Units), cmp.Compare(a.Payer, b.Payer))
	})
	for r := range maps.Values(refused) {
		s.Refused = append(s.Refused, *r)
	}
	slices.SortFunc(s.Refused, func(a, b Refused) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.FirstLine, b.FirstLine))
	})
	return s, failure
}
