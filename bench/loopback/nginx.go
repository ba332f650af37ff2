package loopback

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-network/waybill/internal/retry"
	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
)

// certify writes cert.pem and key.pem of 127.0.0.1, and returns who trusts them.
func certify(dir string) (*x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	chain := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool.AppendCertsFromPEM(chain)
	return pool, errors.Join(os.WriteFile(filepath.Join(dir, "cert.pem"), chain, 0o600),
		os.WriteFile(filepath.Join(dir, "key.pem"),
			pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
}

// nginx is a web server that serves the folder of a Content.
type nginx struct {
	process *process
	url     string
	dir     string
}

// settings are nginx's: as its package has them where they matter, HTTP/2 as the node speaks it.
const settings = `daemon off;
%sworker_processes auto;
pid %[2]s/pid;
error_log %[2]s/error.log;
events { worker_connections 16384; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  types_hash_max_size 2048;
  default_type application/octet-stream;
  client_body_temp_path %[2]s/body;
  proxy_temp_path %[2]s/proxy;
  fastcgi_temp_path %[2]s/fastcgi;
  uwsgi_temp_path %[2]s/uwsgi;
  scgi_temp_path %[2]s/scgi;
  keepalive_requests 1000000;
  server {
    listen %[3]s ssl http2;
    ssl_certificate %[4]s/cert.pem;
    ssl_certificate_key %[4]s/key.pem;
    ssl_protocols TLSv1.3;
    root %[4]s;
  }
}
`

// startNginx starts it; nil where it is not installed.
func startNginx(ctx context.Context, c *Content) (*nginx, error) {
	program, err := exec.LookPath("nginx")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			return nil, nil
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := l.Addr().String()
	dir, err := os.MkdirTemp("", "waybill-nginx-")
	if err = errors.Join(err, l.Close()); err != nil {
		return nil, err
	}
	n := &nginx{url: "https://" + address + "/b3/", dir: dir}
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;\n" // who reads the folder
	}
	file := filepath.Join(dir, "nginx.conf")
	err = os.WriteFile(file, fmt.Appendf(nil, settings, user, dir, address, c.dir), 0o600)
	if err == nil {
		n.process, err = run(exec.Command(program, "-c", file, "-p", dir), dir+"/log", "nginx", "")
	}
	for err == nil {
		conn, failed := net.Dial("tcp", address)
		if failed == nil {
			return n, conn.Close()
		}
		if err = n.process.err(); err == nil {
			err = retry.Pause(ctx, poll)
		}
	}
	return nil, errors.Join(err, n.close())
}

func (n *nginx) close() error {
	if n.process != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		n.process.stop(ctx)
	}
	return os.RemoveAll(n.dir)
}

// pids are those of its master and its workers.
func (n *nginx) pids() []int {
	if n == nil {
		return nil
	}
	master := n.process.cmd.Process.Pid
	list := []int{master}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", master))
	if err != nil {
		return list // a system without /proc tells nothing of the others
	}
	for field := range strings.FieldsSeq(string(text)) {
		if pid, err := strconv.Atoi(field); err == nil {
			list = append(list, pid)
		}
	}
	return list
}

// servers are the processes of nodes that deliver. Members, which check their acks, are on machines
// of their own.
func (n *Network) servers() (pids []int) {
	for _, p := range n.feeding {
		pids = append(pids, p.cmd.Process.Pid)
	}
	return pids
}

// meter adds up what servers used of the processors.
type meter struct {
	pids        func() []int
	began, last time.Duration
	total       time.Duration
	bytes       int
	wall        time.Duration
	at          time.Time
}

func (m *meter) used() (sum time.Duration) {
	for _, pid := range m.pids() {
		sum += usageOf(pid).cpu
	}
	return sum
}

func (m *meter) begin() error {
	m.began, m.at = m.used(), time.Now()
	return nil
}

func (m *meter) end(bytes int) {
	m.wall += time.Since(m.at)
	m.last = m.used() - m.began
	m.total += m.last
	m.bytes += bytes
}

// describe says what the servers used of the processors.
func describe(spent map[string]*meter, names ...string) string {
	var lines []string
	for _, name := range names {
		x := spent[name]
		if x.bytes == 0 || x.total == 0 {
			continue
		}
		gib := float64(x.bytes) / (1 << 30)
		lines = append(lines, fmt.Sprintf("%s: %.2f s of processor a GiB, %.2f Gbit/s, %.1f Gbit/s a "+
			"core of its own", name, x.total.Seconds()/gib,
			float64(x.bytes)*8/x.wall.Seconds()/1e9, float64(x.bytes)*8/x.total.Seconds()/1e9))
	}
	lines = append(lines, fmt.Sprintf("Clients and servers share %d processors, and clients of both "+
		"verify what came by its BLAKE3 digest.", runtime.GOMAXPROCS(0)))
	return strings.Join(lines, "\n") + "\n"
}

// plain is a client of a web server: one connection over TLS, as package client has it.
type plain struct {
	http *http.Client
	url  string
}

func newPlain(url string, trust *tls.Config, http2 bool) *plain {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	return &plain{&http.Client{Transport: &http.Transport{TLSClientConfig: trust.Clone(),
		Protocols: protocols, ReadBufferSize: 64 << 10,
		HTTP2: &http.HTTP2Config{MaxReadFrameSize: 256 << 10}}}, url}
}

// fetch fetches content and verifies it.
func (p *plain) fetch(ctx context.Context, root rollup.Hash, size int64) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+root.String(), nil)
	if err != nil {
		return err
	}
	response, err := p.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	digest := blake3.NewEncoder(io.Discard, blake3.GroupSize)
	_, err = io.CopyBuffer(struct{ io.Writer }{digest}, response.Body, make([]byte, 256<<10))
	if err != nil {
		return err
	}
	if sum, err := digest.Finish(); err != nil || rollup.Hash(sum) != root ||
		digest.Size() != size {
		return fmt.Errorf("%w: %s, %d bytes, %w", errOther, response.Status, digest.Size(), err)
	}
	return nil
}
