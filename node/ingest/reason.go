package ingest

import "fmt"

// Reason is why a client does not co-sign what it was offered (protocol section 16). The names are used on the wire, in
// logs and in metrics.
type Reason uint8

// The reasons, in the order of the document.
const (
	ReasonDeclined       Reason = iota // the client does not co-sign; nothing is wrong with the offer
	ReasonMalformed                    // the offer does not decode, or does not say what it must
	ReasonWrongNetwork                 // of another network
	ReasonWrongWindow                  // the client signed no acks for this window, or does not remember them
	ReasonRepeated                     // another root was signed for this window
	ReasonWrongPath                    // the statements are not under the root
	ReasonNeighbour                    // the statement beside the client's is out of order, or missing
	ReasonExtraStatement               // a statement about a service that the client acknowledged nothing of
	ReasonWrongPayer                   // somebody else pays for the client
	ReasonWrongAcks                    // the client never signed such an ack
	ReasonWrongUnits                   // the units are not the acks' sum
	ReasonWrongRoot                    // the statement's root is not that of the client's acks
	ReasonMissingAck                   // an ack that was answered accepted is under no statement
	numReasons
)

var reasonNames = [...]string{
	ReasonDeclined: "declined", ReasonMalformed: "malformed", ReasonWrongNetwork: "wrong_network",
	ReasonWrongWindow: "wrong_window", ReasonRepeated: "repeated", ReasonWrongPath: "wrong_path",
	ReasonNeighbour: "neighbour", ReasonExtraStatement: "extra_statement", ReasonWrongPayer: "wrong_payer",
	ReasonWrongAcks: "wrong_acks", ReasonWrongUnits: "wrong_units", ReasonWrongRoot: "wrong_root",
	ReasonMissingAck: "missing_ack",
}

// Reasons lists all reasons.
func Reasons() []Reason {
	list := make([]Reason, numReasons)
	for i := range list {
		list[i] = Reason(i)
	}
	return list
}

// String returns the name.
func (r Reason) String() string {
	if r < numReasons {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

func reasonByName(name string) (Reason, bool) {
	for i, n := range reasonNames {
		if n == name {
			return Reason(i), true
		}
	}
	return 0, false
}
