// Package ledger is the settlement state machine: accounts, the registry of nodes, services and clients, the order of
// rollups, and the settlement of epochs.
package ledger

import (
	"iter"
	"time"
)

// State is the ledger. It is not safe for concurrent use; views of it are.
type State struct{}

// New returns the state that a genesis describes, before the first block.
func New(g *Genesis) (*State, error) { panic("not yet") }

// Restore returns the state that the records of all blocks so far, later ones over earlier ones, leave behind. Without
// a record it is New.
func Restore(g *Genesis, records iter.Seq2[[]byte, []byte]) (*State, error) { panic("not yet") }

// Check says what Apply would answer, changing nothing.
func (s *State) Check(tx []byte) Result { panic("not yet") }

// Begin starts a block: it may start an epoch and settle one.
func (s *State) Begin(height int64, blockTime time.Time) { panic("not yet") }

// Apply executes a transaction, entirely or not at all.
func (s *State) Apply(tx []byte) Result { panic("not yet") }

// End finishes the block.
func (s *State) End() Block { panic("not yet") }

// View returns the state after the last block.
func (s *State) View() *View { panic("not yet") }
