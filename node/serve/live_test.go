package serve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
)

// frames returns where the frames of a stream begin, by kind, and where bytes of content lie.
func frames(t *testing.T, stream []byte) (at map[delivery.Kind][]int, contents []int) {
	t.Helper()
	at = make(map[delivery.Kind][]int)
	size := uint64(0)
	for i := 0; i < len(stream); {
		p, err := delivery.ParsePrefix(stream[i : i+delivery.PrefixSize])
		if err != nil {
			t.Fatal(err)
		}
		at[p.Kind] = append(at[p.Kind], i)
		body := stream[i+delivery.PrefixSize:][:p.Length]
		i += delivery.PrefixSize + p.Length
		switch p.Kind {
		case delivery.KindHead:
			h, err := delivery.ParseHead(body)
			if err != nil {
				t.Fatal(err)
			}
			size = h.Word.Size
		case delivery.KindRun:
			r, err := delivery.ParseRun(body)
			if err != nil {
				t.Fatal(err)
			}
			contents = append(contents, i)
			from := r.First * delivery.GroupSize
			i += int(min(size, from+uint64(r.Groups)*delivery.GroupSize) - from)
		default:
		}
	}
	return at, contents
}

// TestFlippedByte: a byte is flipped in every kind of frame, in every field of it, and in the
// content. The client hands on what verifies, acknowledges that at most, and says what is wrong.
func TestFlippedByte(t *testing.T) {
	const size = 200_000
	places := []int{}
	var recorded []byte
	w := start(t, 1, 64, nil)
	data := content(9, size)
	root := w.shelf.add(data)
	var mu sync.Mutex
	flip, at := -1, make(map[*http.Request]int) // in the stream of each request
	url := w.nodes[0].through(t, func(r *http.Request, b []byte) []byte {
		if r.URL.Path != "/b3/"+root.String() {
			return b
		}
		mu.Lock()
		defer mu.Unlock()
		recorded = append(recorded, b...)
		if i := flip - at[r]; i >= 0 && i < len(b) {
			b[i] ^= 1
		}
		at[r] += len(b)
		return b
	})
	fetch := func(t *testing.T, index uint64, place int) (got []byte, s client.FetchStats,
		err error) {
		mu.Lock()
		flip, recorded = place, nil
		mu.Unlock()
		f, err := client.NewFetcher(client.FetchConfig{Client: index, Key: w.Clients[index],
			Silence: time.Second,
			Nodes:   []*client.Client{w.at(t, url, w.nodes[0].pin, client.MemoryBook())}})
		if err != nil {
			t.Fatal(err)
		}
		got, err = read(t, f, root)
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		return got, f.Stats(), err
	}
	got, _, err := fetch(t, 0, -1)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatal(err)
	}
	kinds, contents := frames(t, recorded)
	for _, kind := range []delivery.Kind{delivery.KindHead, delivery.KindRun, delivery.KindAsk,
		delivery.KindEnd} {
		if len(kinds[kind]) == 0 {
			t.Fatalf("no frame of kind %d", kind)
		}
		i := kinds[kind][0]
		places = append(places, i, i+1)
		switch kind {
		case delivery.KindHead:
			for _, field := range []int{0, 4, 8, 16, 24, 40, 44, 52, 84, 116, 148, 156, 164, 172} {
				places = append(places, i+delivery.PrefixSize+field)
			}
		case delivery.KindRun:
			places = append(places, i+5, i+13, i+17, i+17+64, i+17+127)
		case delivery.KindAsk:
			places = append(places, i+5, i+13)
		default:
		}
	}
	for _, i := range contents {
		places = append(places, i, i+delivery.GroupSize, i+3*delivery.GroupSize-1)
	}
	if len(places) >= len(w.Clients) {
		t.Fatal("not enough clients")
	}
	refused := 0
	for n, place := range places {
		got, stats, err := fetch(t, uint64(n+1), place)
		if !bytes.HasPrefix(data, got) {
			t.Errorf("byte %d: the client hands on what is wrong", place)
		}
		if stats.Received > size || stats.Signed != stats.Received || stats.Charged != stats.Signed ||
			stats.Received < uint64(len(got)) {
			t.Errorf("byte %d: %d bytes, %+v", place, len(got), stats)
		}
		if len(got) < size {
			refused++
			var failure *client.FetchError
			if !errors.As(err, &failure) || failure.Phase == "" || failure.Node == "" {
				t.Errorf("byte %d: %v", place, err)
			}
		}
	}
	// Behind some of these places the client goes on with another stream, which is another one.
	if refused < len(places)/2 {
		t.Errorf("%d of %d flipped bytes were noticed", refused, len(places))
	}
	credit := w.nodes[0].server.Stats().Credit
	if credit.Beyond != 0 {
		t.Errorf("acks for what was not sent: %+v", credit)
	}
}

// again starts a node's server anew over what it wrote down, as after kill -9.
func (w *world) again(t *testing.T, n *node) {
	t.Helper()
	n.cut()
	old := n.server
	config := old.cfg
	config.Accounts = n.open(t, config.Dir, w.credit)
	server, err := NewServer(config)
	if err != nil {
		t.Fatal(err)
	}
	n.server = server
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	listener := w.listen(t, n.pin.Node, n.url[len("http://"):])
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Serve(listener); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		serving.Wait()
	})
}

// TestKilled: three nodes deliver to ten clients, one is killed in the middle and comes back. Every
// client has its content, and the books of clients, nodes and pipelines agree: what was sent is
// what was acknowledged and what is owed, and what was acknowledged is what the pipelines hold.
func TestKilled(t *testing.T) {
	const clients, size = 10, 6 << 20
	w := start(t, 3, clients, nil)
	var group sync.WaitGroup
	var fetchers [clients]*client.Fetcher
	half := make(chan struct{}, clients)
	goOn := make(chan struct{})
	for c := range clients {
		data := content(uint64(c), size+c)
		root := w.shelf.add(data)
		f := w.fetcher(t, uint64(c), client.MemoryBook(), w.nodes[c%2], w.nodes[2], w.nodes[(c+1)%2])
		fetchers[c] = f
		group.Go(func() {
			if err := resumed(f, root, data, half, goOn); err != nil {
				t.Errorf("client %d: %v", c, err)
			}
		})
	}
	for range clients {
		<-half
	}
	killed := w.nodes[0]
	killed.cut()
	close(goOn)
	group.Wait()
	w.again(t, killed)
	sum := client.FetchStats{}
	for c, f := range fetchers {
		if err := f.Close(); err != nil {
			t.Errorf("client %d: %v", c, err)
		}
		s := f.Stats()
		if s.Received < size || s.Charged != s.Received || s.Signed != s.Received {
			t.Errorf("client %d: %+v", c, s)
		}
		sum.Received += s.Received
		sum.Charged += s.Charged
	}
	paid := uint64(0)
	for i, n := range w.nodes {
		s := n.server.Stats().Credit
		if s.Sent+s.Recalled != s.Paid+s.Returned+s.Forgiven+s.Outstanding+s.Owed+s.WrittenOff {
			t.Errorf("node %d: %+v", i, s)
		}
		if i > 0 {
			paid += s.Paid
			if s.Outstanding+s.Owed != 0 {
				t.Errorf("node %d: %+v", i, s)
			}
		}
	}
	settled := uint64(0)
	for c := range uint64(clients) {
		for _, n := range w.nodes {
			settled += held(t, n, c)
		}
	}
	if settled != sum.Charged {
		t.Errorf("the nodes hold acks for %d bytes, the clients were charged %d", settled, sum.Charged)
	}
	t.Logf("%d bytes received and charged, %d held; the killed node is owed %d", sum.Received,
		settled, killed.server.Stats().Credit.Owed)
}

// held is the units of all acks of a client that a node holds.
func held(t *testing.T, n *node, c uint64) (units uint64) {
	t.Helper()
	for number := uint32(0); ; number++ {
		found, err := n.inside.Pipeline.Lookup(0, c, 0, number)
		if err != nil {
			t.Fatal(err)
		}
		if found.Units == 0 {
			return units
		}
		units += found.Units
	}
}

// resumed reads content in two halves.
func resumed(f *client.Fetcher, root rollup.Hash, data []byte, half chan<- struct{},
	goOn <-chan struct{}) error {
	r, err := f.Open(context.Background(), root)
	if err != nil {
		half <- struct{}{}
		return err
	}
	defer r.Close()
	got := make([]byte, len(data)/2)
	_, err = io.ReadFull(r, got)
	half <- struct{}{}
	if err != nil {
		return err
	}
	<-goOn
	rest, err := io.ReadAll(r)
	if err == nil && !bytes.Equal(append(got, rest...), data) {
		err = fmt.Errorf("other bytes: %d", len(got)+len(rest))
	}
	return err
}

// TestDenied: content that is denied while it is sent is not sent any further.
func TestDenied(t *testing.T) {
	w := start(t, 1, 1, nil)
	data := content(3, 8<<20)
	root := w.shelf.add(data)
	f := w.fetcher(t, 0, client.MemoryBook(), w.nodes[0])
	r, err := f.Open(context.Background(), root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	w.shelf.mu.Lock()
	w.shelf.files[root].denied.Store(true)
	w.shelf.mu.Unlock()
	_, err = io.ReadAll(r)
	if !errors.Is(err, delivery.ReasonDenied) {
		t.Errorf("%v", err)
	}
	if err := errors.Join(r.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	if s := f.Stats(); s.Received >= 8<<20 || s.Charged != s.Received {
		t.Errorf("%+v", s)
	}
	if c := w.nodes[0].server.Stats().Credit; c.Outstanding+c.Owed != 0 {
		t.Errorf("%+v", c)
	}
}
