package node_test

import (
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/node/serve"
	"github.com/waybill-network/waybill/rollup/route"
)

// directory is one that asks some nodes for the list of all.
func (d *delivering) directory(book *client.Book, ask ...int) *client.Directory {
	d.Helper()
	cfg := client.DirectoryConfig{Genesis: d.net.Genesis.Encode(), Node: client.Config{Book: book}}
	for _, i := range ask {
		cfg.Ask = append(cfg.Ask, d.port(i))
	}
	dir, err := client.NewDirectory(cfg)
	if err != nil {
		d.Fatal(err)
	}
	d.Cleanup(dir.Close)
	return dir
}

// json gets what a node answers to everybody.
func (d *delivering) json(i int, path string, v any) {
	d.Helper()
	response, err := http.Get(d.port(i) + path)
	if err != nil {
		d.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(v); err != nil ||
		response.StatusCode != http.StatusOK {
		d.Fatal(response.Status, err)
	}
}

// routed checks that every node gives the same candidates, by a list that the committee signed, and
// that a client computes the same by itself.
func (d *delivering) routed() {
	d.Helper()
	d.await("a list that is certified, and contacts", func() bool {
		var listed serve.Listed
		for i := range 3 {
			if d.json(i, "/nodes", &listed); listed.List == "" || len(listed.Contacts) != 3 {
				return false
			}
		}
		return true
	})
	var listed serve.Listed
	d.json(1, "/nodes", &listed)
	b, err := hex.DecodeString(listed.List)
	if err != nil {
		d.Fatal(err)
	}
	list, err := route.ParseList(b)
	if err != nil {
		d.Fatal(err)
	}
	genesis := d.net.Genesis
	if err := list.Verify(genesis.Network(), genesis.Committee()); err != nil {
		d.Error(err)
	}
	if len(list.Nodes) != 4 || list.Nodes[2].NodeKey != genesis.Members[2].TransportKey {
		d.Errorf("%d nodes", len(list.Nodes))
	}
	dir := d.directory(client.MemoryBook(), 2)
	for _, root := range d.roots {
		own, err := dir.Candidates(d.Context(), root)
		if err != nil {
			d.Fatal(err)
		}
		for i := range 3 {
			var routed serve.Routed
			d.json(i, "/route/"+root.String(), &routed)
			same := slices.EqualFunc(own, routed.Candidates,
				func(a client.Candidate, b serve.Candidate) bool {
					return a.URL == b.URL && a.Pin.Node == b.Node && a.Pin.Key == [32]byte(b.Key) &&
						a.URL == d.port(int(b.Node)) && a.Stake == b.Stake
				})
			if !same || len(own) != 3 {
				d.Errorf("node %d: %+v, a client: %+v", i, routed.Candidates, own)
			}
		}
	}
}
