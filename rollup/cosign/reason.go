package cosign

//go:generate go tool stringer -type=Reason -linecomment -output=reason_string.go

// Reason is why a client does not co-sign what it was offered (protocol section 16). It is an
// error. Its names are used on the wire, in logs and in metrics.
type Reason uint8

// The reasons, in the order of the document.
const (
	ReasonDeclined       Reason = iota // declined
	ReasonMalformed                    // malformed
	ReasonBadWord                      // bad_word
	ReasonWrongNetwork                 // wrong_network
	ReasonWrongWindow                  // wrong_window
	ReasonRepeated                     // repeated
	ReasonWrongPath                    // wrong_path
	ReasonNeighbour                    // neighbour
	ReasonExtraStatement               // extra_statement
	ReasonWrongPayer                   // wrong_payer
	ReasonWrongAcks                    // wrong_acks
	ReasonWrongUnits                   // wrong_units
	ReasonWrongRoot                    // wrong_root
	ReasonRefusedAcks                  // refused_acks
	ReasonNoStatement                  // no_statement
)

// NumReasons is the number of reasons: they are 0 to NumReasons-1.
const NumReasons = int(ReasonNoStatement) + 1

// meanings say in a sentence what the names say in a word.
var meanings = [NumReasons]string{
	ReasonDeclined:     "the client does not co-sign; nothing is wrong with the offer",
	ReasonMalformed:    "the offer does not decode, or does not say what it must",
	ReasonBadWord:      "the node that the client signs for did not sign the offer",
	ReasonWrongNetwork: "the offer is of another network",
	ReasonWrongWindow: "the client signed no ack of this node and epoch, or does not remember " +
		"any",
	ReasonRepeated:       "another root was signed for this window",
	ReasonWrongPath:      "the statements are not under the root",
	ReasonNeighbour:      "the statement beside the client's is out of order, or missing",
	ReasonExtraStatement: "two statements are about one service, or do not stand side by side",
	ReasonWrongPayer:     "somebody else pays for the client",
	ReasonWrongAcks:      "the client signed no such run of acks, or does not remember it",
	ReasonWrongUnits:     "the units are not the acks' sum",
	ReasonWrongRoot:      "the statement's root is not that of the client's acks",
	ReasonRefusedAcks:    "the node said of one of the acks that it is never taken",
	ReasonNoStatement:    "no statement is in the client's name",
}

// Reasons lists all reasons.
func Reasons() []Reason {
	list := make([]Reason, NumReasons)
	for i := range list {
		list[i] = Reason(i)
	}
	return list
}

// Error implements error.
func (r Reason) Error() string { return "cosign: " + r.String() }

// Meaning says in a sentence what is wrong.
func (r Reason) Meaning() string {
	if int(r) < NumReasons {
		return meanings[r]
	}
	return r.String()
}

// ParseReason finds the reason of a name.
func ParseReason(name string) (r Reason, ok bool) {
	for _, r := range Reasons() {
		if r.String() == name {
			return r, true
		}
	}
	return 0, false
}
