// Package vectors holds Go and TypeScript to one set of golden values: its test writes and guards
// sdk/ts/test/vectors.json, which the tests of sdk/ts read. Both fail when their side drifts.
package vectors

//go:generate go run -C ../../asm ./blake3/wasm -out ../sdk/ts/src/modules.ts
