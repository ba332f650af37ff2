package client

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup/cosign"
)

// maxEvidence is how many offers that are not true are kept: a few prove as much as many.
const maxEvidence = 64

// maxEvidenceAcks is how many acks of a client are kept beside an offer.
const maxEvidenceAcks = 65536

// evidence is the file that is kept of an offer that is not true.
type evidence struct {
	Reason  string        `json:"reason"`
	Clients []uint64      `json:"clients"` // that refused
	Time    time.Time     `json:"time"`
	Offer   []byte        `json:"offer"`  // a waybill.v1.CosignOffer
	Signed  []evidenceAck `json:"signed"` // by the first client in the epoch, the latest last
}

type evidenceAck struct {
	Leaf string `json:"leaf"` // bytes 16 to 79 of the ack, in hexadecimal
}

// keep writes down a refused offer, and complains.
func (k *cosigner) keep(message *api.CosignOffer, reason cosign.Reason, clients []uint64) {
	log := k.log.With("node", message.Node, "epoch", message.Epoch, "window", message.Window,
		"reason", reason.String(), "clients", len(clients))
	k.mu.Lock()
	room := k.cfg.Evidence != "" && k.evidence < maxEvidence
	if room {
		k.evidence++
	}
	n := k.evidence
	k.mu.Unlock()
	if !room {
		log.Warn("an offer is not true, and is not signed")
		return
	}
	file := filepath.Join(k.cfg.Evidence, fmt.Sprintf("offer-%d-%d-%d-%s-%d.json",
		message.Node, message.Epoch, message.Window, reason, n))
	if err := k.write(file, message, reason, clients); err != nil {
		log.Error("an offer is not true, is not signed, and could not be kept", "err", err)
		return
	}
	log.Warn("an offer is not true, is not signed, and is kept", "file", file)
}

func (k *cosigner) write(file string, message *api.CosignOffer, reason cosign.Reason,
	clients []uint64) error {
	encoded, err := proto.Marshal(message)
	if err != nil {
		return err
	}
	e := evidence{Reason: reason.String(), Clients: clients, Time: time.Now().UTC(), Offer: encoded}
	for _, ack := range k.book.signedBy(k.pin, message.Epoch, clients[0], maxEvidenceAcks) {
		e.Signed = append(e.Signed, evidenceAck{hex.EncodeToString(ack.AppendLeaf(nil))})
	}
	text, err := json.MarshalIndent(&e, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(k.cfg.Evidence, 0o700); err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o600)
}
