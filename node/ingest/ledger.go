package ingest

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/pipeline/certify"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// ledgerService implements api.LedgerServiceHandler. With curl, for example:
//
//	curl -H 'Content-Type: application/json' -d '{"index":1}' \
//	  http://localhost:7400/waybill.v1.LedgerService/GetAccount
//	{"index":1,"key":"8a88…","balance":"5000000","nextNonce":"3"}
type ledgerService struct{ *Server }

func (s ledgerService) SubmitTx(ctx context.Context,
	req *connect.Request[api.SubmitTxRequest]) (*connect.Response[api.SubmitTxResponse], error) {
	tx, err := hex.DecodeString(req.Msg.Tx)
	if err != nil || len(tx) == 0 {
		return nil, invalid("tx: not a transaction in hexadecimal")
	}
	if err := s.cfg.Chain.SubmitTx(ctx, tx); err != nil {
		return nil, txError(err)
	}
	return connect.NewResponse(&api.SubmitTxResponse{Hash: api.TxHash(tx)}), nil
}

// txError turns the answer of Chain.SubmitTx into an RPC error.
func txError(err error) error {
	// A wrapped refusal is not final, see Chain.
	refusal, final := err.(*ledger.Refusal) //nolint:errorlint // see above
	switch {
	case errors.Is(err, context.Canceled):
		return connect.NewError(connect.CodeCanceled, err)
	case errors.Is(err, context.DeadlineExceeded):
		return connect.NewError(connect.CodeDeadlineExceeded, err)
	case !final:
		return connect.NewError(connect.CodeUnavailable, err)
	}
	code := connect.CodeFailedPrecondition
	switch refusal.Code {
	case ledger.CodeMalformed, ledger.CodeWrongNetwork, ledger.CodeBadSignature,
		ledger.CodeBadProof, ledger.CodeOutOfRange,
		ledger.CodeBadBitmap, ledger.CodeBadCertificate, ledger.CodeBadWord, ledger.CodeWrongTerm,
		ledger.CodeNoLie:
		code = connect.CodeInvalidArgument
	case ledger.CodeUnknownAccount, ledger.CodeUnknownNode, ledger.CodeUnknownClient,
		ledger.CodeUnknownPayer, ledger.CodeUnknownService:
		code = connect.CodeNotFound
	case ledger.CodeKeyTaken, ledger.CodeAlreadyOrdered, ledger.CodeAlreadyCertified,
		ledger.CodeAlreadyConvicted:
		code = connect.CodeAlreadyExists
	}
	message := errors.New(strings.TrimPrefix(refusal.Error(), "ledger: "))
	return withDetail(connect.NewError(code, message), &api.TxRefusal{Code: refusal.Code.String()})
}

func (s ledgerService) GetStatus(context.Context,
	*connect.Request[api.GetStatusRequest]) (*connect.Response[api.GetStatusResponse], error) {
	view := s.cfg.Chain.View()
	hash := view.AppHash()
	status := &api.GetStatusResponse{
		Version:          s.cfg.Version,
		Network:          s.cfg.Network.String(),
		Node:             s.cfg.Node,
		Height:           view.Height(),
		BlockTimeMs:      view.Time().UnixMilli(),
		AppHash:          hash.String(),
		Epoch:            view.Epoch(),
		EpochStartedAtMs: view.EpochStart().UnixMilli(),
		EpochEndsAtMs:    view.EpochEnd().UnixMilli(),
		Clients:          view.Clients(),
		Nodes:            uint32(view.Nodes()),
		Services:         uint32(view.Services()),
	}
	p := view.Params()
	status.Money = &api.Money{GrantFee: p.GrantFee, GrantEpochs: p.GrantEpochs,
		Allowance: p.Allowance, ServeStake: p.ServeStake, UnbondSeconds: p.UnbondSeconds}
	if s.cfg.Pipeline != nil {
		open := s.cfg.Pipeline.OpenWindow()
		status.OpenEpoch, status.OpenWindow = open.Epoch, open.Window
	}
	if s.cfg.Status != nil {
		snapshot, err := json.Marshal(s.cfg.Status())
		if err != nil {
			return nil, connect.NewError(connect.CodeInternal, fmt.Errorf("snapshot: %w", err))
		}
		status.DetailJson = string(snapshot)
	}
	return connect.NewResponse(status), nil
}

func (s ledgerService) GetAccount(_ context.Context, req *connect.Request[api.GetAccountRequest]) (
	*connect.Response[api.GetAccountResponse], error) {
	view := s.cfg.Chain.View()
	var account ledger.Account
	var known bool
	switch by := req.Msg.By.(type) {
	case *api.GetAccountRequest_Index:
		if account, known = view.Account(by.Index); !known {
			return nil, missing("account %d of %d", by.Index, view.Accounts())
		}
	case *api.GetAccountRequest_Key:
		if err := account.Key.UnmarshalText([]byte(by.Key)); err != nil {
			return nil, invalid("key: %w", err)
		}
		if found, ok := view.AccountByKey(account.Key); ok {
			account, known = found, true
		}
	default:
		return nil, invalid("name an account by key or by index")
	}
	answer := &api.GetAccountResponse{Key: account.Key.String(), Balance: account.Balance,
		NextNonce: account.Nonce,
		Reserve:   account.Reserve, Committed: account.Committed, Thawing: account.Thawing,
		ThawEpoch: account.ThawEpoch}
	if known {
		answer.Index = proto.Uint32(account.Index)
		answer.Allowance, answer.NextAllowance = view.Allowance(account.Index, view.Epoch()),
			account.Allowance
	}
	if treasury, nonce := view.Treasury(); treasury == account.Key {
		answer.Treasury, answer.NextNonce = true, nonce
	} else if !known {
		return nil, missing("key %v has no account", account.Key)
	}
	return connect.NewResponse(answer), nil
}

func (s ledgerService) GetClients(_ context.Context, req *connect.Request[api.GetClientsRequest]) (
	*connect.Response[api.GetClientsResponse], error) {
	view := s.cfg.Chain.View()
	answer := &api.GetClientsResponse{Total: view.Clients()}
	if len(req.Msg.Keys) > api.MaxPage {
		return nil, invalid("%d keys, where %d may be", len(req.Msg.Keys), api.MaxPage)
	}
	for i, text := range req.Msg.Keys {
		var key ledger.BLSKey
		if err := key.UnmarshalText([]byte(text)); err != nil {
			return nil, invalid("keys[%d]: %w", i, err)
		}
		client := &api.Client{Key: text}
		if index, ok := view.ClientByKey(key); ok {
			client = clientOf(view, index)
		}
		answer.Clients = append(answer.Clients, client)
	}
	if len(req.Msg.Keys) == 0 {
		for i := range page(req.Msg.From, req.Msg.Count, answer.Total) {
			answer.Clients = append(answer.Clients, clientOf(view, i))
		}
	}
	return connect.NewResponse(answer), nil
}

// clientOf renders a client that exists.
func clientOf(view *ledger.View, index uint64) *api.Client {
	client := &api.Client{Index: proto.Uint64(index)}
	c, ok := view.Client(index)
	if !ok {
		return client
	}
	encoded := c.Key.Bytes()
	client.Key = hex.EncodeToString(encoded[:])
	client.Payer, client.Since, client.Until, client.Numbers = c.Payer, c.Since, c.Until, c.Numbers
	for _, service := range c.Services {
		if service != rollup.NoService {
			client.Services = append(client.Services, service)
		}
	}
	return client
}

func (s ledgerService) GetServices(_ context.Context,
	req *connect.Request[api.GetServicesRequest]) (*connect.Response[api.GetServicesResponse],
	error) {
	view := s.cfg.Chain.View()
	answer := &api.GetServicesResponse{Total: uint32(view.Services())}
	for i := range page(req.Msg.From, req.Msg.Count, answer.Total) {
		if service, ok := view.Service(i); ok {
			s := &api.Service{Index: service.Index, Owner: service.Owner,
				Price:     service.PriceIn(view.Epoch()),
				NextPrice: service.NextPrice, UnitCap: service.UnitCap, Unit: service.Unit}
			if service.From > view.Epoch() {
				s.NextFrom = service.From
			}
			answer.Services = append(answer.Services, s)
		}
	}
	return connect.NewResponse(answer), nil
}

func (s ledgerService) GetNodes(_ context.Context,
	req *connect.Request[api.GetNodesRequest]) (*connect.Response[api.GetNodesResponse], error) {
	view := s.cfg.Chain.View()
	power := make(map[uint32]uint64)
	for _, member := range view.Committee().Members {
		power[member.Node] = member.Power
	}
	answer := &api.GetNodesResponse{Total: uint32(view.Nodes())}
	for i := range page(req.Msg.From, req.Msg.Count, answer.Total) {
		if node, ok := view.Node(i); ok {
			described := &api.Node{Index: node.Index, Owner: node.Owner,
				BlsKey: node.BLSKey.String(), TransportKey: node.TransportKey.String(),
				PeerAddress: node.PeerAddress, Stake: node.Stake, Power: power[node.Index],
				Convictions: uint32(len(view.Convictions(node.Index))), Until: node.Until}
			if node.Leaving > 0 {
				described.Leaving, described.LeavingEpoch = node.Leaving, node.LeavingEpoch
				described.LeavingUntilMs = node.LeavingUntil.UnixMilli()
			}
			answer.Nodes = append(answer.Nodes, described)
		}
	}
	return connect.NewResponse(answer), nil
}

// GetRecord answers with what a client holds an epoch to, among others:
//
//	curl -H 'Content-Type: application/json' -d '{}' \
//	  http://localhost:7400/waybill.v1.LedgerService/GetRecord
//	{"record":"77622d7265632f32…","certificate":"0c00…","height":"12",
//	  "timeMs":"1795732271000","epoch":1}
func (s ledgerService) GetRecord(_ context.Context, req *connect.Request[api.GetRecordRequest]) (
	*connect.Response[api.GetRecordResponse], error) {
	view := s.cfg.Chain.View()
	found, ok := view.NewestRecord()
	if height := req.Msg.Height; height != 0 {
		if found, ok = view.Record(height); !ok {
			return nil, missing("no record of height %d is due, or kept", height)
		}
		ok = found.Certificate != nil
	}
	if !ok {
		return nil, connect.NewError(connect.CodeFailedPrecondition,
			errors.New("it is not certified yet"))
	}
	r := &found.Record
	return connect.NewResponse(&api.GetRecordResponse{
		Record:      hex.EncodeToString(r.Append(nil)),
		Certificate: hex.EncodeToString(found.Certificate.Append(nil)),
		Height:      r.Height, TimeMs: r.Time, Epoch: r.Epoch}), nil
}

func (s ledgerService) GetSettlement(_ context.Context,
	req *connect.Request[api.GetSettlementRequest]) (*connect.Response[api.GetSettlementResponse],
	error) {
	settlement, err := s.settlement(req.Msg.Epoch)
	if err != nil {
		return nil, err
	}
	answer := &api.GetSettlementResponse{Epoch: settlement.Epoch, Root: settlement.Root.String(),
		Certified: s.cfg.Chain.View().Certified(settlement.Height),
		Total:     uint32(len(settlement.Rows))}
	answer.Charged, answer.Allowed, answer.Paid = settlement.Totals()
	payers := make(map[uint32]bool)
	for i := range page(req.Msg.From, req.Msg.Count, answer.Total) {
		answer.Rows = append(answer.Rows, rowOf(&settlement.Rows[i]))
		payers[settlement.Rows[i].Payer] = true
	}
	for i := range settlement.Payers {
		if p := &settlement.Payers[i]; payers[p.Payer] {
			answer.Payers = append(answer.Payers, &api.SettlementPayer{Payer: p.Payer,
				Key: hex.EncodeToString(p.Key[:]), Reserve: p.Reserve, Thawing: p.Thawing,
				Allowance: p.Allowance,
				Paid:      p.Paid})
		}
	}
	for i := range settlement.Duties {
		answer.Duties = append(answer.Duties, dutyOf(&settlement.Duties[i]))
	}
	return connect.NewResponse(answer), nil
}

func dutyOf(d *rollup.DutyRow) *api.SettlementDuty {
	has := func(f rollup.DutyFlags) bool { return d.Flags&f != 0 }
	return &api.SettlementDuty{Node: d.Node, Blocks: d.Blocks, Points: d.Points,
		Possible: d.Possible, Asked: has(rollup.DutyAsked), Reported: has(rollup.DutyReported),
		Withheld: has(rollup.DutyWithheld), Convicted: has(rollup.DutyConvicted),
		Absent: d.Absent(), Reward: d.Reward}
}

func rowOf(row *rollup.SettlementRow) *api.SettlementRow {
	return &api.SettlementRow{Node: row.Node, Service: row.Service, Payer: row.Payer,
		Windows: row.Windows,
		Price:   row.Price, Acks: row.Acks, Units: row.Units, Charge: row.Charge,
		Allowed: row.Allowed, Paid: row.Paid,
		ToNode: row.ToNode, ToService: row.ToService}
}

func (s ledgerService) GetCharges(_ context.Context, req *connect.Request[api.GetChargesRequest]) (
	*connect.Response[api.GetChargesResponse], error) {
	view, m := s.cfg.Chain.View(), req.Msg
	switch {
	case m.Epoch > view.Epoch():
		return nil, early("epoch %d has not begun; epoch %d runs", m.Epoch, view.Epoch())
	case view.Settled(m.Epoch):
		return nil, missing("epoch %d is settled: ask for its settlement", m.Epoch)
	}
	rows := slices.DeleteFunc(view.Credits(m.Epoch), func(r rollup.SettlementRow) bool {
		return m.Payer != nil && r.Payer != *m.Payer || m.Node != nil && r.Node != *m.Node
	})
	answer := &api.GetChargesResponse{Epoch: m.Epoch, NextToSettle: view.NextToSettle(),
		Current: view.Epoch(),
		Total:   uint32(len(rows))}
	for i := range page(m.From, m.Count, answer.Total) {
		answer.Rows = append(answer.Rows, rowOf(&rows[i]))
	}
	return connect.NewResponse(answer), nil
}

func (s ledgerService) ListOwnRollups(_ context.Context,
	req *connect.Request[api.ListOwnRollupsRequest]) (*connect.Response[api.ListOwnRollupsResponse],
	error) {
	keys, err := s.cfg.Store.RecentOwn(listed(req.Msg.Count))
	rollups, err := s.rollups(keys, err)
	return connect.NewResponse(&api.ListOwnRollupsResponse{Rollups: rollups}), err
}

func (s ledgerService) ListRollups(_ context.Context,
	req *connect.Request[api.ListRollupsRequest]) (*connect.Response[api.ListRollupsResponse],
	error) {
	keys, err := s.cfg.Store.Recent(listed(req.Msg.Count))
	rollups, err := s.rollups(keys, err)
	return connect.NewResponse(&api.ListRollupsResponse{Rollups: rollups}), err
}

func (s ledgerService) rollups(keys []rollup.WindowKey, err error) ([]*api.Rollup, error) {
	if err != nil {
		return nil, internal(err)
	}
	view := s.cfg.Chain.View()
	list := make([]*api.Rollup, 0, len(keys))
	for _, key := range keys {
		entry := &api.Rollup{Node: key.Node, Epoch: key.Epoch, Window: key.Window,
			Ordered: view.IsOrdered(key)}
		header, certificate, err := s.header(key)
		if err != nil {
			return nil, internal(err)
		}
		if certificate != nil && view.Settled(key.Epoch) { // see View.IsOrdered
			unordered, err := s.cfg.Store.IsUnordered(key)
			if err != nil {
				return nil, internal(err)
			}
			entry.Ordered = !unordered
		}
		if certificate != nil {
			if committee, known := view.CommitteeAt(certificate.Term); known {
				entry.Signers = committee.Nodes(certificate.Signers)
			}
		}
		acks, units := header.Totals()
		entry.Id, entry.AckRoot, entry.Units = header.ID().String(), header.AckRoot.String(), units
		entry.Acks, entry.CosignedAcks = uint32(acks), uint32(acks)-header.AckCount
		if err := s.fillRungs(entry, header); err != nil {
			return nil, internal(err)
		}
		list = append(list, entry)
	}
	return list, nil
}

// fillRungs says what evidence of a rollup is kept here, and who else keeps the statements of an
// own one.
func (s ledgerService) fillRungs(entry *api.Rollup, header *rollup.Header) error {
	rung, err := s.cfg.Store.Rung(header.ID())
	if err != nil {
		return err
	}
	entry.Rung = uint32(rung)
	holder, err := s.cfg.Store.Holder(header.Key())
	if errors.Is(err, store.ErrNotFound) || holder == certify.NoHolder {
		return nil
	}
	entry.Holder = proto.Uint32(holder)
	return err
}

// page yields the indices that a list request asks for.
func page[I uint32 | uint64](from I, count uint32, total I) func(yield func(I) bool) {
	if count == 0 || count > api.MaxPage {
		count = api.MaxPage
	}
	return func(yield func(I) bool) {
		for i := from; i < total && i-from < I(count) && yield(i); i++ {
		}
	}
}

func listed(count uint32) int {
	if count == 0 {
		return 32
	}
	return int(min(count, api.MaxPage))
}
