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

// The pages of a service: clients are dense, so they are found by index below a directory of 65,536
// neighbouring clients.
const (
	numbersPerPage    = 64
	pagesPerDirectory = 1024
)

type numberPage [numbersPerPage]uint32

type numberDirectory [pagesPerDirectory]*numberPage

type numberPages struct {
	directories map[uint64]*numberDirectory
	at          uint64 // of last
	last        *numberDirectory
}

// Next returns the next number of a client for a service.
func (n *Numbers) Next(client uint64, service uint32) uint32 {
	p := n.of(service)
	if p == nil {
		return 0
	}
	at, page := split(client)
	if d := p.directory(at); d != nil && d[page] != nil {
		return d[page][client%numbersPerPage]
	}
	return 0
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
		p = &numberPages{directories: make(map[uint64]*numberDirectory)}
		n.services[run.Service] = p
		n.last, n.service = p, run.Service
	}
	at, page := split(run.Client)
	d := p.directory(at)
	if d == nil {
		d = new(numberDirectory)
		p.directories[at] = d
		p.at, p.last = at, d
	}
	if d[page] == nil {
		d[page] = new(numberPage)
	}
	d[page][run.Client%numbersPerPage] = run.First + run.Count
}

// split returns where a client's directory is, and its page in there.
func split(client uint64) (directory, page uint64) {
	return client / (numbersPerPage * pagesPerDirectory), client / numbersPerPage % pagesPerDirectory
}

func (n *Numbers) of(service uint32) *numberPages {
	if n.last == nil || n.service != service {
		n.last, n.service = n.services[service], service
	}
	return n.last
}

func (p *numberPages) directory(at uint64) *numberDirectory {
	if p.last == nil || p.at != at {
		p.last, p.at = p.directories[at], at
	}
	return p.last
}

// Billed returns the runs that a rollup with this evidence bills: those of the acks part, and the
// entries of the list that are signed.
func (ev *Evidence) Billed() []Run {
	runs := make([]Run, 0, ev.Acks.RunCount()+len(ev.List))
	for _, run := range ev.Acks.Runs() {
		runs = append(runs, run)
	}
	for i := range ev.List {
		if ev.List[i].Signed {
			runs = append(runs, ev.List[i].Run)
		}
	}
	return runs
}

// CheckAll is Check for all runs of a rollup.
func (n *Numbers) CheckAll(runs []Run) error {
	for _, run := range runs {
		if err := n.Check(run); err != nil {
			return err
		}
	}
	return nil
}

// TakeAll is Take for all runs of a rollup.
func (n *Numbers) TakeAll(runs []Run) {
	for _, run := range runs {
		n.Take(run)
	}
}
