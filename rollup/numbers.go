package rollup

import "fmt"

// Numbers is what has been used of the acks' numbers at one node in one epoch: for each client and
// service the next one. A committee member keeps it so that it signs no number twice (section 7),
// a node so that it takes none twice. The zero value is that of an epoch in which nothing was used.
// A (client, service) costs 4 bytes, in pages of 64 neighbouring clients. Not safe for concurrent
// use.
type Numbers struct {
	services map[uint32]*numberPages
	last     *numberPages // of service lastService
	service  uint32
}

const numbersPerPage = 64

type numberPage [numbersPerPage]uint32

type numberPages struct {
	pages map[uint64]*numberPage
	at    uint64 // of last
	last  *numberPage
}

// Next returns the next number of a client for a service.
func (n *Numbers) Next(client uint64, service uint32) uint32 {
	p := n.of(service)
	if p == nil {
		return 0
	}
	page := p.page(client / numbersPerPage)
	if page == nil {
		return 0
	}
	return page[client%numbersPerPage]
}

// Check returns ErrNumbers for a run that begins below the next number.
func (n *Numbers) Check(run Run) error {
	if next := n.Next(run.Client, run.Service); run.First < next {
		return fmt.Errorf("%w: client %d, service %d: %d, where %d is next", ErrNumbers, run.Client,
			run.Service, run.First, next)
	}
	return nil
}

// Take uses the numbers up to the run's end. The caller has checked the run.
func (n *Numbers) Take(run Run) {
	p := n.of(run.Service)
	if p == nil {
		if n.services == nil {
			n.services = make(map[uint32]*numberPages)
		}
		p = &numberPages{pages: make(map[uint64]*numberPage)}
		n.services[run.Service] = p
		n.last, n.service = p, run.Service
	}
	at := run.Client / numbersPerPage
	page := p.page(at)
	if page == nil {
		page = new(numberPage)
		p.pages[at] = page
		p.at, p.last = at, page
	}
	page[run.Client%numbersPerPage] = run.First + run.Count
}

func (n *Numbers) of(service uint32) *numberPages {
	if n.last == nil || n.service != service {
		n.last, n.service = n.services[service], service
	}
	return n.last
}

func (p *numberPages) page(at uint64) *numberPage {
	if p.last == nil || p.at != at {
		p.last, p.at = p.pages[at], at
	}
	return p.last
}
