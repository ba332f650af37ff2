package rollup

import "fmt"

// Refusal is the error of something that was refused for one of a closed set of reasons. C is the
// set: an enum whose values are errors, such as Code, ledger.TxCode or peer.Reason.
//
// A Refusal wraps its Code and its Err. So a caller that only branches on the reason writes
//
//	errors.Is(err, peer.ReasonBusy)
//
// one that needs the reason itself, whichever it is, takes it out with
//
//	var reason peer.Reason
//	if errors.As(err, &reason) { … }
//
// and one that needs the details asks for *Refusal[peer.Reason], or for the type of Err. A package
// with details of its own puts them into Err instead of declaring another type of refusal.
type Refusal[C error] struct {
	Code C
	Err  error // what was wrong in particular; nil when the code says all
}

// Refuse returns a refusal whose Err is made like [fmt.Errorf] makes it; %w wraps.
func Refuse[C error](code C, format string, args ...any) *Refusal[C] {
	return &Refusal[C]{Code: code, Err: fmt.Errorf(format, args...)}
}

// Error returns the code's text and, after a colon, the details.
func (r *Refusal[C]) Error() string {
	if r.Err == nil {
		return r.Code.Error()
	}
	return r.Code.Error() + ": " + r.Err.Error()
}

// Detail returns the text of Err, which is empty when there is none.
func (r *Refusal[C]) Detail() string {
	if r.Err == nil {
		return ""
	}
	return r.Err.Error()
}

// Unwrap returns the code and, unless it is nil, Err. The code comes first, so that errors.As finds
// it before a code of the same type that Err may wrap.
func (r *Refusal[C]) Unwrap() []error {
	if r.Err == nil {
		return []error{r.Code}
	}
	return []error{r.Code, r.Err}
}
