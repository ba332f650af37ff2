package delivery

import "github.com/waybill-network/waybill/rollup"

//go:generate go tool stringer -type=Reason -linecomment -output=reason_string.go

// Reason is why a node delivers nothing, or no more. It is an error, and stands as a number in
// frames that abort a stream.
type Reason uint8

// The reasons.
const (
	ReasonMalformed     Reason = iota + 1 // malformed
	ReasonNetwork                         // wrong_network
	ReasonNode                            // wrong_node
	ReasonEpoch                           // wrong_epoch
	ReasonChallenge                       // stale_challenge
	ReasonSignature                       // bad_signature
	ReasonClient                          // unknown_client
	ReasonNotValid                        // not_valid
	ReasonService                         // unknown_service
	ReasonNotGranted                      // not_granted
	ReasonNumbers                         // numbers_used
	ReasonSession                         // unknown_session
	ReasonSuperseded                      // superseded
	ReasonOwesClient                      // client_owes
	ReasonOwesPayer                       // payer_owes
	ReasonOwesAddress                     // address_owes
	ReasonUnpaid                          // unpaid
	ReasonNotFound                        // not_found
	ReasonDenied                          // denied
	ReasonRange                           // range
	ReasonRate                            // rate
	ReasonVolume                          // volume
	ReasonStreams                         // streams
	ReasonSlow                            // slow
	ReasonShuttingDown                    // shutting_down
	ReasonFailed                          // failed
	ReasonNotAcceptable                   // not_acceptable
	ReasonStopped                         // stopped
	ReasonModule                          // bad_module
	ReasonFuel                            // fuel_limit
	ReasonReserve                         // insufficient_reserve
	ReasonAllowance                       // insufficient_allowance
	ReasonOwnLimit                        // own_limit
	ReasonPrivate                         // private
	numReasons
)

var meanings = [numReasons]string{
	ReasonMalformed:     "what was sent does not decode",
	ReasonNetwork:       "the session is of another network",
	ReasonNode:          "the session is of another node",
	ReasonEpoch:         "the session is of another epoch than runs",
	ReasonChallenge:     "the challenge is not the node's, or too old: ask for another one",
	ReasonSignature:     "the client's signature does not verify",
	ReasonClient:        "no client has this index, as far as the node has the chain",
	ReasonNotValid:      "the client's grant is over, or has not begun",
	ReasonService:       "no service has this index, as far as the node has the chain",
	ReasonNotGranted:    "the client may not use the service",
	ReasonNumbers:       "the client has used all its numbers of this epoch",
	ReasonSession:       "there is no such session: open another one",
	ReasonSuperseded:    "the client has opened another session",
	ReasonOwesClient:    "the client has not acknowledged what it was sent",
	ReasonOwesPayer:     "clients of this payer have not acknowledged what they were sent",
	ReasonOwesAddress:   "clients at this address have not acknowledged what they were sent",
	ReasonUnpaid:        "the node asked for an acknowledgement, and none came",
	ReasonNotFound:      "the node does not have the content",
	ReasonDenied:        "the node does not deliver this content",
	ReasonRange:         "the range is not within the content",
	ReasonRate:          "the limit of the rate is reached",
	ReasonVolume:        "the volume of this month is used up",
	ReasonStreams:       "too many streams at once",
	ReasonSlow:          "what was sent was read too slowly",
	ReasonShuttingDown:  "the node is shutting down",
	ReasonFailed:        "the node could not read the content",
	ReasonStopped:       "the client wanted no more of it",
	ReasonReserve:       "what the payer has reserved does not cover it",
	ReasonAllowance:     "the payer lets one node charge no more in this epoch",
	ReasonOwnLimit:      "the node risks no more for the payer before what it took is ordered",
	ReasonPrivate:       "what has this root is for clients of other payers, if the node has it",
	ReasonModule:        "the content is no module that can be run",
	ReasonFuel:          "the node gives no run so much fuel",
	ReasonNotAcceptable: "the node delivers this against acknowledgements only: open a session",
}

// Reasons returns all reasons.
func Reasons() (all []Reason) {
	for r := ReasonMalformed; r < numReasons; r++ {
		all = append(all, r)
	}
	return all
}

// Known reports whether r is a reason.
func (r Reason) Known() bool { return r > 0 && r < numReasons }

// Meaning puts the reason into words.
func (r Reason) Meaning() string {
	if !r.Known() {
		return "a reason that this version does not know"
	}
	return meanings[r]
}

// Error returns the reason behind the package's name.
func (r Reason) Error() string { return "delivery: " + r.String() }

// Refusal is the error of what was refused.
type Refusal = rollup.Refusal[Reason]

// Refuse returns a refusal.
func Refuse(r Reason, format string, args ...any) error { return rollup.Refuse(r, format, args...) }
