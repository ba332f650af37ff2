// Package crash runs the built program as a network of processes on one machine and treats it
// badly: it kills nodes under load, floods them, and feeds them what is not valid. Afterwards the
// books must agree to the last ack and micro-credit.
//
// The tests need the environment variable WAYBILL, the path of the program (make crash sets it);
// without it they are skipped, or fail when REQUIRE_WAYBILL is set. CRASH_ROUNDS is the number of
// kills (default 4), CRASH_SEED their seed.
//
// Files: process.go is one node, network.go some of them, wires.go what lies between them when each
// has a network namespace of its own; parties.go registers payers, services and clients; load.go
// has clients deliver and keeps their books; audit.go compares the books with what the committee
// certified, duties.go the chains of nodes that were stopped, and what members earned with the
// votes in their blocks.
package crash
