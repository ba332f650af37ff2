package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/node/witness"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/ledger"
)

func (s ledgerService) ExportAck(
	_ context.Context,
	req *connect.Request[api.ExportAckRequest],
) (*connect.Response[api.ExportResponse], error) {
	key := rollup.WindowKey{Node: req.Msg.Node, Epoch: req.Msg.Epoch, Window: req.Msg.Window}
	certificate, archive, err := s.certified(key)
	if err != nil {
		return nil, err
	}
	evidence, err := evidence(archive, 0)
	if err != nil {
		return nil, err
	}
	var all rollup.Acks // of a window that clients of this node co-signed
	if archive.Stated() {
		all = archive.Acks
	}
	client, service, number := req.Msg.Client, req.Msg.Service, req.Msg.Number
	if index, ok := findAck(evidence.Acks, client, service, number); ok {
		anchor, err := s.anchor(certificate)
		if err != nil {
			return nil, err
		}
		return exported(export.NewAck(anchor, evidence.Acks, index))
	}
	if index, ok := findAck(all, client, service, number); ok {
		anchor, err := s.anchor(certificate)
		if err != nil {
			return nil, err
		}
		file, err := export.NewStatementAck(anchor, all, evidence.List, s.cfg.Chain.View(), index)
		if err != nil {
			return nil, internal(err)
		}
		return exported(file)
	}
	if _, signed := slices.BinarySearch(evidence.List.Signers(), client); signed && len(all) == 0 {
		return nil, early(
			"client %d co-signed statements about the acks of %v, which node %d alone keeps",
			client,
			key,
			key.Node,
		)
	}
	return nil, missing(
		"client %d has no ack with number %d for service %d in the rollup of %v",
		client,
		number,
		service,
		key,
	)
}

func (s ledgerService) ExportRollup(
	_ context.Context,
	req *connect.Request[api.ExportRollupRequest],
) (*connect.Response[api.ExportResponse], error) {
	key := rollup.WindowKey{Node: req.Msg.Node, Epoch: req.Msg.Epoch, Window: req.Msg.Window}
	certificate, archive, err := s.certified(key)
	if err != nil {
		return nil, err
	}
	evidence, err := evidence(archive, req.Msg.Rung)
	if err != nil {
		return nil, err
	}
	var verifyingKey []byte
	if evidence.Rung == rollup.RungProof && s.cfg.VerifyingKey != nil {
		verifyingKey = s.cfg.VerifyingKey(evidence.Size, key.Epoch)
	}
	if evidence.Rung == rollup.RungProof && verifyingKey == nil {
		return nil, early(
			"this node lacks the verifying key for %d statements, which belongs to the file",
			evidence.Size,
		)
	}
	anchor, err := s.anchor(certificate)
	if err != nil {
		return nil, err
	}
	file, err := export.NewRollup(anchor, evidence, s.cfg.Witness.Registry(anchor.Record.Height),
		verifyingKey)
	if err != nil {
		return nil, witnessError(err)
	}
	return exported(file)
}

func (s ledgerService) ExportSettlement(
	_ context.Context,
	req *connect.Request[api.ExportSettlementRequest],
) (*connect.Response[api.ExportResponse], error) {
	epoch := req.Msg.Epoch
	file, err := s.cfg.Witness.Settlement(epoch)
	if errors.Is(err, witness.ErrMissing) {
		if _, err := s.settlement(epoch); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, witnessError(err)
	}
	return exported(file)
}

func (s ledgerService) ExportTerms(
	_ context.Context,
	req *connect.Request[api.ExportTermsRequest],
) (*connect.Response[api.ExportResponse], error) {
	view, first := s.cfg.Chain.View(), max(1, req.Msg.First)
	switch last := view.Elected().Term; {
	case view.Params().Rotation == nil:
		return nil, missing("the committee of this network is that of the genesis for ever")
	case first > last:
		return nil, early("no committee has handed over to term %d yet; term %d is the last", first,
			last)
	}
	var file export.File
	var err error
	if req.Msg.Draws {
		file, err = s.cfg.Witness.Draws(first)
	} else {
		file, err = s.cfg.Witness.HandOvers(first, func(node uint32) ([bls.PublicKeySize]byte, bool) {
			n, known := view.Node(node)
			return n.BLSKey, known
		})
	}
	if err != nil {
		return nil, witnessError(err)
	}
	return exported(file)
}

// anchor returns where an executed rollup was ordered.
func (s ledgerService) anchor(certificate *rollup.Certificate) (*export.Anchor, error) {
	anchor, err := s.cfg.Witness.Anchor(&certificate.Header)
	if err != nil {
		return nil, witnessError(err)
	}
	return anchor, nil
}

// witnessError is the answer to a file that cannot be made now, or not here.
func witnessError(err error) error {
	switch {
	case errors.Is(err, witness.ErrUnsigned):
		return early("%w", err)
	case errors.Is(err, witness.ErrMissing):
		return missing("%w", err)
	}
	return internal(err)
}

// evidence returns the evidence of a rung that a request asks for, of the best one for 0.
func evidence(a *rollup.Archive, rung uint32) (*rollup.Evidence, error) {
	if rung > uint32(rollup.RungProof) {
		return nil, invalid("rung: there is no rung %d", rung)
	}
	encoded, err := a.Evidence(rollup.Rung(rung))
	if errors.Is(err, rollup.ErrNotFound) {
		return nil, missing(
			"no evidence of rung %d is kept here for the rollup of %v, the best is of "+
				"rung %d",
			rung,
			a.Key(),
			a.Rungs()[0],
		)
	}
	if err != nil {
		return nil, internal(fmt.Errorf("stored rollup of %v: %w", a.Key(), err))
	}
	evidence, err := rollup.ParseEvidence(encoded)
	if err != nil {
		return nil, internal(fmt.Errorf("stored evidence of %v: %w", a.Key(), err))
	}
	return evidence, nil
}

func exported(e export.File) (*connect.Response[api.ExportResponse], error) {
	return connect.NewResponse(&api.ExportResponse{File: e.Append(nil)}), nil
}

// settlement returns an epoch's settlement, or says what is missing for it.
func (s ledgerService) settlement(epoch uint32) (*ledger.Settlement, error) {
	view := s.cfg.Chain.View()
	if settlement, ok := view.Settlement(epoch); ok {
		return settlement, nil
	}
	switch {
	case epoch >= view.Epoch():
		return nil, early("epoch %d has not ended; epoch %d runs", epoch, view.Epoch())
	case epoch >= view.NextToSettle():
		return nil, early("epoch %d is not settled yet", epoch)
	}
	return nil, missing("the settlement of epoch %d is kept no longer", epoch)
}

// certified returns the certificate of a window's executed rollup and what is kept of it, or says
// what is missing.
func (s ledgerService) certified(
	key rollup.WindowKey,
) (*rollup.Certificate, *rollup.Archive, error) {
	id, encoded, err := s.cfg.Store.Rollup(key)
	view := s.cfg.Chain.View()
	ordered := view.IsOrdered(key)
	forgotten := view.Settled(key.Epoch) // see View.IsOrdered
	switch {
	case errors.Is(err, store.ErrNotFound) && ordered:
		return nil, nil, early("the rollup of %v is executed, but this node has neither its "+
			"certificate nor its acks yet", key)
	case errors.Is(err, store.ErrNotFound):
		return nil, nil, missing(
			"no rollup of %v is known here: its window has not sealed, or it is "+
				"kept no longer",
			key,
		)
	case err != nil:
		return nil, nil, internal(err)
	case encoded == nil && ordered:
		return nil, nil, early(
			"the rollup of %v is executed, but its certificate is not known here "+
				"yet",
			key,
		)
	case encoded == nil:
		return nil, nil, early("the rollup of %v is sealed, but not certified yet", key)
	case !ordered && !forgotten:
		return nil, nil, early("the rollup of %v is certified, but the chain has not executed its "+
			"certificate yet", key)
	}
	archive, err := s.cfg.Store.Archive(id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, early(
			"the acks of %v are not kept here; ask the rollup's own node or another "+
				"member",
			key,
		)
	}
	if err != nil {
		return nil, nil, internal(err)
	}
	certificate, err := rollup.ParseCertificate(encoded)
	if err != nil {
		return nil, nil, internal(fmt.Errorf("stored certificate of %v: %w", key, err))
	}
	return certificate, archive, nil
}

// header returns what the store has of a window's rollup: its header, and its certificate unless
// that is nil.
func (s ledgerService) header(key rollup.WindowKey) (*rollup.Header, *rollup.Certificate, error) {
	encoded, err := s.cfg.Store.Certificate(key)
	if err == nil {
		certificate, err := rollup.ParseCertificate(encoded)
		if err != nil {
			return nil, nil, fmt.Errorf("stored certificate of %v: %w", key, err)
		}
		return &certificate.Header, certificate, nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return nil, nil, err
	}
	id, _, err := s.cfg.Store.Rollup(key)
	if err != nil {
		return nil, nil, err
	}
	archive, err := s.cfg.Store.Archive(id)
	if err != nil {
		return nil, nil, fmt.Errorf("stored rollup of %v: %w", key, err)
	}
	return archive.Header, nil, nil
}

// findAck finds an ack, in a list that may be none.
func findAck(acks rollup.Acks, client uint64, service, number uint32) (int, bool) {
	if len(acks) == 0 {
		return 0, false
	}
	return acks.Index(client, service, number)
}
