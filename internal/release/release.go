package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// release is one version.
type release struct {
	source  string // the module's folder
	version string
	at      time.Time
	out     string
	env     []string // of the compiler, beyond this process's
}

// texts go into every archive beside the program.
var texts = []string{"LICENSE", "README.md", "CHANGELOG.md"}

// build writes an archive a target, and SHA256SUMS, which sha256sum -c reads.
func (r *release) build(ctx context.Context, targets []string) error {
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	var sums []string
	for _, target := range targets {
		system, arch, ok := strings.Cut(target, "/")
		if !ok {
			return fmt.Errorf("%s: want GOOS/GOARCH", target)
		}
		stem := fmt.Sprintf("waybill-%s-%s-%s", strings.TrimPrefix(r.version, "v"), system, arch)
		archive, err := r.archive(ctx, stem, system, arch)
		if err != nil {
			return fmt.Errorf("%s: %w", target, err)
		}
		name := stem + ".tar.gz"
		if err := os.WriteFile(filepath.Join(r.out, name), archive, 0o644); err != nil {
			return err
		}
		sums = append(sums, fmt.Sprintf("%x  %s\n", sha256.Sum256(archive), name))
		fmt.Print(sums[len(sums)-1])
	}
	slices.SortFunc(sums, func(a, b string) int { return strings.Compare(a[64:], b[64:]) })
	list := []byte(strings.Join(sums, ""))
	return os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), list, 0o644)
}

func (r *release) archive(ctx context.Context, stem, system, arch string) ([]byte, error) {
	program, err := r.compile(ctx, system, arch)
	if err != nil {
		return nil, err
	}
	name := "waybill"
	if system == "windows" {
		name += ".exe"
	}
	files := []file{{stem + "/" + name, program, 0o755}}
	for _, text := range texts {
		b, err := os.ReadFile(filepath.Join(r.source, text))
		if err != nil {
			return nil, err
		}
		files = append(files, file{stem + "/" + text, b, 0o644})
	}
	return pack(files, r.at)
}

// compile builds the program without anything of this machine in it.
func (r *release) compile(ctx context.Context, system, arch string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "waybill-release-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "waybill")
	const variable = "github.com/waybill-network/waybill/node/telemetry.version"
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-mod=readonly",
		"-ldflags", "-s -w -buildid= -X "+variable+"="+r.version, "-o", program, "./cmd/waybill")
	cmd.Dir = r.source
	cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH="+arch, "CGO_ENABLED=0", "GOFLAGS=",
		"GOEXPERIMENT=", "GOAMD64=v1", "GOARM64=v8.0", "GOWORK=off")
	cmd.Env = append(cmd.Env, r.env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w\n%s", err, text)
	}
	return os.ReadFile(program)
}

type file struct {
	name    string
	content []byte
	mode    int64
}

// pack writes a tar archive, compressed, whose bytes depend on its arguments alone.
func pack(files []file, at time.Time) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	t := tar.NewWriter(z)
	for _, f := range files {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Size: int64(len(f.content)),
			Mode: f.mode, ModTime: at, Format: tar.FormatUSTAR}
		if err := t.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := t.Write(f.content); err != nil {
			return nil, err
		}
	}
	if err := t.Close(); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
