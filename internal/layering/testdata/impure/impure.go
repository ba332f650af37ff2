// Package impure breaks each rule of purity once, and keeps some in ways that look alike.
package impure

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"time"
)

var (
	count   int
	known   = map[string]int{}
	history [3]struct{ n int }
)

func clock() (time.Duration, time.Time) {
	start := time.Now()                             // want: reads a clock
	time.Sleep(time.Second)                         // want: reads a clock
	return time.Since(start), time.Unix(0, 7).UTC() // want: reads a clock
}

func host() int {
	fmt.Println(os.Args)  // want: reads or writes something of the host
	n := runtime.NumCPU() // want: reads or writes something of the host
	_ = fmt.Sprint(n)
	return rand.IntN(n) // want: reads or writes something of the host
}

func goroutines(a, b chan int) {
	go clock() // want: starts a goroutine
	select {   // want: chooses between channels
	case <-a:
	case <-b:
	}
	// pure: nothing depends on it
	go clock()
}

func globals(local int) {
	count++               // want: changes a variable of the package
	known["a"] = 1        // want: changes a variable of the package
	history[1].n = 2      // want: changes a variable of the package
	delete(known, "a")    // want: changes a variable of the package
	for count = range 3 { // want: changes a variable of the package
		local = count
	}
	local++
	own := map[string]int{}
	own["a"] = local
}

func order(m map[int]int) (sum int, out []int) {
	for k := range m { // want: takes elements in a map's order
		out = append(out, k)
	}
	for k := range maps.Keys(m) { // want: takes elements in a map's order
		out = append(out, k)
	}
	for _, v := range m { // order-free: a sum
		sum += v
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k)
	}
	return sum, out
}

func floats(a, b float64) float64 {
	const half = 1 / 2.0
	return a*b + 1 // want: computes with floating point, which architectures round apart
}
