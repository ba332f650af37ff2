package content

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"

	"github.com/waybill-network/waybill/rollup/manifest"
)

// manifestsName is the folder of the manifests that a store keeps: one a service, by its number.
const manifestsName = "manifests"

// SetManifest keeps a manifest of a service in place of the one before. The store does not look at
// the signature: the caller has done that. One with a lower serial, or another one with the same
// serial, is refused with ReasonStale. Manifests are durable.
func (s *Store) SetManifest(m *manifest.Manifest) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	before, is := s.manifests[m.Service]
	closed := s.closed
	s.mu.Unlock()
	switch {
	case closed:
		return ReasonClosed
	case is && m.Serial == before.Serial && m.Digest() == before.Digest():
		return nil
	case is && m.Serial <= before.Serial:
		return refuse(ReasonStale, "serial %d, the store has %d", m.Serial, before.Serial)
	}
	err := s.disk.Mkdir(s.path(manifestsName))
	if err == nil {
		err = s.disk.SyncDir(s.o.Dir)
	}
	if err != nil {
		return onDisk(err)
	}
	name := strconv.FormatUint(uint64(m.Service), 10)
	if err := s.writeFile(manifestsName, name, m.Append(nil)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.manifests[m.Service] = m
	return nil
}

// Manifest returns the manifest of a service that the store keeps. It is not changed.
func (s *Store) Manifest(service uint32) (m *manifest.Manifest, is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, is = s.manifests[service]
	return m, is
}

// Manifests are the services of which the store keeps manifests, ascending.
func (s *Store) Manifests() []uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.manifests))
}

// readManifests reads what the store keeps.
func (s *Store) readManifests() error {
	files, err := os.ReadDir(s.path(manifestsName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return onDisk(err)
	}
	for _, file := range files {
		path := s.path(manifestsName, file.Name())
		b, err := os.ReadFile(path)
		if err != nil {
			return onDisk(err)
		}
		m, err := manifest.Parse(b)
		if err == nil && strconv.FormatUint(uint64(m.Service), 10) != file.Name() {
			err = manifest.ReasonService
		}
		if err != nil {
			return refuse(ReasonManifest, "%s: %w", path, err)
		}
		s.manifests[m.Service] = m
	}
	return nil
}
