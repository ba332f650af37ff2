package bench

import (
	"fmt"
	"math/rand/v2"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// A node's window and a block, in seconds, and the committee that certifies.
const (
	windowSeconds = 10
	blockSeconds  = 1
	voters        = 16
)

// certificates measures the certificates of so many nodes, of which each has one a window, as they
// come in blocks: verified in one batch and judged, and each by itself.
func certificates(nodes int) *Comparison {
	block := nodes * blockSeconds / windowSeconds
	c := new(certified)
	of := func(name string, n int, together bool) Contender {
		var txs [][]byte
		return Contender{Name: name, Kind: KindOwn,
			Prepare: func() (err error) {
				txs, err = c.tickets(n)
				return err
			},
			Run: func() (int, error) { return n, c.judge(txs, together) }}
	}
	return &Comparison{
		Name: fmt.Sprintf("Certificates/nodes=%d", nodes),
		What: fmt.Sprintf("certificates of a committee of %d in blocks of %d: %d nodes with a window "+
			"every %d s and a block every %d s", voters, block, nodes, windowSeconds, blockSeconds),
		Op: "certificate", Cores: 1, Compute: true,
		Contenders: []Contender{of("one by one", min(block, 64), false),
			of("a block's in one batch", block, true)},
		Extra: func(samples []Sample) string {
			last := samples[len(samples)-1]
			return fmt.Sprintf("certificates of %d nodes take %.1f %% of a core", nodes,
				100*last.CPUNsPerOp*float64(nodes)/windowSeconds/1e9)
		},
		Goals: []Goal{{What: fmt.Sprintf("certificates of %d nodes ≤ %g %% of a core", nodes,
			100*certificateShare(nodes)),
			MaxNs: certificateShare(nodes) * windowSeconds * 1e9 / float64(nodes)}},
	}
}

// certificateShare is what certificates of so many nodes may take of a core: a tenth for 10,000.
func certificateShare(nodes int) float64 { return 0.1 * float64(nodes) / 10_000 }

// certified makes certificates that nobody has seen before: what verified is remembered.
type certified struct {
	network *pipelinetest.Network
	secrets []fr.Element
	rows    []rollup.Row
	made    int
	order   *rand.Rand
}

func (c *certified) start() (err error) {
	if c.network != nil {
		return nil
	}
	if c.network, err = pipelinetest.New(pipelinetest.Config{Members: voters, Clients: 1,
		Payers: 1}); err != nil {
		return err
	}
	for _, m := range c.network.Members {
		c.secrets = append(c.secrets, scalar(m.BLS))
	}
	client, known := c.network.View().Client(0)
	if !known {
		return fmt.Errorf("%w 0", rollup.ErrUnknownClient)
	}
	c.rows = []rollup.Row{{Payer: client.Payer, Acks: 2, Units: 30}}
	c.order = rand.New(rand.NewPCG(1, 2))
	return nil
}

// tickets is n transactions of nodes by turns, each of a quorum of its own. A multiplication makes
// what a quorum signs, since the secret keys are known.
func (c *certified) tickets(n int) (txs [][]byte, err error) {
	if err := c.start(); err != nil {
		return nil, err
	}
	txs = make([][]byte, n)
	errs := make([]error, n)
	first, quorums := c.made, make([][]int, n)
	for i := range quorums {
		quorums[i] = c.order.Perm(voters)[:voters-voters/3]
	}
	parallel(n, func(i int) { txs[i], errs[i] = c.ticket(first+i, quorums[i]) })
	c.made += n
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return txs, nil
}

func (c *certified) ticket(i int, quorum []int) ([]byte, error) {
	id := c.network.ID
	h := rollup.NewHeader(id,
		rollup.WindowKey{Node: uint32(i % voters), Window: uint32(i / voters)})
	h.AckCount, h.Rows = 2, c.rows
	signers := rollup.NewBitmap(voters)
	var sum fr.Element
	for _, member := range quorum {
		signers.Set(member)
		sum.Add(&sum, &c.secrets[member])
	}
	b := sum.Bytes()
	sk, err := bls.ParseSecretKey(b[:])
	if err != nil {
		return nil, err
	}
	signature := bls.Default.Sign(sk, rollup.CertificateMessage(&id, 0, h.Key(), h.ID()))
	return ledger.NewTicket(id, &rollup.Certificate{Header: *h,
		Own:     rollup.SignOwn(c.network.Members[h.Node].Transport, h),
		Signers: signers, Signature: signature.Bytes()}), nil
}

// judge is what a member does before it votes for a block.
func (c *certified) judge(txs [][]byte, together bool) error {
	state := c.network.State()
	if together {
		state.Verify(txs)
	}
	for i, tx := range txs {
		if r := state.Check(tx); !r.OK() {
			return fmt.Errorf("certificate %d of %d: %w", i, len(txs), r.Err)
		}
	}
	return nil
}
