// The program counts words of its input. It is compiled to WebAssembly by the tests of this package
// and run by them; with arguments it does what a test wants.
package main

import (
	"bufio"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"
)

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "loop":
			for {
			}
		case "grow":
			for all := [][]byte{}; ; {
				all = append(all, make([]byte, 1<<20))
			}
		case "deep":
			fmt.Println(deep(1 << 30))
		case "exit":
			os.Exit(7)
		case "world":
			world()
			return
		}
	}
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	counts := map[string]int{}
	for w := range strings.FieldsSeq(string(text)) {
		counts[w]++
	}
	out := bufio.NewWriter(os.Stdout)
	for _, w := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintln(out, w, counts[w])
	}
	fmt.Fprintf(out, "%08x %x\n", crc32.ChecksumIEEE(text), math.Float64bits(norm(counts)))
	out.Flush()
}

func norm(counts map[string]int) float64 {
	sum := 0.0
	for _, w := range slices.Sorted(maps.Keys(counts)) {
		sum += math.Sqrt(float64(counts[w]))
	}
	return sum
}

func deep(n int) int {
	if n == 0 {
		return 0
	}
	return 1 + deep(n-1)
}

// world prints what a program may see of the world.
func world() {
	before := time.Now()
	time.Sleep(time.Hour)
	drawn := rand.Uint64() // seeded by what the host gives
	_, err := os.Open("/etc/passwd")
	fmt.Printf("%v %x %v %v %d\n", time.Since(before) >= time.Hour, drawn, err != nil, os.Args[1:],
		len(os.Environ()))
}
