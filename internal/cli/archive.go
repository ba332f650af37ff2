package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/waybill-network/waybill/node"
	"github.com/waybill-network/waybill/node/committee"
	"github.com/waybill-network/waybill/node/keep"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// archiveFile is an archive that is read, from a file or the standard input.
type archiveFile struct {
	*bufio.Reader
	io.Closer
}

func openArchive(stdin io.Reader, file string) (*archiveFile, error) {
	if file == "-" {
		return &archiveFile{bufio.NewReader(stdin), io.NopCloser(stdin)}, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	return &archiveFile{bufio.NewReader(f), f}, nil
}

// byPassword reports whether an archive is encrypted with a password: its head says so.
func (a *archiveFile) byPassword() bool {
	b, _ := a.Peek(64) // one too short has no such head
	return bytes.Contains(b, []byte("-> scrypt "))
}

// explanations are what an error about a home means to its operator: what is lost, what is safe,
// and what comes next. %s is the home.
var explanations = []struct {
	is   error
	then string
}{
	{store.ErrDiskFull, `Lost: nothing that was answered; what was under way was not answered.
Safe: store and keys. Next: free some disk, then start the node again.`},
	{keep.ErrDiskFull, `Lost: nothing; what was written of it is removed.
Next: free some disk, and run the command again.`},
	{store.ErrCorrupt, `Lost: what is in that file: perhaps acks that were answered, not rolled up yet.
Safe: the keys, and what is certified or settled: the other members have it.
Next: keep the folder as it is for an inquiry, look at the disk (smartctl, dmesg), and run
  waybill restore BACKUP --home NEW     from the last backup
or, without one, move the store away and start: the node fetches the chain from its
peers, and takes and signs nothing before the next epoch.
Never bring only a part of a home back.`},
	{store.ErrFormat, `Lost: nothing, and nothing was changed.
Next: run a version of the program that knows the store.`},
	{store.ErrCopied, `Lost: nothing, and nothing was changed. Two homes with the same keys sign
twice, and are convicted. Next: to take a node to another place, run 'waybill move'
where it was. If that is gone for good:
  waybill restore --home %s     it signs nothing before the next epoch`},
	{store.ErrMoved, `Its node runs where it went, and must not run here.
Safe: what is here is a copy of what went.
Next: remove this home when the node works there. If it never arrives: 'waybill backup
--keys' of this home, and 'waybill restore' of that: it signs nothing before the next
epoch.`},
	{committee.ErrSignState, `Lost: the memory of what the node voted on. Safe: store and keys.
Next: bring nothing old back, since an old record votes twice; run
  waybill restore --home %s
It votes when an epoch has begun and nobody else used its key.`},
	{committee.ErrNotRecovered, `Nothing was changed. The network goes on from another one's state.
Next: on a node that has it, stopped: waybill recover state --out FILE; here:
  waybill recover apply --genesis FILE --state FILE --home %s`},
	{committee.ErrElsewhere, elsewhere},
	{node.ErrElsewhere, elsewhere},
	{node.ErrRuns, `Next: stop it first; 'waybill doctor --home %s' names the process. A backup
of a running node needs the socket control.sock in its home.`},
	{keep.ErrEncrypted, `Next: give --identity FILE of the key that it was encrypted to, or its
password.`},
	{keep.ErrDamaged, `Nothing of it was kept.
Next: take another copy of the archive, or an earlier backup.`},
	{keep.ErrHome, `Nothing was changed. Next: name a folder that is empty or not there.`},
}

const elsewhere = `Lost: nothing; this home takes and signs nothing any more.
Next: find the other process that has these keys. If that one is to go on, never start
this one again. If this one is: end the other for good, and run
  waybill restore --home %s`

// undecided explains a block that cannot be executed here: the height before it, and the home.
const undecided = `Lost: nothing; the store is as block %d left it, and this node signs nothing.
Next: 'waybill status' of the other members. If they stand at this block, too, it is a
defect of the program: keep the logs, report it, and install what mends it. If they go
on, it is this machine: look at memory and disk (dmesg, smartctl), keep the folder as
it is, and run
  waybill doctor --home %s
  waybill restore BACKUP --home NEW     from the last backup, best on another machine
A start with the same home tries the same block again.`

// explainHome adds to an error about a home what it means.
func explainHome(home string, err error) error {
	var unknown *ledger.UnknownVersionError
	if errors.As(err, &unknown) {
		return fmt.Errorf("%w\nLost: nothing; the home is as the last block left it, and all that was "+
			"answered is in it.\nNext: install a program that knows version %d, and start it with the "+
			"same home", err, unknown.Upgrade.Version)
	}
	var block *committee.BlockError
	if errors.As(err, &block) {
		return fmt.Errorf("%w\n%s", err, fmt.Sprintf(undecided, block.Height-1, home))
	}
	for _, e := range explanations {
		if errors.Is(err, e.is) {
			then := e.then
			if bytes.Contains([]byte(then), []byte("%s")) {
				then = fmt.Sprintf(then, home)
			}
			return fmt.Errorf("%w\n%s", err, then)
		}
	}
	return err
}
