// Package door bounds what a stranger may take of a node: connections, bytes, time and calls.
//
// A Listener bounds connections, in all and by address. A Door stands in front of a port's
// handlers and gives each its bounds, which are one table (table.go): bytes of a request, the time
// that a call may take, and how many calls run at once, of one caller and of all. Requests have to
// come in at a least rate, and their bytes are taken from a budget that callers share before they
// are read. Handlers behind a Door inflate nothing: requests that are compressed are refused, so
// that the bytes counted here are those that a handler sees.
//
// Who holds places and who waits is decided by one rule, Shares: a caller may hold as much as stays
// free besides. Idle connections and streams of events give way to new ones instead of keeping them
// out.
package door
