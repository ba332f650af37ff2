package client

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/route"
	"github.com/waybill-network/waybill/rollup/word"
)

// maxLies is how many files of lies a fetcher writes at most.
const maxLies = 64

// accuse keeps what shows that a node's head lies, in a file that 'waybill verify' takes. A head
// that does not lie convicts nobody, and no file is kept.
func (f *Fetcher) accuse(l *link, e word.Evidence, epoch uint32) {
	if f.cfg.Evidence == "" {
		return
	}
	f.drains.Go(func() {
		name, err := f.convict(l, e, epoch)
		log := l.client.cfg.Logger
		switch {
		case errors.Is(err, word.ReasonTrue):
		case err != nil:
			log.Warn("a head that may be a lie is not kept", "node", l.client.cfg.URL, "err", err)
		case name != "":
			log.Warn("a node lied", "node", l.client.cfg.URL, "lie", e.Lie(), "file", name)
		}
	})
}

// convict makes the file and sees that it convicts.
func (f *Fetcher) convict(l *link, e word.Evidence, epoch uint32) (name string, err error) {
	list, err := f.listOf(l, epoch)
	if err != nil {
		return "", err
	}
	witness, err := word.NewWitness(e, list.Record, word.Sum{Signers: list.Certificate.Signers,
		Signature: list.Certificate.Signature}, list.Prover())
	if err != nil {
		return "", err
	}
	network := l.client.cfg.Pin.Network
	committee, err := l.client.cfg.signers(list.Record)
	if err != nil {
		return "", err
	}
	file := &word.File{Network: network, Evidence: e, Witness: witness}
	if _, err := file.Verify(network, onlyCommittee{committee}); err != nil {
		return "", err
	}
	f.mu.Lock()
	f.lies++
	n := f.lies
	f.mu.Unlock()
	if n > maxLies {
		return "", nil
	}
	b := file.Append(nil)
	digest := hex.EncodeToString(b[len(b)-8:])
	name = filepath.Join(f.cfg.Evidence, fmt.Sprintf("lie-%d-node-%d-%s.wbx", uint8(e.Lie()),
		l.client.cfg.Pin.Node, digest))
	if err := os.MkdirAll(f.cfg.Evidence, 0o700); err != nil {
		return "", err
	}
	return name, os.WriteFile(name, b, 0o600)
}

// listOf returns the list of nodes and services of a record of an epoch, from whichever node has
// one: the liar is asked last.
func (f *Fetcher) listOf(liar *link, epoch uint32) (*route.List, error) {
	links := f.all()
	for i, l := range links {
		if l == liar {
			links = append(append(links[:i:i], links[i+1:]...), l)
			break
		}
	}
	var errs []error
	for _, l := range links {
		list, err := l.list()
		if err == nil && list.Record.Epoch != epoch {
			err = fmt.Errorf("client: a list of epoch %d, where one of %d is needed",
				list.Record.Epoch, epoch)
		}
		if err == nil {
			return list, nil
		}
		errs = append(errs, &NodeError{l.client.cfg.URL, "list of nodes", err})
	}
	return nil, errors.Join(errs...)
}

// list asks the node for the list of nodes and services, and verifies it.
func (l *link) list() (*route.List, error) {
	cfg := &l.client.cfg
	ctx, cancel := context.WithTimeout(l.fetcher.ctx, cfg.CallTimeout)
	defer cancel()
	own := l.client.nodes.list[0]
	listed, err := askForList(ctx, own.http, own.base)
	if err != nil {
		return nil, err
	}
	if listed.List == "" {
		return nil, errors.New("client: nothing is certified yet")
	}
	var list *route.List
	return list, cfg.following(ctx, l.client.Ledger(), func() (err error) {
		list, err = parseList(listed.List, cfg.Pin.Network, cfg)
		return err
	})
}

// onlyCommittee is what a file with a witness is verified with: all else stands in it.
type onlyCommittee struct{ committee *rollup.Committee }

func (o onlyCommittee) Committee(term uint32) (*rollup.Committee, bool) {
	return o.committee, term == o.committee.Term
}

func (onlyCommittee) Client(uint64) (rollup.Client, bool)   { return rollup.Client{}, false }
func (onlyCommittee) UnitCap(uint32) (uint64, bool)         { return 0, false }
func (onlyCommittee) NodeKey(uint32) (key [32]byte, _ bool) { return key, false }
func (onlyCommittee) Price(uint32, uint32) (uint64, bool)   { return 0, false }
func (onlyCommittee) Rollups() (uint32, rollup.Hash, bool)  { return 0, rollup.Hash{}, false }
