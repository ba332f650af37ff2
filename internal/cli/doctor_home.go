package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/waybill-network/waybill/node"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/homes"
	"github.com/waybill-network/waybill/node/keys"
	"github.com/waybill-network/waybill/node/signer/remote"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup/ledger"
	"golang.org/x/sys/unix"
)

// checkHome looks at what a start of the node in this folder would meet. The password is not asked
// for: public keys stand in keystores in clear.
func checkHome(home string) ([]finding, *config.Loaded) {
	loaded, err := loadConfig(home, nil)
	if err != nil {
		return []finding{failed("config", err, "")}, nil
	}
	c := loaded.Config
	findings := []finding{{Check: "config", Status: "ok",
		Detail: loaded.File + " is valid; the settings in effect follow below"}}
	genesis, err := readGenesis(c.Path(c.Node.Genesis))
	if err != nil {
		findings = append(findings,
			failed("genesis", err, "put the network's genesis file there, or set node.genesis"))
	} else {
		findings = append(findings, finding{Check: "genesis", Status: "ok",
			Detail: fmt.Sprintf("%s: chain %s, network %s, a committee of %d",
				c.Path(c.Node.Genesis), genesis.ChainID, genesis.Network(), len(genesis.Members))})
	}
	findings = append(findings, checkKeys(c, genesis)...)
	findings = append(findings, checkPassword(c))
	held, pid := checkStore(c)
	return append(append(findings, held), checkPorts(c, pid)...), loaded
}

func failed(check string, err error, advice string) finding {
	return finding{check, "fail", err.Error(), advice}
}

// checkKeys holds the keystores' public keys against the genesis file.
func checkKeys(c *config.Config, genesis *ledger.Genesis) []finding {
	dir := c.Path(c.Node.Keys)
	public := map[string]string{}
	var findings []finding
	if c.Signer.Address != "" {
		return checkSigner(c, genesis)
	}
	for _, want := range []struct {
		file string
		kind keys.Kind
	}{{node.BLSKeyFile, keys.BLS}, {node.TransportKeyFile, keys.Ed25519},
		{node.ConsensusKeyFile, keys.Ed25519}} {
		info, err := keys.Inspect(filepath.Join(dir, want.file))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			findings = append(findings, failed("keys", err, "bring back the key from where you "+
				"keep it; a new home with new keys is made by: waybill init"))
		case err != nil:
			findings = append(findings, failed("keys", err, ""))
		case info.Kind != want.kind:
			findings = append(findings,
				failed("keys", fmt.Errorf("%s holds a %s key, not %s", info.File, info.Kind,
					want.kind), ""))
		default:
			public[want.file] = info.PublicKey
		}
	}
	if len(findings) > 0 {
		return findings
	}
	findings = append(findings, keysMatch(dir, public, genesis))
	if owner := filepath.Join(dir, homes.OwnerKeyFile); exists(owner) {
		findings = append(findings,
			finding{"keys", "warn", owner + " is here, and the node does not need it",
				"move the owner's key somewhere safer: it spends what the node earns"})
	}
	return findings
}

// checkSigner looks at a home whose consensus and BLS keys a signer holds.
func checkSigner(c *config.Config, genesis *ledger.Genesis) []finding {
	dir := c.Path(c.Node.Keys)
	info, err := keys.Inspect(filepath.Join(dir, node.TransportKeyFile))
	if err != nil {
		return []finding{failed("keys", err, "bring back the key from where you keep it")}
	}
	var findings []finding
	for _, file := range []string{node.ConsensusKeyFile, node.BLSKeyFile} {
		if file = filepath.Join(dir, file); exists(file) {
			findings = append(findings, finding{"keys", "warn", file + " is here, and a signer is named",
				"if the signer has the same key, take this one away: it can sign besides"})
		}
	}
	card, err := remote.ReadCard(filepath.Join(dir, node.SignerCardFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		findings = append(findings, finding{"signer", "warn", "this node has not reached " +
			c.Signer.Address + " yet, and has to at its first start", ""})
	case err != nil:
		findings = append(findings, failed("signer", err, ""))
	default:
		public := map[string]string{node.TransportKeyFile: info.PublicKey,
			node.ConsensusKeyFile: card.ConsensusKey.String(), node.BLSKeyFile: card.DutyKey.String()}
		findings = append(findings, keysMatch(dir, public, genesis))
	}
	l, err := remote.Knock(c.Signer.Address)
	if err != nil {
		return append(findings, failed("signer", err, "start it: waybill signer start; until then the "+
			"node follows the chain and does not vote"))
	}
	l.Close()
	return append(findings, finding{Check: "signer", Status: "ok",
		Detail: "something listens at " + c.Signer.Address})
}

func keysMatch(dir string, public map[string]string, genesis *ledger.Genesis) finding {
	if genesis == nil {
		return finding{Check: "keys", Status: "ok",
			Detail: dir + ": all three are there; without a genesis file they are not compared"}
	}
	for i := range genesis.Members {
		m := &genesis.Members[i]
		if m.TransportKey.String() != public[node.TransportKeyFile] {
			continue
		}
		for file, key := range map[string]string{node.BLSKeyFile: m.BLSKey.String(),
			node.ConsensusKeyFile: m.ConsensusKey.String()} {
			if public[file] != key {
				return failed("keys",
					fmt.Errorf("%s is not the key that the genesis file has for member %d",
						filepath.Join(dir, file), i),
					"all keys of a home belong together: bring back the right one")
			}
		}
		return finding{Check: "keys", Status: "ok",
			Detail: fmt.Sprintf("%s: those of committee member %d", dir, i)}
	}
	return finding{Check: "keys", Status: "ok", Detail: dir + ": all three are there; they are " +
		"of no committee member, so the node follows the chain and must be registered to serve"}
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

func checkPassword(c *config.Config) finding {
	file := c.Path(c.Node.PasswordFile)
	_, inEnv := os.LookupEnv(keys.PasswordEnv)
	switch {
	case file != "":
		if _, err := (keys.PasswordSource{File: file}).Password(); err != nil {
			return failed("password", err, "")
		}
		return finding{Check: "password", Status: "ok", Detail: file}
	case inEnv:
		return finding{Check: "password", Status: "ok", Detail: "from " + keys.PasswordEnv}
	}
	return finding{"password", "warn", "no node.password_file and no " + keys.PasswordEnv,
		"the node asks on its terminal, and starts nowhere else"}
}

// checkStore asks who holds the database's lock instead of opening it, and returns the process when
// a node runs.
func checkStore(c *config.Config) (finding, int) {
	dir := c.Path(c.Store.Path)
	f, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return finding{"store", "warn", dir + " is not there: the node begins a new one, and takes " +
			"and signs nothing before the next epoch",
			"if the disk is only elsewhere, bring it back before the first start"}, 0
	case err != nil:
		return failed("store", err, "the node's user must own it"), 0
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &lock); err != nil {
		return failed("store", fmt.Errorf("%s: %w", f.Name(), err), ""), 0
	}
	if lock.Type != unix.F_UNLCK {
		return finding{Check: "store", Status: "ok",
				Detail: fmt.Sprintf("%s is in use by process %d: the node runs", dir, lock.Pid)},
			int(lock.Pid)
	}
	if err := store.CheckPlace(dir); errors.Is(err, store.ErrCopied) {
		return failed("store", err, "a copy would sign what its original signs; if that is gone "+
			"for good: waybill restore --home "+c.HomeDir()), 0
	}
	return finding{Check: "store", Status: "ok",
		Detail: dir + " is there and no process holds it; only a start opens and checks it"}, 0
}

// checkPorts tries to listen where the node would.
func checkPorts(c *config.Config, pid int) []finding {
	var findings []finding
	var free, taken []string
	for _, l := range []struct{ setting, address string }{
		{"ingest.listen", c.Ingest.Listen}, {"peer.listen", c.Peer.Listen},
		{"consensus.listen", c.Consensus.Listen}, {"operator.listen", c.Operator.Listen},
		{"content.listen", c.Content.Listen},
	} {
		if l.address == "" {
			continue
		}
		listener, err := net.Listen("tcp", l.address)
		switch {
		case err == nil:
			listener.Close()
			free = append(free, l.address)
		case errors.Is(err, unix.EADDRINUSE) && pid != 0:
			taken = append(taken, l.address)
		default:
			findings = append(findings, failed("ports", fmt.Errorf("%s: %w", l.setting, err),
				"end what listens there, or change the setting"))
		}
	}
	if len(taken) > 0 {
		findings = append(findings,
			finding{Check: "ports", Status: "ok",
				Detail: strings.Join(taken, ", ") + " in use, as they should while the node runs"})
	}
	if len(free) > 0 && pid == 0 {
		findings = append(findings,
			finding{Check: "ports", Status: "ok", Detail: strings.Join(free, ", ") + " are free"})
	}
	if len(free) > 0 && pid != 0 {
		findings = append(findings,
			finding{"ports", "warn", strings.Join(free, ", ") + " are free although the node runs",
				"it was started with other settings, or has no use for them"})
	}
	return findings
}
