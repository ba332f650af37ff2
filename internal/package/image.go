package main

import (
	"archive/tar"
	"bytes"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// containerUser is who runs the node in a container: nobody that the host knows.
const containerUser = 65532

// image makes a container image for all processors as an archive of an OCI layout, which docker
// load, podman load and skopeo read. It holds the program, its licences and an empty home: no
// shell, no libraries, no package manager.
func (p *packager) image(programs []program) ([]byte, error) {
	var index v1.ImageIndex = empty.Index
	index = mutate.IndexMediaType(index, types.OCIImageIndex)
	for _, program := range programs {
		image, err := p.imageOf(program)
		if err != nil {
			return nil, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image,
			Descriptor: v1.Descriptor{MediaType: types.OCIManifestSchema1,
				Platform: &v1.Platform{OS: "linux", Architecture: program.arch}}})
	}
	index = mutate.Annotations(index, p.annotations()).(v1.ImageIndex)
	dir, err := os.MkdirTemp("", "waybill-image-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	// One index inside the layout's own, so that a name can be given to it.
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		return nil, err
	}
	name := "waybill:" + strings.NewReplacer("~", "-", "+", "-").Replace(p.debian)
	if err := l.AppendIndex(index, layout.WithAnnotations(map[string]string{
		"org.opencontainers.image.ref.name": name,
		"io.containerd.image.name":          name,
	})); err != nil {
		return nil, err
	}
	return p.archive(dir)
}

func (p *packager) imageOf(program program) (v1.Image, error) {
	layer, err := p.layer(program)
	if err != nil {
		return nil, err
	}
	image := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	image = mutate.ConfigMediaType(image, types.OCIConfigJSON)
	if image, err = mutate.Append(image, mutate.Addendum{Layer: layer,
		History: v1.History{Created: v1.Time{Time: p.at}, CreatedBy: "make package"}}); err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", program.arch
	config.Created = v1.Time{Time: p.at}
	config.Config = v1.Config{
		User: "65532:65532", WorkingDir: "/" + homeDir,
		Env:          []string{"PATH=/usr/bin", "HOME=/" + homeDir},
		Entrypoint:   []string{"/usr/bin/waybill"},
		Cmd:          []string{"start", "--home", "/" + homeDir},
		Volumes:      map[string]struct{}{"/" + homeDir: {}},
		ExposedPorts: map[string]struct{}{"7400/tcp": {}, "7401/tcp": {}, "7402/tcp": {}},
		Labels:       p.annotations(), StopSignal: "SIGTERM",
	}
	return mutate.ConfigFile(image, config)
}

const homeDir = "var/lib/waybill"

func (p *packager) annotations() map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":       "waybill",
		"org.opencontainers.image.description": summary,
		"org.opencontainers.image.version":     p.version,
		"org.opencontainers.image.created":     p.at.Format(time.RFC3339),
		"org.opencontainers.image.source":      homepage,
		"org.opencontainers.image.licenses":    "Apache-2.0",
	}
}

// layer is the file system of a container.
func (p *packager) layer(program program) (v1.Layer, error) {
	user := "waybill:x:65532:65532:Waybill node:/var/lib/waybill:/nonexistent\n"
	list := []file{
		{"etc/passwd", []byte("root:x:0:0:root:/root:/nonexistent\n" + user), 0o644},
		{"etc/group", []byte("root:x:0:\nwaybill:x:65532:\n"), 0o644},
		{"tmp", nil, fs.ModeDir | 0o1777},
		{"usr/bin/waybill", program.content, 0o755},
		{"usr/share/doc/waybill/LICENSE", p.licences, 0o644},
		{"usr/share/doc/waybill/THIRD-PARTY", p.notices, 0o644},
		{homeDir, nil, fs.ModeDir | 0o750},
	}
	var b bytes.Buffer
	if err := p.tar(&b, withParents(list)); err != nil {
		return nil, err
	}
	content := b.Bytes()
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
}

// withParents adds the folders that files are in, each before what it holds.
func withParents(list []file) []file {
	known := map[string]bool{".": true}
	for _, f := range list {
		known[f.path] = true
	}
	for _, f := range list {
		for dir := path.Dir(f.path); !known[dir]; dir = path.Dir(dir) {
			known[dir] = true
			list = append(list, file{dir, nil, fs.ModeDir | 0o755})
		}
	}
	slices.SortFunc(list, func(a, b file) int { return strings.Compare(a.path, b.path) })
	return list
}

// tar writes files with the packages' time. All are root's, but for the node's home.
func (p *packager) tar(w io.Writer, list []file) error {
	t := tar.NewWriter(w)
	for _, f := range list {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.path, Mode: int64(f.mode & 0o7777),
			Size: int64(len(f.content)), ModTime: p.at, Format: tar.FormatUSTAR}
		if f.mode.IsDir() {
			h.Typeflag, h.Name = tar.TypeDir, f.path+"/"
		}
		if f.path == homeDir {
			h.Uid, h.Gid = containerUser, containerUser
		}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := t.Write(f.content); err != nil {
			return err
		}
	}
	return t.Close()
}

// archive packs a folder.
func (p *packager) archive(dir string) ([]byte, error) {
	var list []file
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		relative, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		if d.IsDir() {
			list = append(list, file{relative, nil, fs.ModeDir | 0o755})
			return nil
		}
		content, err := os.ReadFile(name)
		list = append(list, file{relative, content, 0o644})
		return err
	})
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = p.tar(&b, list)
	return b.Bytes(), err
}
