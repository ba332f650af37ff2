// Package delivery is what client and node say to each other while content is delivered: who opens
// a session, what is sent in which frames, and what a client writes down of it before it signs an
// acknowledgement (protocol section 18).
//
// # Session
//
// A client signs a challenge of the node's (Session): who holds the session holds the client's key.
// Credit belongs to the session: the node sends a window of bytes ahead of what was acknowledged.
//
// # Stream
//
// What is sent is a sequence of frames. The first is the node's signed word of what follows, a
// word.Head. Content comes in runs of whole groups of 16 KiB: the frame has the parents that lead
// from the root to these groups, and behind it lie the content's own bytes in one piece. So a
// reader knows what every group must hash to before it has read a byte of it, and a node may hand
// the bytes from its disk to the connection as they are. An ask says that an ack is due, an end
// that all was sent, an abort why not.
//
// # Records
//
// A client writes a Record of each range that it received and verified. The request of its next ack
// is the root over the records since the last one, so one signature covers any number of requests.
//
// The package reads no clock, no environment and no randomness, does no I/O and starts no
// goroutine.
package delivery
