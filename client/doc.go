// Package client is the library for programs that use a Waybill network: it registers clients,
// sends their acknowledgements (acks), co-signs their windows, and asks the ledger.
//
// A program opens a [Client] for each node that serves it. A few lines send an ack: see the example
// below. Every method may be called from several goroutines.
//
// # Registering
//
// A node takes acks only of clients that the ledger knows. A payer grants a client the services
// that it may use at the payer's cost, and [Client.ExecuteGrants] returns the client's index when
// the ledger has the grant. [Client.Execute] submits other transactions, of one sender, and returns
// when the ledger has executed all of them; [Client.SubmitTx] hands in one and does not wait.
// Afterwards [Client.WaitForHeight] waits until the node that the acks are for knows the clients,
// too.
//
// # Delivering
//
// [Client.Deliver] takes deliveries from a sequence, gives each its number, has it signed, and
// submits the acks, up to [Config.Batch] at once and [Config.Inflight] batches ahead of their
// answers. It calls back once for each, with the node's last word. "Accepted" and "known" mean that
// the ack is on the node's disk and will be paid.
//
// A delivery counts once, whatever breaks and whatever the node says, because a number of a client
// at a node, for a service and in an epoch, is signed once, ever. A [Book] keeps which delivery has
// which number. It is on disk before a signature leaves, it is read again when the program begins
// again, and what it has without a last word is sent again, byte for byte. [OpenBook] opens one;
// [MemoryBook] is for programs to which it does not matter that what they signed last may stay
// unpaid when they end.
//
// Whom a program signs for it is told by its operator, in a [Pin], and who certifies the epochs of
// that network, in a committee: [CommitteeOf] reads it from the genesis file. A server that says
// that it is another node, or of another network, whose epoch goes backwards or beyond what a
// certified record shows, gets no signature: a [Reason] says why, and does not pass. An epoch that
// has begun and whose record is not certified yet is waited for; meanwhile the one before is signed
// for, as long as the node takes it. The program's clock has no say in anything.
//
// [Client.Open] is the layer below: a stream of submissions whose signatures, numbers, answers and
// repetition are the caller's affair.
//
// # Co-signing
//
// Acks are cheap for the committee when their clients co-sign the window as it closes. A program
// that wants that sets [Config.Cosign] and runs [Client.Cosign] beside its deliveries. It holds
// every offer of the node against the book: a statement must be about a run of the client's own
// numbers, with their units and requests. What is true is signed, one root for each window, and
// what is not true is kept as evidence. Package cosign has the rules and the reasons.
//
// # When a node lies
//
// A node signs its answers and its offers, and the book keeps those that may convict it: that an
// ack is never taken, and what a window was offered with. [Book.Complain] holds them against a
// rollup of the node that anybody exported, and returns files that everybody can check. On the
// command line that is 'waybill complain', which [ReadBook] lets work beside the program.
//
// # Fetching
//
// A [Fetcher] fetches content by its root from nodes that are paid for it, and does all of the
// above by itself: it opens a session, verifies every group of 16 KiB before it counts, and has
// acks signed by way of the book for what it verified and for nothing else. [Fetcher.Open] returns
// an io.ReadSeekCloser. What a stream that is left has on its way is still received and
// acknowledged: who does not acknowledge owes, and is sent less. A [FetchError] names the node and
// the phase, and says what has been charged.
//
// Of several nodes the near ones are asked, by how soon they have answered so far; of two that are
// not known yet, or of which one is late, the first whose answer verifies sends. That costs no
// bytes: nodes are asked whether they are there before they are asked for content. When a node
// fails or falls silent in the middle, another one goes on at the byte where it was, within a
// second. What no node delivers comes from [FetchConfig.Origin], verified all the same.
//
// [Fetcher.OpenPath] fetches what a site has under a path, which its owner's signature shows. A
// node whose head names a price above the service's, or other content than the manifest that it
// names, has lied: [FetchConfig.Evidence] keeps a file that everybody can check.
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
// [Outcome], and [rollup.Code.Class] says what a client does about it. [Retry] repeats what may
// pass. [Client.Explain] puts an error into words for people.
package client
