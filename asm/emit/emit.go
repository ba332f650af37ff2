// Package emit ends every generator of this module: it prints the assembly, to the file of the flag
// -out or to standard output, which is what the drift test compares.
package emit

import (
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
)

// Avo prints what generator name has built in c under a header that holds doc: algorithm, bounds
// and register plan. It ends the process on errors.
func Avo(c *build.Context, name, doc string) {
	file, err := c.Result()
	if err != nil {
		fail(err)
	}
	if err := pass.Compile.Execute(file); err != nil {
		fail(err)
	}
	text, err := printer.NewGoAsm(printer.Config{Name: "asm/" + name}).Print(file)
	if err != nil {
		fail(err)
	}
	first, rest, _ := strings.Cut(string(text), "\n")
	Text(first + "\n\n" + comment(doc) + rest)
}

// Text prints assembly that a generator has written by itself, header included.
func Text(text string) {
	flags := flag.NewFlagSet(os.Args[0], flag.ExitOnError) // avo owns -out in the global set
	out := flags.String("out", "/dev/stdout", "write the assembly to this `file`")
	_ = flags.Parse(os.Args[1:])
	if err := os.WriteFile(*out, []byte(text), 0o644); err != nil {
		fail(err)
	}
}

func comment(doc string) string {
	lines := strings.Split(strings.Trim(doc, "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight("// "+line, " ")
	}
	return strings.Join(lines, "\n") + "\n"
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
