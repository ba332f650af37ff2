package serve

import (
	"encoding/hex"
	"net/http"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
	"github.com/waybill-network/waybill/rollup/registry"
	"github.com/waybill-network/waybill/rollup/route"
)

// Routes is what a node knows of other nodes. Safe for concurrent use.
type Routes interface {
	// Nodes returns all nodes.
	Nodes() (Nodes, error)
	// Contacts returns where nodes that answer deliver content, by node.
	Contacts() []Contact
}

// Nodes are all nodes by index, as they were when a record of the committee was certified, or as
// the genesis file has them.
type Nodes struct {
	List   []byte // the encoding of a route.List; none before the first record is certified
	Height uint64 // of the record
	Epoch  uint32
	Stake  uint64 // that serving takes
	All    []registry.Node
}

// Contact is where a node delivers content, by its own word to this node.
type Contact struct {
	Node uint32 `json:"node"`
	URL  string `json:"url"`
}

// Listed is the answer to GET /nodes: what a client needs to find the candidates of every content.
type Listed struct {
	Network  rollup.Network `json:"network"`
	Height   uint64         `json:"height"`
	List     string         `json:"list"` // hexadecimal; protocol section 20
	Contacts []Contact      `json:"contacts"`
}

// Routed is the answer to GET /route/ROOT: the candidates of a content, the best first.
type Routed struct {
	Network    rollup.Network `json:"network"`
	Root       rollup.Hash    `json:"root"`
	Height     uint64         `json:"height"`
	Epoch      uint32         `json:"epoch"`
	Candidates []Candidate    `json:"candidates"`
}

// Candidate is one of them.
type Candidate struct {
	Node  uint32      `json:"node"`
	Key   rollup.Hash `json:"key"`
	URL   string      `json:"url"`
	Stake uint64      `json:"stake,string"`
}

// listed answers with all nodes.
func (s *Server) listed(w http.ResponseWriter, r *http.Request) {
	if !s.takesNone(w, r) {
		return
	}
	nodes, contacts, err := s.routes()
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=10")
	writeJSON(w, http.StatusOK, Listed{Network: s.cfg.Network, Height: nodes.Height,
		List: hex.EncodeToString(nodes.List), Contacts: contacts})
}

// routed answers with the candidates of a content.
func (s *Server) routed(w http.ResponseWriter, r *http.Request) {
	if !s.takesNone(w, r) {
		return
	}
	var root rollup.Hash
	if err := root.UnmarshalText([]byte(r.PathValue("root"))); err != nil {
		s.refuse(w, r, delivery.Refuse(delivery.ReasonMalformed, "%w", err))
		return
	}
	nodes, contacts, err := s.routes()
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=10")
	writeJSON(w, http.StatusOK, Routed{Network: s.cfg.Network, Root: root, Height: nodes.Height,
		Epoch: nodes.Epoch, Candidates: candidates(root, &nodes, contacts)})
}

// routes returns what the node knows; of a node that knows nothing of others, an empty list.
func (s *Server) routes() (nodes Nodes, contacts []Contact, err error) {
	contacts = []Contact{}
	if s.cfg.Routes == nil {
		return nodes, contacts, nil
	}
	if nodes, err = s.cfg.Routes.Nodes(); err != nil {
		return nodes, nil, err
	}
	return nodes, append(contacts, s.cfg.Routes.Contacts()...), nil
}

// candidates are the best nodes of those that answer.
func candidates(root rollup.Hash, nodes *Nodes, contacts []Contact) []Candidate {
	at := make(map[uint32]string)
	for _, c := range contacts {
		at[c.Node] = c.URL
	}
	var answering []route.Node
	for _, n := range route.Eligible(nodes.All, nodes.Epoch, nodes.Stake) {
		if at[n.Index] != "" {
			answering = append(answering, n)
		}
	}
	list := []Candidate{}
	for _, index := range route.Candidates(root, answering, route.Default) {
		n := &nodes.All[index]
		list = append(list, Candidate{index, n.NodeKey, at[index], n.Stake})
	}
	return list
}
