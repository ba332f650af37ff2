// Command simulate judges the rules by which the committee rotates: it runs them, as package
// rotation has them, for thousands of epochs against adversaries that hold a share of the stake,
// and against the rules that were considered in their place. make simulate prints a table and
// writes a page of plots.
//
// Seats are drawn from real seeds; what is modelled is who is online, whom the adversary can
// silence or cut off, and how many seeds it may choose from. Prices that an attack has (stake,
// jails) are not in the figures. Everything follows from -seed: two runs print the same.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"text/tabwriter"
)

func main() {
	epochs := flag.Int("epochs", 20_000, "epochs of each scenario")
	seed := flag.Uint64("seed", 1, "from which everything follows")
	out := flag.String("out", "", "the directory for report.html; none is written without")
	flag.Parse()
	if flag.NArg() > 0 || *epochs < 1 {
		flag.Usage()
		os.Exit(2)
	}
	results := runAll(scenarios(), *epochs, *seed)
	printTable(os.Stdout, results)
	if *out == "" {
		return
	}
	if err := write(*out, results); err != nil {
		fmt.Fprintln(os.Stderr, "simulate:", err)
		os.Exit(1)
	}
}

// runAll runs each scenario, as many at a time as there are cores.
func runAll(list []scenario, epochs int, seed uint64) []*result {
	results := make([]*result, len(list))
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(len(list), runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := range next {
				results[i] = list[i].run(epochs, seed)
			}
		})
	}
	for i := range list {
		next <- i
	}
	close(next)
	wg.Wait()
	return results
}

func printTable(w io.Writer, results []*result) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "scenario\tstake\tseats\tmean share\tepochs ≥ 1/3\tepochs > 2/3\tfrom epoch\t"+
		"least online\tmost moved\tskipped")
	for _, r := range results {
		first := "never"
		if r.beyond > 0 {
			first = fmt.Sprint(r.firstBeyond)
		}
		fmt.Fprintf(t, "%s\t%.0f%%\t%d\t%.3f\t%.2g\t%.2g\t%s\t%.3f\t%d\t%d\n", r.Name, 100*r.Share,
			r.Seats, r.mean(), r.frequency(r.third), r.frequency(r.beyond), first, r.leastOnline,
			r.mostMoved, r.skipped)
	}
	t.Flush()
}

func write(dir string, results []*result) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, "report.html"))
	if err != nil {
		return err
	}
	if err = page(f, results); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
