// Command release builds what a version of waybill is distributed as: for each target a
// compressed archive with the program, its licence, README and change log, and one file with the
// SHA-256 of every archive.
//
// The same sources give the same bytes, on any machine and in any folder, as long as the Go
// version is the same: no paths, no build times, no C compiler, no owner of files. Times are
// SOURCE_DATE_EPOCH, or else the time of the last commit.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	version := flag.String("version", "", "the version to build, such as v0.1.0 (required)")
	out := flag.String("out", "bin/release", "the folder to write to")
	source := flag.String("source", ".", "the module's folder")
	flag.Parse()
	if *version == "" || flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: release -version VERSION [-out FOLDER] GOOS/GOARCH...")
		os.Exit(2)
	}
	at, err := sourceTime(ctx, *source)
	if err == nil {
		r := release{source: *source, version: *version, at: at, out: *out}
		err = r.build(ctx, flag.Args())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// sourceTime is the time that archives and files in them have.
func sourceTime(ctx context.Context, source string) (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		cmd := exec.CommandContext(ctx, "git", "log", "-1", "--format=%ct")
		cmd.Dir = source
		b, err := cmd.Output()
		if err != nil {
			return time.Time{}, fmt.Errorf("no SOURCE_DATE_EPOCH, and git log: %w", err)
		}
		text = strings.TrimSpace(string(b))
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}
