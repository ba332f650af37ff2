package workload

//go:generate go tool stringer -type=Reason -linecomment -output=reason_string.go

// Reason is why a line is not read as a request.
type Reason uint8

// The reasons. Each names the first thing in a line that is not as the format says.
const (
	ReasonEmpty       Reason = iota // empty line
	ReasonTooLong                   // longer than 65536 bytes
	ReasonControl                   // a NUL or a carriage return inside the line
	ReasonAddress                   // no address where the client's should be
	ReasonIdentity                  // no identity and user between address and time
	ReasonTime                      // no time in brackets, followed by a request in quotes
	ReasonTwoRecords                // two records in one line
	ReasonRequest                   // the request has no closing quote
	ReasonStatus                    // no status from 100 to 599 after the request
	ReasonSize                      // the size is neither a number nor a dash
	ReasonAfterSize                 // more than one number after the status
	ReasonCutSize                   // the log ends in the size, which may be cut
	ReasonQuotes                    // text right behind a closing quote
	ReasonVirtualHost               // no virtual host before the address
	ReasonTrailing                  // text after the size, where Common Log Format has none
	ReasonJSON                      // not a JSON object
	ReasonJSONRequest               // JSON without request, status or size of an access log
)

func (r Reason) Error() string { return r.String() }
