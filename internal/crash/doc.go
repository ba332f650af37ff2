// Package crash runs the built program as a network of processes on one machine and treats it
// badly: it kills nodes under load, floods them, and feeds them what is not valid. Afterwards the
// books must agree to the last ack and micro-credit.
//
// The tests need the environment variable WAYBILL, the path of the program (make crash sets it);
// without it they are skipped, or fail when REQUIRE_WAYBILL is set. CRASH_ROUNDS is the number of
// kills (default 4), CRASH_SEED their seed.
//
// Files: process.go is one node, network.go four of them; parties.go registers payers, services and
// clients; load.go has clients deliver and keeps their books; audit.go compares the books with what
// the committee certified.
package crash
