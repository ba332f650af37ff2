// Package meter rewrites a WebAssembly module so that it counts what it does, in fuel. Whoever has
// module and input runs what this package returns, and finds the same output and the same fuel to
// the last unit, on any machine (protocol section 21).
//
// # What is counted
//
// Code is cut into segments, which are entered at their first instruction only. At its head a
// segment pays for all of its instructions (see Cost); the fuel that is left lies in a global of
// the module's own. When it falls below zero, the imported function `tick` is called: the host
// gives more, or ends the run. Instructions on memory and tables pay for what they move or grow
// before they do it. So a run never does more than it has paid for, but for one segment.
//
// # What makes runs equal
//
// WebAssembly leaves little open. NaNs: what an arithmetic instruction returns is made the
// canonical NaN if it is one. The stack: each function that calls adds its frame to a depth, which
// is bounded far below what engines have. Memory and tables: their bounds are part of the module.
// Vectors, threads, tail calls and what else is not in WebAssembly 2.0 without vectors are refused.
//
// # Who is kept out
//
// A module cannot name what was added: every index is held to the module's own count before it is
// rewritten, and exports of the added names are refused. Types are left to the engine to check:
// what is put in leaves the stack as it was, so a module is valid after it exactly when it was
// before.
//
// The package does no I/O, and its memory is bounded by some times the module's size.
package meter
