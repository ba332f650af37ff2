package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/waybill-network/waybill/node/content/remote"
)

// controlSocket is where a running node takes orders from its own user: a socket in its home, with
// the rights of a secret file. Nothing else of a node's takes any.
const controlSocket = "control.sock"

// Checkpoint is a copy of a running node's store, as it was at one moment.
type Checkpoint struct {
	Dir    string `json:"dir"`
	Height int64  `json:"height"`
	Epoch  uint32 `json:"epoch"`
}

// checkpointDir is in the store's own folder, so that tables are linked and not copied.
const checkpointDir = "checkpoint"

// startControl listens at the home's socket. A node runs without it, and then cannot be copied
// while it runs.
func (n *Node) startControl(context.Context) error {
	l, err := listenControl(n.system.Net, n.cfg.HomeDir())
	if err != nil {
		n.log.Warn("no control socket: a backup has to wait until this node stops", "err", err)
		return nil
	}
	dir := filepath.Join(n.cfg.Path(n.cfg.Store.Path), checkpointDir)
	if err := os.RemoveAll(dir); err != nil { // of a run that was killed
		n.log.Warn("an old checkpoint stays", "err", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var one sync.Mutex
	mux := http.NewServeMux()
	mux.HandleFunc("POST /checkpoint", func(w http.ResponseWriter, r *http.Request) {
		if !one.TryLock() {
			http.Error(w, "another backup is under way", http.StatusConflict)
			return
		}
		defer one.Unlock()
		n.checkpoint(ctx, dir, w, r)
	})
	if n.content != nil {
		mux.Handle("/content/", http.StripPrefix("/content",
			remote.Handler(remote.Local(n.content.store))))
	}
	var calls sync.WaitGroup
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			calls.Add(1)
			defer calls.Done()
			mux.ServeHTTP(w, r)
		})}
	n.tasks.Go(func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			n.log.Warn("the control socket closed", "err", err)
		}
	})
	n.onStop(func() {
		cancel()
		_ = server.Close()
		calls.Wait()
	})
	return nil
}

// checkpoint copies the store, says where the copy is, and removes it when the caller goes.
func (n *Node) checkpoint(ctx context.Context, dir string, w http.ResponseWriter, r *http.Request) {
	defer os.RemoveAll(dir)
	if err := os.RemoveAll(dir); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	view := n.chain.View() // the copy is as old, or newer
	if err := n.store.Checkpoint(dir); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	n.log.Info("the store is being copied", "height", view.Height())
	_ = json.NewEncoder(w).Encode(Checkpoint{Dir: dir, Height: view.Height(), Epoch: view.Epoch()})
	_ = http.NewResponseController(w).Flush()
	select {
	case <-r.Context().Done():
	case <-ctx.Done():
	}
}

// Control returns a client of the node that runs in a home, whose calls it takes at http://node/,
// and closes it with done. The calls' error is ErrNotRunning when no node runs there.
func Control(home string) (c *http.Client, done func()) {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn,
		error) {
		path, done, err := controlPath(home)
		if err == nil {
			defer done()
			var conn net.Conn
			if conn, err = new(net.Dialer).DialContext(ctx, "unix", path); err == nil {
				return conn, nil
			}
		}
		return nil, fmt.Errorf("%w: %w", ErrNotRunning, err)
	}}
	return &http.Client{Transport: transport}, transport.CloseIdleConnections
}

// WithCheckpoint has the node that runs in a home copy its store, and calls use while the copy is
// there. Error: ErrNotRunning when no node runs there.
func WithCheckpoint(ctx context.Context, home string, use func(Checkpoint) error) error {
	control, done := Control(home)
	defer done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the node removes its copy
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://node/checkpoint", nil)
	if err != nil {
		return fmt.Errorf("node: %w", err)
	}
	response, err := control.Do(request)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotRunning, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		var b [1 << 10]byte
		size, _ := response.Body.Read(b[:])
		return fmt.Errorf("node: no checkpoint: %s", b[:size])
	}
	var c Checkpoint
	if err := json.NewDecoder(response.Body).Decode(&c); err != nil {
		return fmt.Errorf("node: checkpoint: %w", err)
	}
	return use(c)
}

// ErrNotRunning says that no node answers at a home's socket.
var ErrNotRunning = errors.New("node: no node runs in this home")

func listenControl(by Net, home string) (net.Listener, error) {
	path, done, err := controlPath(home)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("node: %w", err)
	}
	l, err := by.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	socket, ok := l.(*net.UnixListener)
	if !ok {
		return l, nil // of a made network, which has no file
	}
	socket.SetUnlinkOnClose(false) // by the path that stands for a moment only
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("node: %w", err), l.Close())
	}
	return l, nil
}

// maxSocketPath is what the system takes for the name of a socket.
const maxSocketPath = 100

// controlPath names a home's socket until done is called. A long name is reached by its folder.
func controlPath(home string) (path string, done func(), err error) {
	path = filepath.Join(home, controlSocket)
	if len(path) <= maxSocketPath {
		return path, func() {}, nil
	}
	dir, err := os.Open(home)
	if err != nil {
		return "", nil, fmt.Errorf("node: %w", err)
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), controlSocket),
		func() { _ = dir.Close() }, nil
}
