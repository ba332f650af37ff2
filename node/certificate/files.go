package certificate

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// lookAgain is how often files are looked at, by connections that come.
const lookAgain = 10 * time.Second

// Files is a Source of a chain and its key, both PEM. What takes their place is used within
// lookAgain; while it can not be read, or the two do not fit, the certificate from before stays.
type Files struct {
	chain, key string
	log        *slog.Logger
	now        func() time.Time

	mu     sync.Mutex
	pair   *tls.Certificate
	leaf   *x509.Certificate
	looked time.Time
	seen   [2]stamp
	wrong  error
}

// stamp tells one state of a file from another.
type stamp struct {
	changed time.Time
	size    int64
}

// NewFiles returns the certificate in two files. Error: one that cannot be read, or does not fit
// the other.
func NewFiles(chain, key string, log *slog.Logger) (*Files, error) {
	f := &Files{chain: chain, key: key, log: log, now: time.Now}
	if err := f.load(); err != nil {
		return nil, err
	}
	return f, nil
}

// look returns how the files are.
func (f *Files) look() (seen [2]stamp, err error) {
	for i, name := range [2]string{f.chain, f.key} {
		st, err := os.Stat(name)
		if err != nil {
			return seen, err
		}
		seen[i] = stamp{st.ModTime(), st.Size()}
	}
	return seen, nil
}

// load reads the files. The caller has the lock, or is the only one.
func (f *Files) load() error {
	f.looked = f.now()
	seen, err := f.look()
	if err != nil {
		return err
	}
	f.seen = seen
	pair, err := tls.LoadX509KeyPair(f.chain, f.key)
	if err != nil {
		return fmt.Errorf("%s, %s: %w", f.chain, f.key, err)
	}
	if pair.Leaf == nil {
		return errors.New("a certificate without a leaf")
	}
	f.pair, f.leaf = &pair, pair.Leaf
	return nil
}

func (f *Files) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refresh()
	return f.pair, nil
}

// refresh reads files that changed. The caller has the lock.
func (f *Files) refresh() {
	if f.now().Sub(f.looked) < lookAgain {
		return
	}
	f.looked = f.now()
	seen, err := f.look()
	switch {
	case err == nil && seen == f.seen:
		return // and a pair that did not fit still does not
	case err == nil:
		err = f.load()
	}
	switch {
	case err == nil:
		f.log.Info("a new certificate is used", "file", f.chain, "until", f.leaf.NotAfter)
	case f.wrong == nil || f.wrong.Error() != err.Error():
		f.log.Warn("a certificate cannot be read, and the one from before stays", "err", err)
	}
	f.wrong = err
}

// TLS is that of Source.
func (f *Files) TLS() *tls.Config {
	c := settings()
	c.GetCertificate = f.get
	return c
}

// Start does nothing: files are there or not.
func (f *Files) Start() error { return nil }

// Close does nothing.
func (f *Files) Close() {}

// State is that of Source.
func (f *Files) State() State {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refresh()
	s := State{Names: names(f.leaf), Until: f.leaf.NotAfter}
	if f.wrong != nil {
		s.Wrong = f.wrong.Error()
	}
	return s
}

// names returns what a certificate is for.
func names(leaf *x509.Certificate) []string {
	all := append([]string{}, leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		all = append(all, ip.String())
	}
	return all
}
