// Package client is the library for programs that use a Waybill network: it registers clients,
// sends their acknowledgements (acks), co-signs their windows, and asks the ledger.
//
// A program opens a [Client] for each node that serves it. Fifteen lines send an ack: see the
// example below. Every method may be called from several goroutines.
//
// # Registering
//
// A node takes acks only of clients that the ledger knows. A payer registers them, with a proof
// that they have the keys. [Client.Execute] submits transactions of one sender and returns when the
// ledger has executed all of them; [Client.SubmitTx] hands in one and does not wait. Afterwards
// [Client.WaitForHeight] waits until the node that the acks are for knows the clients, too.
//
// # Delivering
//
// [Client.Deliver] takes acks from a sequence, has them signed for the window that is open at the
// node, and submits them, up to [Config.Batch] at once and [Config.Inflight] batches ahead of their
// answers. It calls back once for each, with the node's final word. "Accepted" and "known" mean
// that the ack is on the node's disk and will be paid.
//
// A delivery counts exactly once, whatever breaks. The ledger counts an ack by its client, window
// and seq. A window that closed makes a new signature necessary, and with it another ack for the
// same delivery. So Deliver never signs a delivery again while an earlier ack of it may be held by
// the node: if an answer was lost it sends the same bytes again, or asks.
//
// [Client.Open] is the layer below: a stream of submissions whose answers, window and repetition
// are the caller's affair.
//
// # Co-signing
//
// Acks are cheap for the committee when their clients co-sign the window as it closes. A program
// that wants that sets [Config.Cosign] and runs [Client.Cosign] beside its deliveries. The client
// remembers what it submitted, holds every offer of the node against that, signs what is true, once
// for each window, and keeps what is not true as evidence. Package cosign has the rules and the
// reasons.
//
// # When a node does not answer
//
// A client may be given several nodes: its own, [Config.URL], and [Config.Others]. Acks are for the
// own node and go nowhere else. All that concerns the ledger any node can do:
//
//   - A read goes to the own node. If that fails, the next one is asked at once; if it is silent
//     for [Config.Hedge], the next one is asked beside it, and the first answer counts. What a node
//     refuses is an answer.
//   - A transaction goes to one node. Execute continues at the next one when that does not answer
//     in [Config.CallTimeout], or takes transactions that are not executed. The nonce keeps a
//     transaction from being executed twice.
//   - Answers do not go back in time: a node whose chain is behind what the client was told is
//     asked nothing, until it has caught up.
//   - A node that did not answer is asked last, for a second at first and up to 30 in the end. Then
//     a read tries it again, and if it answers, it has its old place.
//
// A delivery to a node that is down waits for it. With [Config.Patience] it ends some time: with a
// [DeliveryError], which names the node and counts what was accepted, refused, not sent, and left
// without an answer.
//
// # Errors
//
// What a node answers is a connect error, which [Temporary], [NotFound] and [NotReady] sort. Around
// it stands a [NodeError], which names the node and the call. The ledger's refusals are a
// *ledger.Refusal, so that errors.Is(err, ledger.CodeBadNonce) works; an ack's code stands in its
// [Outcome]. [Retry] repeats what may pass. [Client.Explain] puts an error into words for people.
package client
