// Package rounds holds what every BLAKE3 kernel unrolls.
package rounds

// Halves are the four (a, b, c, d) on which G works in the columns and in the diagonals.
var Halves = [2][4][4]int{
	{{0, 4, 8, 12}, {1, 5, 9, 13}, {2, 6, 10, 14}, {3, 7, 11, 15}},
	{{0, 5, 10, 15}, {1, 6, 11, 12}, {2, 7, 8, 13}, {3, 4, 9, 14}},
}

// Words gives the message words of each round: the permutation applied round after round. The G of
// half h and column or diagonal i takes the words at 8h+2i and 8h+2i+1.
func Words() (rounds [7][16]int) {
	permutation := [16]int{2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8}
	for i := range 16 {
		rounds[0][i] = i
	}
	for r := 1; r < len(rounds); r++ {
		for i := range 16 {
			rounds[r][i] = rounds[r-1][permutation[i]]
		}
	}
	return rounds
}
