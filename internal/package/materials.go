package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// parts are what a program is made of, by its own word.
type parts struct {
	toolchain string // go1.26.8
	modules   []*debug.Module
}

// errReplaced says that a program is made of something that no registry has.
var errReplaced = errors.New("a module is replaced")

func partsOf(program []byte) (*parts, error) {
	info, err := buildinfo.Read(bytes.NewReader(program))
	if err != nil {
		return nil, err
	}
	for _, m := range info.Deps {
		if m.Replace != nil {
			return nil, fmt.Errorf("%w: %s", errReplaced, m.Path)
		}
	}
	return &parts{info.GoVersion, info.Deps}, nil
}

// materials is the bill of materials of a program, in CycloneDX: what its build information says.
func (p *packager) materials(program program) ([]byte, error) {
	digest := sha256.Sum256(program.content)
	self := component(cdx.ComponentTypeApplication, "waybill", p.version)
	self.BOMRef, self.Description = "waybill", summary
	self.PackageURL = "pkg:golang/" + modulePath + "@" + p.version
	self.Licenses = &cdx.Licenses{{License: &cdx.License{ID: "Apache-2.0"}}}
	self.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(digest[:])}}
	self.Properties = &[]cdx.Property{{Name: "waybill:architecture", Value: program.arch}}
	components := []cdx.Component{standardLibrary(program.parts.toolchain)}
	for _, m := range program.parts.modules {
		c := component(cdx.ComponentTypeLibrary, m.Path, m.Version)
		c.PackageURL = "pkg:golang/" + m.Path + "@" + m.Version
		c.BOMRef = c.PackageURL
		// The module's sum, as go.sum has it: SHA-256 of its files' names and hashes.
		c.Properties = &[]cdx.Property{{Name: "go:sum", Value: m.Sum}}
		components = append(components, c)
	}
	var refs []string
	for _, c := range components {
		refs = append(refs, c.BOMRef)
	}
	bom := cdx.NewBOM()
	bom.SerialNumber = serial(digest)
	bom.Metadata = &cdx.Metadata{Timestamp: p.at.Format(time.RFC3339), Component: &self}
	bom.Components = &components
	bom.Dependencies = &[]cdx.Dependency{{Ref: self.BOMRef, Dependencies: &refs}}
	var b bytes.Buffer
	err := cdx.NewBOMEncoder(&b, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bom)
	return b.Bytes(), err
}

const modulePath = "github.com/waybill-network/waybill"

func component(kind cdx.ComponentType, name, version string) cdx.Component {
	return cdx.Component{Type: kind, Name: name, Version: version}
}

func standardLibrary(toolchain string) cdx.Component {
	c := component(cdx.ComponentTypeLibrary, "std", toolchain)
	c.PackageURL = "pkg:golang/std@" + strings.TrimPrefix(toolchain, "go")
	c.BOMRef = c.PackageURL
	return c
}

// serial is a UUID (version 8) that the program's digest alone decides.
func serial(digest [32]byte) string {
	sum := sha512.Sum512(append([]byte("bill of materials of "), digest[:]...))
	u := sum[:16]
	u[6], u[8] = u[6]&0x0f|0x80, u[8]&0x3f|0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

var licenceName = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)(\..*|-.*)?$`)

// notices are the licences of all that the programs are linked with, module by module. One whose
// module has none is an error: it could not be handed on.
func notices(source string, programs []program) ([]byte, error) {
	versions := map[string]bool{}
	for _, program := range programs {
		for _, m := range program.parts.modules {
			versions[m.Path+"@"+m.Version] = true
		}
	}
	dirs, err := folders(source, slices.Sorted(maps.Keys(versions)))
	if err != nil {
		return nil, err
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	dirs["The Go standard library"] = strings.TrimSpace(string(root))
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(dirs)) {
		texts, err := licencesIn(dirs[name])
		if err != nil || len(texts) == 0 {
			return nil, fmt.Errorf("%s: no licence in %s: %w", name, dirs[name], err)
		}
		fmt.Fprintf(&b, "%s\n%s\n\n%s\n\n", name, strings.Repeat("=", len(name)),
			strings.Join(texts, "\n\n"))
	}
	return b.Bytes(), nil
}

// folders finds modules in the module cache, and downloads what is not there.
func folders(source string, versions []string) (map[string]string, error) {
	cmd := exec.Command("go", append([]string{"mod", "download", "-json"}, versions...)...)
	cmd.Dir = source
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go mod download: %w", err)
	}
	dirs := map[string]string{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var m struct{ Path, Version, Dir string }
		if err := d.Decode(&m); err == io.EOF {
			return dirs, nil
		} else if err != nil {
			return nil, err
		}
		dirs[m.Path+"@"+m.Version] = m.Dir
	}
}

func licencesIn(dir string) (texts []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.Type()&fs.ModeType != 0 || !licenceName.MatchString(e.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		texts = append(texts, string(bytes.TrimSpace(text)))
	}
	return texts, nil
}
