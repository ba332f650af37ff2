package telemetry

import (
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/pipeline/exposure"
	"github.com/waybill-network/waybill/pipeline/status"
)

// metric is one family of metrics, read off a snapshot. The values of its labels come from small
// closed sets: stages, codes, window states, kernels, checks, committee members; never from
// clients, errors or addresses.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(s *Snapshot, emit func(value float64, labels ...string))
}

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
)

func one(name, help string, kind prometheus.ValueType, value func(*Snapshot) float64) metric {
	return metric{prometheus.NewDesc("waybill_"+name, help, nil, nil), kind,
		func(s *Snapshot, emit func(float64, ...string)) { emit(value(s)) }}
}

func many(name, help string, kind prometheus.ValueType, labels []string,
	read func(*Snapshot, func(float64, ...string))) metric {
	return metric{prometheus.NewDesc("waybill_"+name, help, labels, nil), kind, read}
}

func stageMetric(name, help string, kind prometheus.ValueType,
	value func(*status.Stage) float64) metric {
	return many("stage_"+name, help, kind, []string{"stage"},
		func(s *Snapshot, emit func(float64, ...string)) {
			for _, stage := range s.Stages() {
				emit(value(&stage), stage.Name)
			}
		})
}

// payerMetric has a value for each of the few payers that a snapshot names.
func payerMetric(name, help string, value func(*exposure.Credit) uint64) metric {
	return many("payer_"+name, help, gauge, []string{"payer"},
		func(s *Snapshot, emit func(float64, ...string)) {
			for i := range s.Credit.Payers {
				if c := &s.Credit.Payers[i]; c.Epoch == s.Epoch.Number {
					emit(float64(value(c)), strconv.FormatUint(uint64(c.Payer), 10))
				}
			}
		})
}

func memberMetric(name, help string, kind prometheus.ValueType,
	value func(*Snapshot, *Member) float64) metric {
	return many("member_"+name, help, kind, []string{"node"},
		func(s *Snapshot, emit func(float64, ...string)) {
			for i := range s.Committee {
				m := &s.Committee[i]
				emit(value(s, m), strconv.FormatUint(uint64(m.Node), 10))
			}
		})
}

func countMetric(name, help string, kind prometheus.ValueType, label string,
	counts func(*Snapshot) []status.Count) metric {
	return many(name, help, kind, []string{label}, func(s *Snapshot, emit func(float64, ...string)) {
		for _, c := range counts(s) {
			emit(float64(c.Count), c.Name)
		}
	})
}

func emitTime(t time.Time, emit func(float64, ...string)) {
	if !t.IsZero() {
		emit(float64(t.UnixMilli()) / 1000)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

var metrics = []metric{
	many("build_info", "The program; always 1.", gauge, []string{"version", "commit", "go"},
		func(s *Snapshot, emit func(float64, ...string)) {
			emit(1, s.Build.Version, s.Build.Commit, s.Build.Go)
		}),
	many("kernel_info", "Selected kernels; always 1.", gauge, []string{"kernel", "implementation"},
		func(s *Snapshot, emit func(float64, ...string)) {
			for _, k := range s.Kernels {
				emit(1, k.Name, k.Implementation)
			}
		}),
	many("kernel_fell_back", "Whether a faster implementation failed its self-test.", gauge,
		[]string{"kernel"},
		func(s *Snapshot, emit func(float64, ...string)) {
			for _, k := range s.Kernels {
				emit(truth(k.FellBack), k.Name)
			}
		}),
	many("check", "Health checks: 1 ok, 0 failed.", gauge, []string{"check"},
		func(s *Snapshot, emit func(float64, ...string)) {
			for _, c := range Checks(s) {
				emit(truth(c.OK), c.Name)
			}
		}),
	countMetric("answers_total", "Acks answered, by code.", counter, "code",
		func(s *Snapshot) []status.Count { return s.Pipeline.Answers }),

	stageMetric("acks_total", "Acks that left a stage for the next.", counter,
		func(s *status.Stage) float64 { return float64(s.Acks) }),
	stageMetric("refused_total", "Acks that a stage refused.", counter,
		func(s *status.Stage) float64 { return float64(s.Refused) }),
	stageMetric("batches_total", "Batches of a stage; windows for cosign, seal and certify.", counter,
		func(s *status.Stage) float64 { return float64(s.Batches) }),
	stageMetric("busy_seconds_total", "Time worked, summed over workers.", counter,
		func(s *status.Stage) float64 { return s.Busy }),
	stageMetric("queued_acks", "Acks waiting or in work.", gauge,
		func(s *status.Stage) float64 { return float64(s.Queued) }),
	stageMetric("oldest_seconds", "Age of the oldest ack in a stage.", gauge,
		func(s *status.Stage) float64 { return s.Oldest }),
	stageMetric("batch_acks", "Acks in the last batch.", gauge,
		func(s *status.Stage) float64 { return float64(s.Size) }),
	stageMetric("batch_seconds", "Duration of the last batch.", gauge,
		func(s *status.Stage) float64 { return s.Last }),

	one("budget_acks", "Acks admitted and not answered.", gauge,
		func(s *Snapshot) float64 { return float64(s.Pipeline.Budget.Acks) }),
	one("budget_max_acks", "Budget of acks.", gauge,
		func(s *Snapshot) float64 { return float64(s.Pipeline.Budget.MaxAcks) }),
	one("budget_new_acks",
		"Of budget_acks, those of connections that have not sent enough good acks yet.", gauge,
		func(s *Snapshot) float64 { return float64(s.Pipeline.Budget.New) }),
	one("budget_bytes", "Bytes of acks admitted and not answered.", gauge,
		func(s *Snapshot) float64 { return float64(s.Pipeline.Budget.Bytes) }),
	one("budget_max_bytes", "Budget of bytes.", gauge,
		func(s *Snapshot) float64 { return float64(s.Pipeline.Budget.MaxBytes) }),
	one("commit_writes_total", "Synced writes of acks.", counter,
		func(s *Snapshot) float64 { return float64(s.Pipeline.Writes) }),
	one("sources", "Open client connections.", gauge,
		func(s *Snapshot) float64 { return float64(s.Pipeline.Budget.Sources) }),
	one("quarantined_clients", "Clients that are verified apart.", gauge,
		func(s *Snapshot) float64 { return float64(s.Pipeline.Quarantine.Total) }),

	one("on_account_acks", "Acks in windows that are neither verified nor co-signed yet.", gauge,
		func(s *Snapshot) float64 { return float64(s.Pipeline.Account.Acks) }),
	one("on_account_max_acks", "Most acks that may be.", gauge,
		func(s *Snapshot) float64 { return float64(s.Pipeline.Account.MaxAcks) }),
	one("on_account_clients", "Clients that are known over a connection.", gauge,
		func(s *Snapshot) float64 { return float64(s.Pipeline.Account.Known) }),
	countMetric("on_account_ended_total", "Acks taken on account, by what became of them.", counter,
		"outcome", func(s *Snapshot) []status.Count { return s.Pipeline.Account.Outcomes() }),

	countMetric("windows", "Windows of this node by state; of ordered ones the last 32.", gauge,
		"state",
		func(s *Snapshot) []status.Count { return s.States() }),
	countMetric("windows_stuck_total", "Windows that were accepted and will not be paid.", counter,
		"reason", func(s *Snapshot) []status.Count { return s.Certify.Stuck }),
	one("rollups_sealed_total", "Own windows sealed.", counter,
		func(s *Snapshot) float64 { return float64(s.Pipeline.Stage(pipeline.StageSeal).Batches) }),
	many("certified_acks_total", "Acks of certified own rollups by what the committee verified: "+
		"1 each ack, 2 co-signed statements, 3 proofs of them.", counter, []string{"rung"},
		func(s *Snapshot, emit func(float64, ...string)) {
			for i, acks := range s.Certify.Rungs {
				emit(float64(acks), strconv.Itoa(i+1))
			}
		}),
	one("cosign_sessions", "Client processes that can be asked to co-sign.", gauge,
		func(s *Snapshot) float64 { return float64(s.Cosign.Sessions) }),
	one("cosign_offers_total", "Offers of a window to a session.", counter,
		func(s *Snapshot) float64 { return float64(s.Cosign.Offers) }),
	one("cosign_offered_acks_total", "Acks under offered statements.", counter,
		func(s *Snapshot) float64 { return float64(s.Pipeline.Offered) }),
	one("cosign_asked_total", "Clients asked to co-sign.", counter,
		func(s *Snapshot) float64 { return float64(s.Cosign.Asked) }),
	one("cosign_signed_total", "Co-signatures that came in time.", counter,
		func(s *Snapshot) float64 { return float64(s.Cosign.Signed) }),
	one("cosign_silent_total", "Clients that did not answer an offer in time.", counter,
		func(s *Snapshot) float64 { return float64(s.Cosign.Silent) }),
	one("cosign_late_total", "Answers to offers that were over.", counter,
		func(s *Snapshot) float64 { return float64(s.Cosign.Late) }),
	one("cosign_garbage_total", "Sessions not asked for a while after a malformed answer.", counter,
		func(s *Snapshot) float64 { return float64(s.Cosign.Garbage) }),
	countMetric("cosign_refusals_total", "Clients that refused an offer, by reason.", counter,
		"reason",
		func(s *Snapshot) []status.Count { return s.Cosign.Refusals }),
	many("proof_key", "Whether the node has a verifying key that the genesis file names.", gauge,
		[]string{"statements"},
		func(s *Snapshot, emit func(float64, ...string)) {
			for _, k := range s.Proving.Keys {
				emit(truth(k.Found), strconv.Itoa(k.Statements))
			}
		}),
	one("proving_windows_total", "Windows proved.", counter,
		func(s *Snapshot) float64 { return float64(s.Certify.Prove.Batches) }),
	one("proving_proofs_total", "Proofs made, one for each segment of a window.", counter,
		func(s *Snapshot) float64 { return float64(s.Certify.Proofs) }),
	countMetric("proving_failures_total", "Windows that stay without a proof.", counter, "reason",
		func(s *Snapshot) []status.Count { return s.Certify.ProofFailures }),
	one("proving_queued_windows", "Windows that wait to be proved.", gauge,
		func(s *Snapshot) float64 { return float64(s.Certify.ProofQueue) }),
	one("proving_working_windows", "Windows that are being proved.", gauge,
		func(s *Snapshot) float64 { return float64(s.Certify.Proving) }),
	one("proving_seconds_total", "Time spent on proofs, loading of keys included.", counter,
		func(s *Snapshot) float64 { return s.Proving.Prover.Seconds }),
	one("proving_cpu_seconds_total", "Processor time of proofs.", counter,
		func(s *Snapshot) float64 { return s.Proving.Prover.CPU }),
	one("proving_starts_total", "Child processes started to prove in.", counter,
		func(s *Snapshot) float64 { return float64(s.Proving.Prover.Starts) }),
	one("proving_peak_memory_bytes", "Most memory that a child process had resident.", gauge,
		func(s *Snapshot) float64 { return float64(s.Proving.Prover.PeakMemory) }),
	one("rollups_certified_total", "Certificates made for own rollups.", counter,
		func(s *Snapshot) float64 { return float64(s.Certify.Certified) }),
	one("rollups_ordered_total", "Own certificates that the chain executed.", counter,
		func(s *Snapshot) float64 { return float64(s.Certify.Ordered) }),
	one("rollups_pending", "Own rollups sealed and not ordered.", gauge,
		func(s *Snapshot) float64 { return float64(s.Certify.Pending) }),
	one("rollups_oldest_seconds", "Age of the oldest pending rollup.", gauge,
		func(s *Snapshot) float64 { return s.Certify.Oldest }),
	one("member_signed_total", "Rollups that this node signed as a member.", counter,
		func(s *Snapshot) float64 { return float64(s.Member.Signed) }),
	countMetric("member_refused_total", "Rollups that this node refused to sign, by reason.", counter,
		"reason", func(s *Snapshot) []status.Count { return s.Member.Refusals }),
	one("alarms", "Proofs that were shown to be false, until the operator ends the alarm.", gauge,
		func(s *Snapshot) float64 { return float64(len(s.Alarms)) }),
	one("pulls_total", "Evidence fetched from other members.", counter,
		func(s *Snapshot) float64 { return float64(s.Member.Pulls.Pulled) }),
	one("pulls_failed_total", "Tries to fetch evidence that failed.", counter,
		func(s *Snapshot) float64 { return float64(s.Member.Pulls.Failed) }),
	one("pulls_dropped_total", "Evidence that the node gave up on.", counter,
		func(s *Snapshot) float64 { return float64(s.Member.Pulls.Dropped) }),
	one("pulls_wanted", "Rollups whose evidence the node lacks and looks for.", gauge,
		func(s *Snapshot) float64 { return float64(s.Member.Pulls.Wanted) }),

	memberMetric("healthy", "Whether a member is connected, votes, and took the last push.", gauge,
		func(_ *Snapshot, m *Member) float64 { return truth(m.Healthy) }),
	memberMetric("voted_height", "Last block that a member voted on, by the chain; 0: none seen.",
		gauge, func(_ *Snapshot, m *Member) float64 { return float64(m.Voted) }),
	memberMetric("missed_blocks", "Blocks since, without a vote of the member.", gauge,
		func(_ *Snapshot, m *Member) float64 { return float64(m.Missed) }),
	many("member_vote_age_seconds", "Age of a member's last vote; absent when none was seen.",
		gauge, []string{"node"}, func(s *Snapshot, emit func(float64, ...string)) {
			for _, m := range s.Committee {
				if !m.VotedAt.IsZero() {
					age := s.Taken.Sub(m.VotedAt).Seconds()
					emit(age, strconv.FormatUint(uint64(m.Node), 10))
				}
			}
		}),
	memberMetric("double_votes_total", "Pairs of votes of a member that exclude each other: two "+
		"processes have its keys.", counter,
		func(_ *Snapshot, m *Member) float64 { return float64(m.Doubles) }),
	memberMetric("power", "Voting power of a member.", gauge,
		func(_ *Snapshot, m *Member) float64 { return float64(m.Power) }),
	memberMetric("convictions", "How often a member was convicted by its own words.", gauge,
		func(_ *Snapshot, m *Member) float64 { return float64(m.Convictions) }),
	memberMetric("shares_total", "Certificate shares received from a member.", counter,
		func(_ *Snapshot, m *Member) float64 { return float64(m.Shares) }),
	memberMetric("failures_total", "Pushes to a member that failed.", counter,
		func(_ *Snapshot, m *Member) float64 { return float64(m.Failures) }),
	memberMetric("refusals_total", "Pushes that a member refused for good.", counter,
		func(_ *Snapshot, m *Member) float64 { return float64(m.Refusals) }),
	memberMetric("refusing", "Whether a member refused the last push for good.", gauge,
		func(_ *Snapshot, m *Member) float64 { return truth(m.Refusing) }),
	memberMetric("latency_seconds", "From push to share, last time.", gauge,
		func(_ *Snapshot, m *Member) float64 { return m.Latency }),

	one("chain_height", "Height of the last executed block.", gauge,
		func(s *Snapshot) float64 { return float64(s.Chain.Height) }),
	many("chain_block_age_seconds", "Time since a block was executed; of one of an earlier run, "+
		"by the chain's clock. Absent before the first.", gauge, nil,
		func(s *Snapshot, emit func(float64, ...string)) {
			if age, ok := s.BlockAge(); ok {
				emit(age.Seconds())
			}
		}),
	countMetric("transactions_total", "Transactions offered to the chain here, by its answer.",
		counter,
		"code", func(s *Snapshot) []status.Count { return s.Transactions }),
	one("chain_peers", "Connected peers of the engine.", gauge,
		func(s *Snapshot) float64 { return float64(s.Chain.Peers) }),
	many("chain_member_connected", "Whether a member of the committee is connected to the engine.",
		gauge, []string{"node"}, func(s *Snapshot, emit func(float64, ...string)) {
			for _, p := range s.Chain.Network {
				if p.Member {
					emit(truth(p.Connected), strconv.FormatUint(uint64(p.Node), 10))
				}
			}
		}),
	one("chain_validators", "Validators of the engine.", gauge,
		func(s *Snapshot) float64 { return float64(s.Chain.Validators) }),
	one("chain_catching_up", "Whether the node is behind and replays blocks.", gauge,
		func(s *Snapshot) float64 { return truth(s.Chain.CatchingUp) }),
	one("chain_mempool", "Transactions waiting.", gauge,
		func(s *Snapshot) float64 { return float64(s.Chain.Mempool) }),
	one("chain_certified_height", "Height of the last block whose record the committee signed.",
		gauge, func(s *Snapshot) float64 { return float64(s.Chain.Certified) }),
	one("chain_unsigned_records", "Records of blocks that wait for the committee's signature.",
		gauge, func(s *Snapshot) float64 { return float64(s.Chain.Unsigned) }),
	many("clock_skew_seconds", "This node's clock minus the chain's, at the last block that it saw "+
		"being made; absent before there was one.", gauge, nil,
		func(s *Snapshot, emit func(float64, ...string)) {
			if !s.Chain.SkewAt.IsZero() {
				emit(s.Chain.Skew)
			}
		}),
	many("clock_skew_age_seconds", "Time since the skew was measured.", gauge, nil,
		func(s *Snapshot, emit func(float64, ...string)) {
			if !s.Chain.SkewAt.IsZero() {
				emit(s.Taken.Sub(s.Chain.SkewAt).Seconds())
			}
		}),
	one("registered", "Whether the ledger registers the node.", gauge,
		func(s *Snapshot) float64 { return truth(s.Node.Registered) }),

	one("rules_version", "Version of the rules by which blocks are executed.", gauge,
		func(s *Snapshot) float64 { return float64(s.Rules.Version) }),
	one("rules_known_version", "Newest version of the rules that this program knows.", gauge,
		func(s *Snapshot) float64 { return float64(s.Rules.Known) }),
	many("upgrade_version", "Version of the rules that is planned; absent when none is.", gauge,
		nil, func(s *Snapshot, emit func(float64, ...string)) {
			if next := s.Rules.Next; next != nil {
				emit(float64(next.Version))
			}
		}),
	many("upgrade_time_seconds", "When it is in force at the earliest, since 1970.", gauge,
		nil, func(s *Snapshot, emit func(float64, ...string)) {
			if next := s.Rules.Next; next != nil {
				emitTime(next.At, emit)
			}
		}),

	one("epoch", "Current epoch.", gauge,
		func(s *Snapshot) float64 { return float64(s.Epoch.Number) }),
	one("epoch_next_to_settle", "Oldest epoch that is not settled.", gauge,
		func(s *Snapshot) float64 { return float64(s.Epoch.NextToSettle) }),
	many("epoch_end_time_seconds", "When the current epoch ends at the earliest, since 1970.", gauge,
		nil, func(s *Snapshot, emit func(float64, ...string)) { emitTime(s.Epoch.End, emit) }),
	many("settled_epoch", "Last epoch that was settled; absent before the first, and when it is not "+
		"kept any more.", gauge, nil, func(s *Snapshot, emit func(float64, ...string)) {
		if len(s.Settlements) > 0 {
			emit(float64(s.Settlements[0].Epoch))
		}
	}),
	many("settlement_time_seconds", "When it was settled, since 1970, by the chain's clock.", gauge,
		nil, func(s *Snapshot, emit func(float64, ...string)) {
			if len(s.Settlements) > 0 {
				emitTime(s.Settlements[0].At, emit)
			}
		}),
	one("registered_clients", "Clients in the registry.", gauge,
		func(s *Snapshot) float64 { return float64(s.Epoch.Clients) }),
	one("registered_services", "Services in the registry.", gauge,
		func(s *Snapshot) float64 { return float64(s.Epoch.Services) }),
	one("registered_nodes", "Nodes in the registry.", gauge,
		func(s *Snapshot) float64 { return float64(s.Epoch.Nodes) }),
	one("owner_balance_microcredits", "Balance of the node's owner.", gauge,
		func(s *Snapshot) float64 { return float64(s.Node.Balance) }),
	one("earned_microcredits_total",
		"Credited to the owner through this node since the start.", counter,
		func(s *Snapshot) float64 { return float64(s.Node.Earned) }),

	one("duty_rewards_microcredits_total",
		"What of that its duties as a member of the committee earned.", counter,
		func(s *Snapshot) float64 { return float64(s.Node.Rewarded) }),
	one("duty_points", "Seats, summed over this node's votes of the running epoch.", gauge,
		func(s *Snapshot) float64 { return float64(s.duty().Points) }),
	one("duty_points_possible",
		"The same, had it voted on all blocks: below a half earns nothing, below a quarter jails.",
		gauge, func(s *Snapshot) float64 { return float64(s.duty().Possible) }),
	one("duty_absences", "Epochs with too few votes of this node that the ledger remembers.", gauge,
		func(s *Snapshot) float64 { return float64(s.duty().Absences) }),

	one("rotation_term", "Term of the committee in office; 0 when it stays.", gauge,
		func(s *Snapshot) float64 { return float64(s.rotation().Term) }),
	one("rotation_seats", "Seats of the committee; 0 when it stays.", gauge,
		func(s *Snapshot) float64 { return float64(s.rotation().Seats) }),
	one("rotation_seats_held", "Of these, the node's own.", gauge,
		func(s *Snapshot) float64 { return float64(s.rotation().Held) }),
	one("rotation_eligible", "Whether the node can be drawn.", gauge,
		func(s *Snapshot) float64 {
			if s.Rotation != nil && s.Node.Registered && s.Rotation.Obstacle == "" {
				return 1
			}
			return 0
		}),

	countMetric("visits_total",
		"Visits to other nodes, as clients come, by outcome; of an epoch when all are over.", counter,
		"outcome", func(s *Snapshot) []status.Count {
			v := s.rotation().Visits
			return []status.Count{{Name: "served", Count: v.Served}, {Name: "refused", Count: v.Refused},
				{Name: "failed", Count: v.Failed}}
		}),
	one("visits_bytes_total", "Bytes of content that visits brought.", counter,
		func(s *Snapshot) float64 { return float64(s.rotation().Visits.Bytes) }),
	one("visits_charged_bytes_total", "Of these, bytes that nodes hold acks for.", counter,
		func(s *Snapshot) float64 { return float64(s.rotation().Visits.Charged) }),
	one("visits_fees_microcredits_total", "Paid for the grants of visits.", counter,
		func(s *Snapshot) float64 { return float64(s.rotation().Visits.Fees) }),
	one("visits_unfit", "Nodes that failed too many of this node's last visits.", gauge,
		func(s *Snapshot) (unfit float64) {
			for _, p := range s.rotation().Probed {
				if p.Visited != nil && p.Visited.Unfit {
					unfit++
				}
			}
			return unfit
		}),

	one("content_sessions", "Sessions in which content may be asked for.", gauge,
		func(s *Snapshot) float64 { return float64(s.Content.Sessions) }),
	one("content_streams", "Streams that run.", gauge,
		func(s *Snapshot) float64 { return float64(s.Content.Open) }),
	one("content_streams_total", "Streams that were begun.", counter,
		func(s *Snapshot) float64 { return float64(s.Content.Streams) }),
	one("content_waits_total", "Times that a stream waited for an ack.", counter,
		func(s *Snapshot) float64 { return float64(s.Content.Waits) }),
	one("content_sent_bytes_total", "Bytes of content sent in streams.", counter,
		func(s *Snapshot) float64 { return float64(s.Content.Sent) }),
	one("content_paid_bytes_total", "Of these, bytes that were acknowledged.", counter,
		func(s *Snapshot) float64 { return float64(s.Content.Paid) }),
	one("content_forgiven_bytes_total", "Of these, bytes whose acks the node refused for good.",
		counter, func(s *Snapshot) float64 { return float64(s.Content.Forgiven) }),
	one("content_outstanding_bytes", "Bytes sent ahead of acks, in sessions that are open.", gauge,
		func(s *Snapshot) float64 { return float64(s.Content.Outstanding) }),
	one("content_owed_bytes", "Bytes that clients had and have not acknowledged.", gauge,
		func(s *Snapshot) float64 { return float64(s.Content.Owed) }),
	one("content_debtors", "Clients that owe.", gauge,
		func(s *Snapshot) float64 { return float64(s.Content.Debtors) }),
	one("content_late_total", "Acks that came late, each of which halves a window.", counter,
		func(s *Snapshot) float64 { return float64(s.Content.Late) }),
	one("content_plain_bytes_total", "Bytes sent as a courtesy, which nobody pays for.", counter,
		func(s *Snapshot) float64 { return float64(s.Content.Plain) }),
	one("content_month_bytes", "Bytes of content sent in this month, of both kinds.", gauge,
		func(s *Snapshot) float64 { return float64(s.Content.Month) }),
	one("content_http3_connections", "Connections over QUIC; 0 while HTTP/3 is off.", gauge,
		func(s *Snapshot) float64 { return float64(s.Content.http3().Open) }),
	one("content_http3_connections_total", "Connections over QUIC that had a place.", counter,
		func(s *Snapshot) float64 { return float64(s.Content.http3().Accepted) }),
	one("content_http3_refused_total", "Connections over QUIC for which there was no place.",
		counter, func(s *Snapshot) float64 { return float64(s.Content.http3().Refused) }),
	one("content_http3_shown_total",
		"Packets that open a connection over QUIC whose senders had to show their address first.",
		counter, func(s *Snapshot) float64 { return float64(s.Content.http3().Shown) }),
	one("content_certificate_expiry_timestamp_seconds",
		"When the certificate of the port for content ends; 0 without one.", gauge,
		func(s *Snapshot) float64 {
			if c := s.Content.Certificate; c != nil && !c.Until.IsZero() {
				return float64(c.Until.Unix())
			}
			return 0
		}),
	countMetric("content_refusals_total", "Requests for content refused, by reason.", counter,
		"reason", func(s *Snapshot) []status.Count { return s.Content.Refusals }),
	countMetric("content_aborts_total", "Streams ended in the middle, by reason.", counter,
		"reason", func(s *Snapshot) []status.Count { return s.Content.Aborts }),
	one("content_store_bytes", "What the store of content takes of the disk.", gauge,
		func(s *Snapshot) float64 { return float64(s.Content.Stored) }),

	one("credit_exposure_microcredits", "Taken at payers' cost and not ordered yet.", gauge,
		func(s *Snapshot) float64 { return float64(s.Credit.Exposure) }),
	one("credit_short_payers", "Payers of whom an ack was refused, and nothing is left.", gauge,
		func(s *Snapshot) float64 { return float64(s.Credit.Short) }),
	one("credit_arrears_microcredits", "Allowed and not paid, in epochs that are not settled.",
		gauge, func(s *Snapshot) float64 { return float64(s.Credit.Arrears) }),
	one("credit_above_microcredits", "Above allowances, in epochs that are not settled.", gauge,
		func(s *Snapshot) float64 { return float64(s.Credit.Above) }),
	payerMetric("exposure_microcredits", "Taken at a payer's cost and not ordered yet; of those "+
		"with the largest, 16 at most.", func(c *exposure.Credit) uint64 { return c.Exposure }),
	payerMetric("left_microcredits", "What a payer could still have in the epoch that runs; of the "+
		"same.", func(c *exposure.Credit) uint64 { return c.Left }),

	one("compute_runs", "Runs of modules that have a place.", gauge,
		func(s *Snapshot) float64 { return float64(s.Compute.Open) }),
	countMetric("compute_runs_total", "Runs of modules that ended, by outcome.", counter,
		"outcome", func(s *Snapshot) []status.Count { return s.Compute.Outcomes }),
	one("compute_fuel_total", "Fuel of runs that ended.", counter,
		func(s *Snapshot) float64 { return float64(s.Compute.Fuel) }),
	one("compute_failed_total", "Runs that the engine could not end, which nobody pays for.",
		counter, func(s *Snapshot) float64 { return float64(s.Compute.Failed) }),
	one("compute_compiled_total", "Modules compiled.", counter,
		func(s *Snapshot) float64 { return float64(s.Compute.Compiled) }),

	one("store_bytes", "Size of the store.", gauge,
		func(s *Snapshot) float64 { return float64(s.Store.Bytes) }),
	one("store_free_bytes", "Free space on the store's disk.", gauge,
		func(s *Snapshot) float64 { return float64(s.Store.Free) }),
	one("start_time_seconds", "When the node started, since 1970.", gauge,
		func(s *Snapshot) float64 { return float64(s.Started.UnixMilli()) / 1000 }),
}

// collector makes metrics of one snapshot per scrape.
type collector struct{ source func() Snapshot }

func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range metrics {
		ch <- m.desc
	}
}

func (c collector) Collect(ch chan<- prometheus.Metric) {
	s := c.source()
	for _, m := range metrics {
		m.read(&s, func(v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, v, labels...)
		})
	}
}

// NewRegistry returns a registry of its own for one node, with the Go runtime's and the process's
// metrics and those of the snapshot that source takes at every scrape. More collectors, such as
// the consensus engine's, may be added to it.
func NewRegistry(source func() Snapshot) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collector{source},
	)
	return r
}

// Handler serves /metrics from the registry, /livez and /readyz from the source, and
// /debug/pprof/ when profiles is set. /readyz fails while any check fails, /livez only when a
// restart is the remedy.
func Handler(r *prometheus.Registry, source func() Snapshot, profiles bool) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(r, promhttp.HandlerOpts{Registry: r}))
	mux.Handle("GET /livez", healthHandler(source, func(c Check) bool { return c.Fatal }))
	mux.Handle("GET /readyz", healthHandler(source, func(Check) bool { return true }))
	if profiles {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return mux
}
