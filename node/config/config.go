// Package config holds a node's settings: one struct, whose tags are the only place where a setting
// is described. The commented file that `waybill init` writes, the environment names, the paths
// that flags use, the checks and the errors all come from those tags.
//
// A value is taken from the first of: flag, environment, file, default. Every value remembers where
// it came from, and an error names the key, the value, that source and what is allowed.
package config

import (
	"path/filepath"
	"time"
)

// Config is a node's settings. Tags: doc describes, allow constrains (see check.go).
type Config struct {
	Node        Node        `toml:"node" doc:"Who this node is and where it keeps its files."`
	Ingest      Ingest      `toml:"ingest" doc:"The door for clients: acknowledgements come in here."`
	Content     Content     `toml:"content" doc:"The port where content is delivered against acks, which come in there as well as at the door for clients.\nA client is sent a window of bytes ahead of its acks, 256 KiB at first; who does not acknowledge gets no more."`
	Certificate Certificate `toml:"certificate" doc:"A TLS certificate for the port for content, from an authority that speaks ACME, renewed in time.\nThe authority comes to port 443 of each name: lead that to content.listen. No other port is needed."`
	Compute     Compute     `toml:"compute" doc:"Modules of WebAssembly that the node runs for clients, at the port for content and against acks as content is.\nA module is content, named by its root; what a run used is fuel, of which 1,024 are a unit of the service."`
	Visits      Visits      `toml:"visits" doc:"Probes of other nodes at their ports for content, in the way of ordinary clients, while this node is a member of a\ncommittee that rotates: with fresh keys under grants of a payer, and paid for. Nodes must not come to know whose the\npayers are: take accounts that pay for other clients, too, or that nobody can tell from such."`
	Peer        Peer        `toml:"peer" doc:"The door for other nodes: rollups and certificate shares."`
	Consensus   Consensus   `toml:"consensus" doc:"The chain that orders certificates and settles epochs."`
	Signer      Signer      `toml:"signer" doc:"The process that holds the consensus key and the BLS key in place of this home: see waybill signer --help. Without it the\nkeys lie in node.keys."`
	Pipeline    Pipeline    `toml:"pipeline" doc:"The way of an ack from the door to its rollup. The budgets bound memory: beyond them acks are refused\nwith a retry delay, and nothing that was admitted is dropped."`
	Proofs      Proofs      `toml:"proofs" doc:"Proofs take the place of the statements that clients co-signed when the committee verifies a rollup. Every node checks\nthem with the keys that the genesis file names; one that takes acks makes them too."`
	Store       Store       `toml:"store" doc:"The disk. An ack is answered only after it is durable here."`
	Operator    Operator    `toml:"operator" doc:"The operator's port: dashboard at /, /metrics, /livez, /readyz. It shows much and changes\nnothing, but it has no login: keep it on a private address."`
	Log         Log         `toml:"log" doc:"What the node writes to its standard error."`

	dir string // that relative paths start from
}

// Node is section [node].
type Node struct {
	Name         string `toml:"name" allow:"name" doc:"A name for people, in logs and on the dashboard."`
	Home         string `toml:"home" allow:"path" doc:"Directory of everything the node keeps. Relative to this file's directory."`
	Genesis      string `toml:"genesis" allow:"path" doc:"Genesis file of the network, relative to home."`
	Keys         string `toml:"keys" allow:"path" doc:"Directory of the keystores, relative to home."`
	PasswordFile string `toml:"password_file" allow:"path?" doc:"File with the keystores' password, mode 0600, relative to home. Without one the node takes WAYBILL_PASSWORD,\nand without that it asks on the terminal."`
	Serving      bool   `toml:"serving" doc:"Take acks from clients. A node that does not serve is a committee member or an observer."`
}

// Ingest is section [ingest].
type Ingest struct {
	Listen         string        `toml:"listen" allow:"address" doc:"Address that clients connect to."`
	TLSCert        string        `toml:"tls_cert" allow:"path?" doc:"Certificate chain (PEM), relative to home. Set both or none; without TLS, put a proxy that has it in front."`
	TLSKey         string        `toml:"tls_key" allow:"path?" doc:"Private key of the certificate (PEM), relative to home."`
	MaxConnections int           `toml:"max_connections" allow:"1..65536" doc:"Connections at once. An address may have as many as are free besides; its own idle ones\ngive way to new ones then."`
	MaxPerAddress  int           `toml:"max_per_address" allow:"1..65536" doc:"Connections of one address at once (of one /64 with IPv6). Behind a proxy all clients have the proxy's:\nset it to max_connections there."`
	MaxSubmission  int           `toml:"max_submission" allow:"1..65535" doc:"Acks in one submission."`
	IdleTimeout    time.Duration `toml:"idle_timeout" allow:"1s..24h" doc:"Close a connection that was silent for so long."`
}

// Content is section [content].
type Content struct {
	Listen         string `toml:"listen" allow:"address?" doc:"Address that content is asked for at; empty turns it off. The node has to be serving."`
	TLSCert        string `toml:"tls_cert" allow:"path?" doc:"Certificate chain (PEM), relative to home. Set both or none. Pages that come over https fetch over https only."`
	TLSKey         string `toml:"tls_key" allow:"path?" doc:"Private key of the certificate (PEM), relative to home."`
	URL            string `toml:"url" allow:"path?" doc:"Where clients find this port, which other nodes are told: https://host:port. Empty: the host of the node's\npeer address, with the port of listen. Set it behind a proxy or another address."`
	HTTP3          bool   `toml:"http3" doc:"Answer over HTTP/3 as well, at the same port of UDP, which has to be let through. It needs a certificate."`
	Path           string `toml:"path" allow:"path" doc:"Directory of the store of content, relative to home."`
	MaxBytes       Size   `toml:"max_bytes" allow:"1MiB..1TiB" doc:"What the store may take of the disk. What was not used for the longest time makes room."`
	MaxContent     Size   `toml:"max_content" allow:"1KiB..1TiB" doc:"The largest content that is taken."`
	Origin         string `toml:"origin" allow:"path?" doc:"Where content comes from that the store lacks: the address of a web server, or a folder relative to home.\nThere it is b3/ and its root, in 64 hexadecimal digits. Empty: the store's own is all there is."`
	Deny           string `toml:"deny" allow:"path?" doc:"File with the roots that are not delivered, relative to home. Changes count within a minute, in mid-stream as well."`
	Rate           Size   `toml:"rate" allow:"0B..1TiB" doc:"Most bytes a second of all streams together; 0B is no limit."`
	Volume         Size   `toml:"volume" allow:"0B..1048576TiB" doc:"Most bytes of content in a month (UTC); 0B is no limit."`
	Courtesy       Size   `toml:"courtesy" allow:"0B..1TiB" doc:"Bytes a second that are sent to whoever asks without acknowledging, which nobody pays for; 0B: none."`
	MaxConnections int    `toml:"max_connections" allow:"1..1048576" doc:"Connections at once."`
	MaxPerAddress  int    `toml:"max_per_address" allow:"1..65536" doc:"Connections of one address at once (of one /64 with IPv6)."`
}

// Certificate is section [certificate].
type Certificate struct {
	Names     []string `toml:"names" allow:"names" doc:"Host names and IP addresses to be certified, by which clients find this node. With one or more, the terms of the\nauthority are agreed to. None: content.tls_cert, or no TLS."`
	Email     string   `toml:"email" allow:"path?" doc:"Where the authority writes to when something is wrong with the certificate."`
	Directory string   `toml:"directory" allow:"https" doc:"The authority, by the URL of its ACME directory."`
	Roots     string   `toml:"roots" allow:"path?" doc:"Roots (PEM) that the authority's own server is known by, relative to home. Empty: those of the system."`
	Path      string   `toml:"path" allow:"path" doc:"Directory of the account, its keys and the certificates, relative to home."`
}

// Compute is section [compute].
type Compute struct {
	Enabled  bool          `toml:"enabled" doc:"Run modules. The port for content has to be open."`
	MaxFuel  int           `toml:"max_fuel" allow:"1000000..17592186044416" doc:"The most fuel of one run; a core uses 1,000 to 3,000 million a second."`
	MaxInput Size          `toml:"max_input" allow:"1KiB..16MiB" doc:"The largest input of a run."`
	Runs     int           `toml:"runs" allow:"1..1024" doc:"Runs at once, each of which may use a processor and 64 MiB of memory, and as much again for its output."`
	Wait     time.Duration `toml:"wait" allow:"0s..1m" doc:"How long a run may wait for its turn."`
	Time     time.Duration `toml:"time" allow:"1s..1h" doc:"How long a run may take, with its waits for acks. It is paid as far as it was metered."`
	Cache    Size          `toml:"cache" allow:"4MiB..64GiB" doc:"Modules that are kept compiled, by their own size; in memory they take about ten times that."`
}

// Visits is section [visits].
type Visits struct {
	Payers  []string `toml:"payers" allow:"paths" doc:"Keystores of accounts that pay, relative to home, with the password of the node's own keys; a random one pays for\nan epoch's visits, with a balance for grants and a reserve for acks. None: nobody is visited."`
	Budget  Size     `toml:"budget" allow:"1MiB..1TiB" doc:"Most bytes that are asked for in an epoch. A node is asked for up to a few MiB, six times; when there are too many\nnodes for that, other ones have their turn in each epoch."`
	Cost    int      `toml:"cost" allow:"1..1000000000000000" doc:"Most micro-credits that an epoch's visits may cost, grants and acks."`
	Address string   `toml:"address" allow:"ip?" doc:"Address of this machine that visits come from, best one that the node is not known by. Empty: any."`
	Roots   string   `toml:"roots" allow:"path?" doc:"Roots (PEM) that the certificates of nodes are known by, relative to home. Empty: those of the system."`
}

// Peer is section [peer].
type Peer struct {
	Listen      string        `toml:"listen" allow:"address" doc:"Address that other nodes connect to (TLS, with the transport keys that the chain knows)."`
	PushTimeout time.Duration `toml:"push_timeout" allow:"100ms..10m" doc:"How long a committee member may take to verify and sign a rollup before the node tries again."`
	MaxInflight int           `toml:"max_inflight" allow:"1..256" doc:"Rollups that one peer may have this node verify at once."`
}

// Consensus is section [consensus].
type Consensus struct {
	Listen     string        `toml:"listen" allow:"address" doc:"Address of the consensus engine's own peer protocol."`
	Peers      []string      `toml:"peers" allow:"peers" doc:"Engine peers to keep connected to, as id@host:port. Committee members of the genesis file need not be named."`
	Observers  []string      `toml:"observers" allow:"ids" doc:"Ids of nodes that may follow the chain from here although the ledger does not register them. All other\nunregistered nodes are turned away; one that is registered later is let in from then on."`
	KeepBlocks time.Duration `toml:"keep_blocks" allow:"0s..87600h" doc:"Age at which blocks are dropped; never before 48h and 100,000 blocks, within which it can be proved that a member\nsigned twice. An idle day takes about 130 MB with the preset wan, and 500 MB with lan. A node catches up from the\nblocks of its peers: one that is new, or was away, when none of them goes back far enough has to start from a\nbackup (waybill backup) of a node that serves no clients. 0s keeps all."`
	Preset     string        `toml:"preset" allow:"lan|wan" doc:"Timeouts: lan commits several blocks a second between machines that share a room, wan tolerates\nhundreds of milliseconds between members."`
}

// Signer is section [signer].
type Signer struct {
	Address string `toml:"address" allow:"signer?" doc:"Where the signer listens: unix:///PATH on this machine, or tcp://HOST:PORT."`
	Key     string `toml:"key" allow:"key?" doc:"The signer's own public key, which 'waybill signer init' prints: this node talks to nobody else there."`
}

// Pipeline is section [pipeline].
type Pipeline struct {
	WindowAge         time.Duration `toml:"window_age" allow:"100ms..1h" doc:"A window stops taking new acks at this age, or when it holds 65,536. Shorter: sooner certified. Longer:\nfewer, larger rollups, which cost the committee less per ack."`
	Tail              time.Duration `toml:"tail" allow:"0s..24h" doc:"How long after an epoch's end acks of it are still taken, into windows of their own epoch; never beyond a quarter of\nthe grace after which the network settles it. Later ones are refused for good: past_epoch."`
	CosignWait        time.Duration `toml:"cosign_wait" allow:"0s..1m" doc:"How long the clients of a closed window may take to co-sign it, which makes it far cheaper for the committee\nto verify; those who do not answer lose nothing. It ends early when all have answered, or when windows wait for room.\n0s: they are not asked."`
	Exposure          uint32        `toml:"exposure" allow:"0..4294967295" doc:"Most credits taken at one payer's cost and not ordered by the chain yet, which this node loses when the payer\nspends its reserve elsewhere. Beyond it acks are refused for now: own_limit. 0: a tenth of what the payer has for acks,\nand one credit at least."`
	OnAccount         int           `toml:"on_account" allow:"0..16777216" doc:"Acks that one connection may have in windows before they are verified: it takes far less of the processor when clients\nco-sign. Only clients that sent good acks over the connection before have it, and as many acks as were good. All are\nverified or co-signed before a window is sealed; forged ones are dropped, and only this node carries the risk until\nthen. 0: every ack is verified before it is answered."`
	OnAccountUnits    int           `toml:"on_account_units" allow:"0..1000000000000000000" doc:"Most units of these acks; 0: any."`
	OnAccountAllUnits int           `toml:"on_account_all_units" allow:"0..1000000000000000000" doc:"Most units of the acks on account of all connections together; 0: any."`
	OnAccountAll      int           `toml:"on_account_all" allow:"0..16777216" doc:"Acks on account of all connections together; 0: sixteen times on_account."`
	MaxBatch          int           `toml:"max_batch" allow:"64..65536" doc:"Acks verified in one batch. Batches grow to this only under load."`
	Workers           int           `toml:"workers" allow:"0..1024" doc:"Verification workers; 0 means one per processor."`
	MaxAcks           int           `toml:"max_acks" allow:"1024..16777216" doc:"Budget: acks admitted and not yet answered. Connections share it fairly; a quarter is for those that have\nnot sent 256 good acks in a row yet, however many they are, and the rest for the others."`
	MaxBytes          Size          `toml:"max_bytes" allow:"1MiB..64GiB" doc:"Budget: bytes of acks admitted and not yet answered, shared in the same way."`
}

// Proofs is section [proofs].
type Proofs struct {
	Enabled bool          `toml:"enabled" doc:"Make proofs. Without them rollups cost the committee more, and nothing else."`
	Keys    string        `toml:"keys" allow:"path" doc:"Directory of verifying and proving keys, relative to home. Keys that are not there are looked for in the user's cache."`
	Wait    time.Duration `toml:"wait" allow:"0s..1h" doc:"How long a sealed window may wait for its proof before it goes to the committee with its statements; never beyond half of\nits epoch's grace. A later proof is kept for those who ask. 0s: it goes at once."`
	Cores   int           `toml:"cores" allow:"1..1024" doc:"Processors of the child process that proves. All others are left to acks."`
	Memory  Size          `toml:"memory" allow:"64MiB..1TiB" doc:"Memory that the child process keeps to, if it can. A proof about 16,384 statements takes some 2 GiB."`
	Nice    int           `toml:"nice" allow:"0..19" doc:"How much lower the child's priority is than the node's."`
}

// Store is section [store].
type Store struct {
	Path      string `toml:"path" allow:"path" doc:"Directory of the database, relative to home. Use a disk that honours fsync."`
	Cache     Size   `toml:"cache" allow:"1MiB..64GiB" doc:"Memory for the database's block cache."`
	Retention uint32 `toml:"retention" allow:"0..1000000" doc:"Settled epochs whose acks and evidence are kept for export; 0 keeps all. Certificates are always kept."`
	MinFree   Size   `toml:"min_free" allow:"0B..1TiB" doc:"Below this much free disk the node reports itself unready and refuses acks as overloaded."`
}

// Operator is section [operator].
type Operator struct {
	Listen    string `toml:"listen" allow:"address?" doc:"Address of the operator port; empty turns it off."`
	Dashboard bool   `toml:"dashboard" doc:"Serve the dashboard at /."`
	Pprof     bool   `toml:"pprof" doc:"Serve Go's profiles under /debug/pprof/. They cost time and show memory: turn on when needed."`
}

// Log is section [log].
type Log struct {
	Level  string `toml:"level" allow:"debug|info|warn|error" doc:"Least level that is written."`
	Format string `toml:"format" allow:"text|json" doc:"Lines for people or for machines."`
}

// Default returns the settings of a node that nobody configured. They are valid.
func Default() *Config {
	return &Config{
		Node: Node{Name: "waybill", Home: ".", Genesis: "genesis.json", Keys: "keys",
			Serving: true},
		Ingest: Ingest{
			Listen: ":7400", MaxConnections: 4096, MaxPerAddress: 256, MaxSubmission: 8192,
			IdleTimeout: 5 * time.Minute,
		},
		Content: Content{Path: "content", MaxBytes: 64 << 30, MaxContent: 16 << 30,
			MaxConnections: 16384, MaxPerAddress: 256},
		Certificate: Certificate{Names: []string{}, Path: "certificates",
			Directory: "https://acme-v02.api.letsencrypt.org/directory"},
		Compute: Compute{MaxFuel: 1 << 34, MaxInput: 1 << 20, Runs: 2, Wait: 5 * time.Second,
			Time: time.Minute, Cache: 64 << 20},
		Visits: Visits{Payers: []string{}, Budget: 64 << 20, Cost: 1_000_000},
		Peer:   Peer{Listen: ":7401", PushTimeout: 15 * time.Second, MaxInflight: 4},
		Consensus: Consensus{Listen: ":7402", Peers: []string{}, Observers: []string{},
			KeepBlocks: 30 * 24 * time.Hour, Preset: "wan"},
		Pipeline: Pipeline{
			WindowAge: 30 * time.Second, Tail: 30 * time.Second, CosignWait: 2 * time.Second,
			MaxBatch: 8192,
			MaxAcks:  256 << 10, MaxBytes: 64 << 20,
		},
		Proofs: Proofs{Enabled: true, Keys: "proofs", Wait: 20 * time.Second, Cores: 1,
			Memory: 2 << 30, Nice: 5},
		Store:    Store{Path: "data", Cache: 64 << 20, Retention: 30, MinFree: 2 << 30},
		Operator: Operator{Listen: "127.0.0.1:7403", Dashboard: true},
		Log:      Log{Level: "info", Format: "text"},
		dir:      ".",
	}
}

// HomeDir is the node's home, resolved against the directory of the file that was loaded.
func (c *Config) HomeDir() string { return join(c.dir, c.Node.Home) }

// Path resolves a path of the settings against the home. The empty path stays empty.
func (c *Config) Path(p string) string {
	if p == "" {
		return ""
	}
	return join(c.HomeDir(), p)
}

func join(dir, p string) string {
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	return filepath.Join(dir, p)
}
