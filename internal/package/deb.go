package main

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
)

//go:embed assets
var assets embed.FS

const (
	homepage   = "https://github.com/waybill-network/waybill"
	maintainer = "Waybill maintainers <waybill-network@users.noreply.github.com>"
	summary    = "Provable delivery for edge networks"
)

// conffiles are what an operator changes: an upgrade keeps the changes, or asks.
var conffiles = []string{"etc/default/waybill"}

// asset reads a file that stands in the package as it stands in the tree.
func asset(name string) []byte {
	b, err := assets.ReadFile("assets/" + name)
	if err != nil {
		panic(err) // it is compiled in
	}
	return b
}

// installed lists the files of the package.
func (p *packager) installed(program program, materials []byte) ([]file, error) {
	list := []file{
		{"usr/bin/waybill", program.content, 0o755},
		{"usr/lib/systemd/system/waybill.service", asset("waybill.service"), 0o644},
		{"usr/lib/systemd/system/waybill-signer.service", asset("waybill-signer.service"), 0o644},
		{"usr/lib/sysusers.d/waybill.conf", asset("sysusers.conf"), 0o644},
		{"etc/default/waybill", asset("default"), 0o644},
		{"usr/share/waybill/alerts.yml", asset("watch/alerts.yml"), 0o644},
		{"usr/share/waybill/dashboard.json", asset("watch/dashboard.json"), 0o644},
		{"usr/share/doc/waybill/copyright", p.copyright(), 0o644},
		{"usr/share/lintian/overrides/waybill", asset("lintian-overrides"), 0o644},
	}
	log, err := os.ReadFile(filepath.Join(p.source, "CHANGELOG.md"))
	if err != nil {
		return nil, err
	}
	for name, content := range map[string][]byte{
		"changelog.gz": p.changelog(), "CHANGELOG.md.gz": log, "THIRD-PARTY.gz": p.notices,
		"waybill.cdx.json.gz": materials,
	} {
		packed, err := compress(content)
		if err != nil {
			return nil, err
		}
		list = append(list, file{"usr/share/doc/waybill/" + name, packed, 0o644})
	}
	list = slices.Concat(list, p.manuals, p.completions)
	slices.SortFunc(list, func(a, b file) int { return strings.Compare(a.path, b.path) })
	return list, nil
}

// changelog has Debian's form, and names the one that people read.
func (p *packager) changelog() []byte {
	return fmt.Appendf(nil, `waybill (%s) unstable; urgency=medium

  * Version %s: see CHANGELOG.md.gz in this folder.

 -- %s  %s
`, p.debian, p.version, maintainer, p.at.Format(time.RFC1123Z))
}

// copyright is what Debian's policy wants: who, and under which terms.
func (p *packager) copyright() []byte {
	return fmt.Appendf(nil, `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: waybill
Source: %s

Files: *
Copyright: 2026 The Waybill authors
License: Apache-2.0
Comment: The program is linked with modules of other authors. Their licences are in
 /usr/share/doc/waybill/THIRD-PARTY.gz, and their versions in waybill.cdx.json.gz beside it.

License: Apache-2.0
 On Debian systems the text of the Apache License, version 2.0, is in
 /usr/share/common-licenses/Apache-2.0.
`, homepage)
}

// deb makes the Debian package.
func (p *packager) deb(program program, materials []byte) ([]byte, error) {
	dir, err := os.MkdirTemp("", "waybill-package-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	list, err := p.installed(program, materials)
	if err != nil {
		return nil, err
	}
	info := &nfpm.Info{
		Name: "waybill", Arch: program.arch, Platform: "linux",
		Version: p.debian, VersionSchema: "none", Release: "",
		Section: "net", Priority: "optional", Maintainer: maintainer, Homepage: homepage,
		Description: summary + "\n" + description, MTime: p.at, DisableGlobbing: true,
		Overridables: nfpm.Overridables{
			// The user is made when the package is configured.
			Depends: []string{"systemd | systemd-standalone-sysusers | systemd-sysusers",
				"init-system-helpers (>= 1.52)"},
			Recommends: []string{"chrony | systemd-timesyncd | time-daemon"},
		},
	}
	for i, f := range list {
		name := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(name, f.content, 0o644); err != nil {
			return nil, err
		}
		content := &files.Content{Source: name, Destination: "/" + f.path, Type: files.TypeFile,
			FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: f.mode,
				MTime: p.at}}
		if slices.Contains(conffiles, f.path) {
			content.Type = files.TypeConfigNoReplace
		}
		info.Contents = append(info.Contents, content)
	}
	for script, where := range map[string]*string{
		"postinst": &info.Scripts.PostInstall, "prerm": &info.Scripts.PreRemove,
		"postrm": &info.Scripts.PostRemove,
	} {
		*where = filepath.Join(dir, script)
		if err := os.WriteFile(*where, asset(script), 0o755); err != nil {
			return nil, err
		}
	}
	if err := nfpm.PrepareForPackager(nfpm.WithDefaults(info), "deb"); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = deb.Default.Package(info, &b)
	return b.Bytes(), err
}

const description = `Clients sign an acknowledgement for what they received. A node verifies,
keeps and rolls up acks window by window; a committee certifies the rollups,
and each epoch settles: payers are debited and nodes rewarded, exactly.
Anybody can check the settlement offline from the genesis file alone.
.
The package has the program, which is node, client and verifier in one, and
a service that runs as a user of its own. It starts no node by itself.`

// compress packs a file for documentation, with nothing in it but the content.
func compress(content []byte) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(content); err != nil {
		return nil, err
	}
	err = z.Close()
	return b.Bytes(), err
}
