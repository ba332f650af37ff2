package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/blakesmith/ar"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/internal/cli"
)

const tree = "../.."

// released is a folder with archives of a version: WAYBILL_RELEASE, or else one that is built now.
var released = sync.OnceValues(func() (release struct{ dir, version string }, err error) {
	release.dir, release.version = os.Getenv("WAYBILL_RELEASE"), os.Getenv("WAYBILL_VERSION")
	if release.dir != "" {
		return release, nil
	}
	if release.dir, err = os.MkdirTemp("", "waybill-released-*"); err != nil {
		return release, err
	}
	release.version = "v0.0.9"
	cmd := exec.Command("go", "run", "./internal/release", "-version", release.version, "-out",
		release.dir, "linux/amd64", "linux/arm64")
	cmd.Dir, cmd.Stderr = tree, os.Stderr
	return release, cmd.Run()
})

func TestMain(m *testing.M) {
	code := m.Run()
	if os.Getenv("WAYBILL_RELEASE") == "" {
		if r, err := released(); err == nil {
			os.RemoveAll(r.dir)
		}
	}
	for _, dir := range temporary {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

var arches = []string{"amd64", "arm64"}

func newPackager(t *testing.T) *packager {
	t.Helper()
	release, err := released()
	if err != nil {
		t.Fatal(err)
	}
	return &packager{version: release.version, archives: release.dir, source: tree, out: t.TempDir()}
}

// made reads all packages of a folder.
func made(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.*"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, name := range append(names, filepath.Join(dir, "SHA256SUMS")) {
		if files[filepath.Base(name)], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// once is what the tests look at that change nothing: the packages of WAYBILL_PACKAGES, which
// "make package" has made, or else some that are made now.
var once struct {
	sync.Once
	p    *packager
	made map[string][]byte
}

func packages(t *testing.T) (*packager, map[string][]byte) {
	t.Helper()
	once.Do(func() {
		p, dir := newPackager(t), os.Getenv("WAYBILL_PACKAGES")
		var err error
		if dir != "" {
			_, err = p.prepare(arches)
		} else {
			dir, err = p.out, p.run(arches)
		}
		if err != nil {
			t.Fatal(err)
		}
		once.p, once.made = p, made(t, dir)
	})
	if once.made == nil {
		t.Fatal("no packages")
	}
	return once.p, once.made
}

func TestSameBytes(t *testing.T) {
	_, first := packages(t)
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("TZ", "Pacific/Auckland")
	again := newPackager(t)
	if err := again.run(arches); err != nil {
		t.Fatal(err)
	}
	second := made(t, again.out)
	if len(first) != 6 || !maps.EqualFunc(first, second, bytes.Equal) {
		for name := range first {
			t.Logf("%s: %t", name, bytes.Equal(first[name], second[name]))
		}
		t.Fatalf("%d files, %d the second time, not the same", len(first), len(second))
	}
	sums := string(first["SHA256SUMS"])
	if strings.Count(sums, "\n") != len(first)-1 {
		t.Errorf("sums of %d files:\n%s", len(first)-1, sums)
	}
}

// TestSameBytesCanFail is the companion: another program is another package.
func TestSameBytesCanFail(t *testing.T) {
	p, made := packages(t)
	content, _, err := p.open("amd64")
	if err != nil {
		t.Fatal(err)
	}
	parts, err := partsOf(content)
	if err != nil {
		t.Fatal(err)
	}
	other := program{"amd64", append(content, 0), parts}
	materials, err := p.materials(other)
	if err != nil {
		t.Fatal(err)
	}
	pack, err := p.deb(other, materials)
	if err != nil {
		t.Fatal(err)
	}
	name := "waybill_" + p.debian + "_amd64"
	if bytes.Equal(pack, made[name+".deb"]) || bytes.Equal(materials, made[name+".cdx.json"]) {
		t.Error("a program of one more byte makes the same package")
	}
}

// unpack reads a member of a Debian package.
func unpack(t *testing.T, deb []byte, member string) map[string]*entry {
	t.Helper()
	for r := ar.NewReader(bytes.NewReader(deb)); ; {
		h, err := r.Next()
		if err != nil {
			t.Fatalf("%s: %v", member, err)
		}
		if strings.TrimSuffix(h.Name, "/") != member {
			continue
		}
		z, err := gzip.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		return entries(t, z)
	}
}

type entry struct {
	tar.Header
	content []byte
}

func entries(t *testing.T, r io.Reader) map[string]*entry {
	t.Helper()
	list := map[string]*entry{}
	for a := tar.NewReader(r); ; {
		h, err := a.Next()
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(a)
		if err != nil {
			t.Fatal(err)
		}
		list[strings.Trim(strings.TrimPrefix(h.Name, "."), "/")] = &entry{*h, content}
	}
}

func TestDebian(t *testing.T) {
	p, made := packages(t)
	for _, arch := range arches {
		deb := made["waybill_"+p.debian+"_"+arch+".deb"]
		data := unpack(t, deb, "data.tar.gz")
		for name, e := range data {
			if e.Uname != "root" || e.Gname != "root" || !e.ModTime.Equal(p.at) {
				t.Errorf("%s: of %s:%s, %v", name, e.Uname, e.Gname, e.ModTime)
			}
			mode := fs.FileMode(e.Mode)
			if mode&0o022 != 0 || mode&0o111 != 0 && e.Typeflag == tar.TypeReg &&
				name != "usr/bin/waybill" {
				t.Errorf("%s has mode %v", name, mode)
			}
			if strings.HasPrefix(name, "var") { // the home is no file of the package
				t.Errorf("%s belongs to the package", name)
			}
		}
		want, _, err := p.open(arch)
		if err != nil || !bytes.Equal(data["usr/bin/waybill"].content, want) {
			t.Errorf("%s: not the release's program: %v", arch, err)
		}
		control := unpack(t, deb, "control.tar.gz")
		if got := string(control["conffiles"].content); got != "/etc/default/waybill" &&
			got != "/etc/default/waybill\n" {
			t.Errorf("conffiles %q", got)
		}
		if text := string(control["control"].content); !strings.Contains(text, "\nArchitecture: "+
			arch+"\n") || !strings.Contains(text, "\nVersion: "+p.debian+"\n") {
			t.Errorf("control:\n%s", text)
		}
		for _, script := range []string{"postinst", "prerm", "postrm"} {
			if control[script].Mode&0o111 == 0 {
				t.Errorf("%s cannot be run", script)
			}
			if why := harm(string(control[script].content)); why != "" {
				t.Errorf("%s: %s", script, why)
			}
		}
	}
}

// harm finds what no maintainer script may do: begin a node that nobody configured, or delete.
func harm(script string) string {
	for line := range strings.Lines(script) {
		for _, word := range strings.Fields(line) {
			if slices.Contains([]string{"start", "enable", "restart", "unmask", "rm", "rmdir",
				"userdel", "deluser"}, word) && !strings.HasPrefix(line, "#") {
				return strings.TrimSpace(line)
			}
		}
	}
	return ""
}

func TestHarmIsSeen(t *testing.T) {
	for _, line := range []string{"rm -rf /var/lib/waybill", "systemctl enable waybill.service",
		"\tdeb-systemd-invoke start waybill.service || true"} {
		if harm("#!/bin/sh\n"+line+"\n") == "" {
			t.Errorf("%q is not seen", line)
		}
	}
	why := harm("deb-systemd-invoke try-restart waybill.service\n# it does not start\n")
	if why != "" {
		t.Error(why)
	}
}

// Every command has a page and each shell a script.
func TestManuals(t *testing.T) {
	p, _ := packages(t)
	pages := map[string]string{}
	for _, f := range slices.Concat(p.manuals, p.completions) {
		content := f.content
		if name, packed := strings.CutSuffix(f.path, ".gz"); packed {
			z, err := gzip.NewReader(bytes.NewReader(content))
			if err != nil {
				t.Fatal(err)
			}
			if content, err = io.ReadAll(z); err != nil {
				t.Fatal(err)
			}
			f.path = name
		}
		pages[f.path] = string(content)
	}
	commands := 0
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.IsAvailableCommand() {
			commands++
			name := strings.ReplaceAll(c.CommandPath(), " ", "-")
			page := pages["usr/share/man/man1/"+name+".1"]
			if !strings.Contains(page, ".SH SYNOPSIS") || !strings.Contains(page, p.version) {
				t.Errorf("%s has no page", c.CommandPath())
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(cli.Command())
	if commands < 20 {
		t.Errorf("only %d commands", commands)
	}
	verify := pages["usr/share/man/man1/waybill-verify.1"]
	if !strings.Contains(verify, "\nrung 2  statements: one for each client") {
		t.Errorf("what is laid out in lines is joined:\n%s", verify)
	}
	for name, mark := range map[string]string{
		"usr/share/bash-completion/completions/waybill":    "complete -o default -F",
		"usr/share/zsh/vendor-completions/_waybill":        "#compdef waybill",
		"usr/share/fish/vendor_completions.d/waybill.fish": "complete -c waybill",
		"usr/share/man/man1/waybill.1":                     "settle",
	} {
		if !strings.Contains(pages[name], mark) {
			t.Errorf("%s does not have %q", name, mark)
		}
	}
}

func TestMaterials(t *testing.T) {
	p, made := packages(t)
	content, _, err := p.open("amd64")
	if err != nil {
		t.Fatal(err)
	}
	parts, err := partsOf(content)
	if err != nil {
		t.Fatal(err)
	}
	var bom cdx.BOM
	text := made["waybill_"+p.debian+"_amd64.cdx.json"]
	d := cdx.NewBOMDecoder(bytes.NewReader(text), cdx.BOMFileFormatJSON)
	if err := d.Decode(&bom); err != nil {
		t.Fatal(err)
	}
	versions := map[string]string{}
	for _, c := range *bom.Components {
		versions[c.Name] = c.Version
	}
	if len(versions) != len(parts.modules)+1 || versions["std"] != parts.toolchain {
		t.Errorf("%d components of %d modules, std %s", len(versions), len(parts.modules),
			versions["std"])
	}
	for _, m := range parts.modules {
		if versions[m.Path] != m.Version {
			t.Errorf("%s %s is there as %q", m.Path, m.Version, versions[m.Path])
		}
		if !bytes.Contains(p.notices, []byte("\n"+m.Path+"@"+m.Version+"\n=")) {
			t.Errorf("no licence of %s", m.Path)
		}
	}
	if self := bom.Metadata.Component; self == nil || self.Version != p.version ||
		len(*self.Hashes) != 1 {
		t.Errorf("about %+v", self)
	}
}

// TestPartsRefused is the companion: a program that is made of a replaced module has no bill.
func TestPartsRefused(t *testing.T) {
	self, err := os.ReadFile("/proc/self/exe") // this test, whose module replaces the product's
	if err != nil {
		t.Fatal(err)
	}
	if _, err := partsOf(self); err == nil {
		t.Error("a replaced module is no fault")
	}
	if _, err := partsOf([]byte("#!/bin/sh\n")); err == nil {
		t.Error("a script is a program")
	}
}

// images opens the archive of the container image.
func images(t *testing.T) map[string]v1.Image {
	t.Helper()
	p, made := packages(t)
	dir := t.TempDir()
	for name, e := range entries(t, bytes.NewReader(made["waybill_"+p.debian+"_oci.tar"])) {
		where := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(where), 0o755); err != nil {
			t.Fatal(err)
		}
		if e.Typeflag == tar.TypeReg {
			if err := os.WriteFile(where, e.content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	outer, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	list, err := outer.IndexManifest()
	if err != nil || len(list.Manifests) != 1 {
		t.Fatalf("want one index in the layout: %v", err)
	}
	inner, err := outer.ImageIndex(list.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := inner.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]v1.Image{}
	for _, m := range manifest.Manifests {
		if found[m.Platform.Architecture], err = inner.Image(m.Digest); err != nil {
			t.Fatal(err)
		}
	}
	return found
}

func TestImage(t *testing.T) {
	p, _ := packages(t)
	found := images(t)
	if len(found) != 2 {
		t.Fatalf("%d images", len(found))
	}
	for arch, image := range found {
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if config.Config.User != "65532:65532" || config.Architecture != arch ||
			!config.Created.Time.Equal(p.at) {
			t.Errorf("%s: %+v", arch, config)
		}
		content := mutate.Extract(image)
		list := entries(t, content)
		content.Close()
		var programs []string
		for name, e := range list {
			if e.Typeflag == tar.TypeReg && e.Mode&0o111 != 0 {
				programs = append(programs, name)
			}
		}
		want, _, err := p.open(arch)
		if err != nil || len(programs) != 1 || !bytes.Equal(list["usr/bin/waybill"].content, want) {
			t.Errorf("%s: programs %q, %v", arch, programs, err)
		}
		home := list["var/lib/waybill"]
		if home == nil || home.Uid != containerUser || home.Mode&0o777 != 0o750 {
			t.Errorf("%s: home %+v", arch, home)
		}
	}
}
