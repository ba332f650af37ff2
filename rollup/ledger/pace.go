package ledger

import "github.com/waybill-network/waybill/rollup/rotation"

// What a rotation takes of an epoch when all that is waited for stands in the next block. From the
// middle to 0.8 of it: the block that counts the reports, those with the reveals and the words of
// readiness. From there to its end: the block that fixes the seats, the one whose votes sign the
// hand-over, the one with the certificate: three blocks in its last fifth. With less the
// certificate is late, the next epoch does not rotate, and no snapshot is signed, so nobody can
// join. With less than two in the three tenths before, there never is a next committee.
const (
	// LeastBlocks is how many blocks an epoch of a committee that rotates needs.
	LeastBlocks = 15
	// LeastRotating is how many seconds of them a genesis file has to give: an engine that was idle
	// takes up to 0.5 s to notice that the last fifth began, and for three blocks 0.1 s each at best.
	LeastRotating = 4
)

// LeastTermEpochs returns after how many epochs at least a seat can be drawn anew, among so many:
// in each epoch no more can come due than move, or some never have their turn.
func LeastTermEpochs(seats uint16) uint16 {
	moves := uint16(make(rotation.Seats, seats).MaxMoves())
	return max(rotation.MinTermEpochs, (seats+moves-1)/moves)
}
