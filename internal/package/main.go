// Command package makes of a release's archives what an operator installs: for each processor a
// Debian package, one container image for all of them, and a bill of materials, with one file that
// has the SHA-256 of all. The program in them is the archive's, to the byte.
//
// The same archives give the same bytes: times are SOURCE_DATE_EPOCH, or else the time of the last
// commit, which files in the archives have too.
package main

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	version := flag.String("version", "", "the version of the archives (required)")
	archives := flag.String("archives", "bin/release", "the folder of the release's archives")
	source := flag.String("source", ".", "the product's module folder")
	out := flag.String("out", "bin/package", "the folder to write to")
	flag.Parse()
	if *version == "" || flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: package -version VERSION [-out FOLDER] ARCHITECTURE...")
		os.Exit(2)
	}
	p := packager{version: *version, archives: *archives, source: *source, out: *out}
	if err := p.run(flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "package:", err)
		os.Exit(1)
	}
}

// packager makes the packages of one version.
type packager struct {
	version               string
	archives, source, out string
	debian                string    // the version as Debian orders it
	at                    time.Time // of every file
	manuals, completions  []file    // the same for every processor
	licences, notices     []byte
	written               []string // names in out
}

// file is a file of the installed system.
type file struct {
	path    string // without the leading slash
	content []byte
	mode    fs.FileMode
}

// program is waybill for one processor.
type program struct {
	arch    string // of Go, which Debian and containers use too
	content []byte
	parts   *parts
}

func (p *packager) run(arches []string) error {
	programs, err := p.prepare(arches)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(p.out, 0o755); err != nil {
		return err
	}
	for _, program := range programs {
		name := fmt.Sprintf("waybill_%s_%s", p.debian, program.arch)
		materials, err := p.materials(program)
		if err != nil {
			return err
		}
		pack, err := p.deb(program, materials)
		if err != nil {
			return fmt.Errorf("%s: %w", program.arch, err)
		}
		if err := errors.Join(p.write(name+".deb", pack),
			p.write(name+".cdx.json", materials)); err != nil {
			return err
		}
	}
	image, err := p.image(programs)
	if err != nil {
		return fmt.Errorf("image: %w", err)
	}
	if err := p.write(fmt.Sprintf("waybill_%s_oci.tar", p.debian), image); err != nil {
		return err
	}
	return p.sums()
}

// prepare reads the programs, and makes what the packages of all processors share.
func (p *packager) prepare(arches []string) (programs []program, err error) {
	for _, arch := range arches {
		content, at, err := p.open(arch)
		if err != nil {
			return nil, err
		}
		parts, err := partsOf(content)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", arch, err)
		}
		p.at = at
		programs = append(programs, program{arch, content, parts})
	}
	p.debian = debianVersion(p.version, p.at)
	if p.manuals, err = manuals(p.version, p.at); err != nil {
		return nil, fmt.Errorf("manuals: %w", err)
	}
	if p.completions, err = completions(); err != nil {
		return nil, fmt.Errorf("completions: %w", err)
	}
	if p.notices, err = notices(p.source, programs); err != nil {
		return nil, fmt.Errorf("licences: %w", err)
	}
	p.licences, err = os.ReadFile(filepath.Join(p.source, "LICENSE"))
	return programs, err
}

// open reads the program from a release's archive, with the time that files there have.
func (p *packager) open(arch string) ([]byte, time.Time, error) {
	name := filepath.Join(p.archives, fmt.Sprintf("waybill-%s-linux-%s.tar.gz",
		strings.TrimPrefix(p.version, "v"), arch))
	f, err := os.Open(name)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("%s: %w", name, err)
	}
	for t := tar.NewReader(z); ; {
		header, err := t.Next()
		if err != nil {
			return nil, time.Time{}, fmt.Errorf("%s: no program in it: %w", name, err)
		}
		if path.Base(header.Name) == "waybill" {
			content, err := io.ReadAll(t)
			return content, header.ModTime.UTC(), err
		}
	}
}

func (p *packager) write(name string, content []byte) error {
	p.written = append(p.written, fmt.Sprintf("%x  %s\n", sha256.Sum256(content), name))
	fmt.Print(p.written[len(p.written)-1])
	return os.WriteFile(filepath.Join(p.out, name), content, 0o644)
}

// sums writes SHA256SUMS, which sha256sum -c reads.
func (p *packager) sums() error {
	slices.SortFunc(p.written, func(a, b string) int { return strings.Compare(a[64:], b[64:]) })
	return os.WriteFile(filepath.Join(p.out, "SHA256SUMS"),
		[]byte(strings.Join(p.written, "")), 0o644)
}
