package mainjob

import (
	"errors"
	"fmt"
	"iter"

	"github.com/waybill-network/waybill/bench/workload"
	"github.com/waybill-network/waybill/internal/text"
)

// deliveries yields a workload and the lines that are none; closing ends what it reads from.
type deliveries func() (all iter.Seq2[workload.Delivery, error], closing func() error, err error)

// Source is a workload that can be read more than once.
type Source struct {
	what string
	open deliveries
}

// Generated is a workload that a seed determines.
func Generated(seed uint64, requests int) Source {
	g := workload.Generator{Seed: seed, Requests: requests}
	what := fmt.Sprintf("%s generated with seed %d", text.Plural(requests, "request"), seed)
	return Source{what, func() (iter.Seq2[workload.Delivery, error], func() error, error) {
		return g.Deliveries(), func() error { return nil }, nil
	}}
}

// Log is the workload of an access log. That the file cannot be read is found here, and not only
// when the job has started.
func Log(file string) (Source, error) {
	r, err := workload.Open(file)
	if err != nil {
		return Source{}, fmt.Errorf("access log: %w", err)
	}
	return Source{file, func() (iter.Seq2[workload.Delivery, error], func() error, error) {
		r, err := workload.Open(file)
		if err != nil {
			return nil, nil, err
		}
		return workload.ReadLog(r), r.Close, nil
	}}, r.Close()
}

// each yields the deliveries from index from up to to. Lines that are no requests are counted in
// bad; err is the first failure to read.
func (s Source) each(from, to int, bad *int, err *error) iter.Seq[workload.Delivery] {
	return func(yield func(workload.Delivery) bool) {
		all, done, e := s.open()
		if e != nil {
			*err = e
			return
		}
		defer func() { *err = errors.Join(*err, done()) }()
		i := 0
		for d, e := range all {
			var line *workload.LineError
			switch {
			case errors.As(e, &line):
				*bad++
				continue
			case e != nil:
				*err = e
				return
			}
			if i >= to || i >= from && !yield(d) {
				return
			}
			i++
		}
	}
}
