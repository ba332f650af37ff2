// Package rotation decides who sits on the committee: a lottery by stake among healthy nodes, whose
// seed nobody chose, a quarter of the seats at a time.
//
// # Seats
//
// The committee has K seats. A member's power is the number of seats it holds, so every draw has
// the odds of the stake and the same power, and neither splitting a node nor merging two changes
// what their owner may expect. Seat s is due for a draw every R epochs; it is drawn, too, when it
// is empty or its holder is no candidate. Candidates are the nodes that stand, have stake, are not
// jailed, and were found healthy.
//
// # An epoch
//
//  1. Members report which candidates they found healthy (Report). Who reports announces that it
//     will reveal. At half of the epoch the candidates are fixed (Tally, Candidates) and the set S
//     of those who reported.
//  2. Each member of S signs the beacon's message (Beacon). The sum of all their signatures is one
//     value, which nobody knew before the last of them, and the seed is its digest (Seed). Who
//     announced and withholds is punished, and another round begins without it.
//  3. The due and the vacated seats are drawn (Draw). A drawn node that holds no seat has to say
//     that it is ready.
//  4. At four fifths of the epoch the next seats are fixed (Next), and the members in office sign
//     the hand-over to them (HandOver).
//
// # Rules that were attacked
//
// One point is drawn in each of K equal strata of the line of stakes, never K points on all of the
// line: the variance is lower, and a node with a stratum of its own has its seat for certain.
//
// Less than a third of the seats moves or falls empty at once, so that what remains is a quorum
// even when every new member is dead. Due seats go before vacated ones: were it the other way
// round, who can cut honest members off would have honest seats drawn again and again, and its own
// never. A seat whose winner is not ready stays with its holder for one epoch and then moves all
// the same: were it to stay for ever, who can silence the winners would freeze its own seats. The
// command internal/simulate shows what each of these rules is worth.
//
// The package reads no clock and no environment, does no I/O and starts no goroutine. Functions are
// safe for concurrent use as long as nobody changes their arguments.
package rotation
