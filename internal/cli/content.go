package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/node"
	"github.com/waybill-network/waybill/node/content"
	"github.com/waybill-network/waybill/node/content/remote"
	"github.com/waybill-network/waybill/rollup"
)

func newContent() *cobra.Command {
	return group("content", "Fill and look after a node's store of content",
		`A node delivers content that is named by its root, its BLAKE3 digest: what b3sum
prints. These commands work on the store in a node's home. While the node runs they
ask it, by the socket control.sock in its home. docs/content.md says more.

  waybill content add --home net/node0 film.mp4      take a file, print its root
  waybill content manifest make --help               say which content stands under which path`,
		contentAdd(), contentList(), contentGet(), contentRemove(), contentPin(true),
		contentPin(false), contentPurge(), contentPrivate(), contentPublic(), contentScan(),
		contentManifest())
}

// contentStore says which store a command works on.
type contentStore struct {
	home, dir, deny string
	max             int64
}

// storeFlags adds the flags that name a store; the returned function opens it for a call.
func storeFlags(cmd *cobra.Command) func(context.Context, func(remote.Store) error) error {
	var c contentStore
	cmd.Flags().StringVar(&c.home, "home", ".",
		"the node's `folder`; its settings say where the store is and what it may take")
	cmd.Flags().StringVar(&c.dir, "store", "",
		"a store of its own in this `folder`, without a node")
	cmd.Flags().StringVar(&c.deny, "deny", "",
		"`file` with roots that are refused, one a line (default: the node's)")
	cmd.Flags().Int64Var(&c.max, "max-bytes", 0,
		"what the store may take of the disk, in `bytes` (default: the node's setting, or 64 GiB)")
	return func(ctx context.Context, work func(remote.Store) error) error {
		s, done, err := c.open(ctx)
		if err != nil {
			return err
		}
		return errors.Join(explainContent(work(s)), done())
	}
}

// options are those of the node's settings, unless flags say otherwise.
func (c *contentStore) options() (o content.Options, deny string, err error) {
	if c.max < 0 {
		return o, "", usagef("--max-bytes %d: want a number above 0", c.max)
	}
	if o.Dir = c.dir; o.Dir == "" {
		loaded, err := loadConfig(c.home, nil)
		if err != nil {
			return o, "", err
		}
		settings := loaded.Content
		o.Dir, o.MaxBytes = loaded.Path(settings.Path), int64(settings.MaxBytes)
		o.MaxContent = int64(settings.MaxContent)
		if settings.Deny != "" {
			deny = loaded.Path(settings.Deny)
		}
	}
	if c.max > 0 {
		o.MaxBytes = c.max
	}
	if c.dir != "" {
		o.MaxContent = o.MaxBytes
	}
	if c.deny != "" {
		deny = c.deny
	}
	return o, deny, nil
}

// open opens the store, or asks the node that has it open.
func (c *contentStore) open(ctx context.Context) (s remote.Store, done func() error, err error) {
	o, deny, err := c.options()
	if err != nil {
		return nil, nil, err
	}
	if deny != "" {
		if o.Deny, err = content.OpenDeny(deny); err != nil {
			return nil, nil, err
		}
	}
	opened, err := content.Open(o)
	if err == nil {
		return remote.Local(opened), opened.Close, nil
	}
	if !errors.Is(err, content.ReasonLocked) || c.dir != "" {
		return nil, nil, err
	}
	control, closed := node.Control(c.home)
	s = remote.New(control, "http://node/content")
	if _, failed := s.List(ctx); failed != nil {
		closed()
		return nil, nil, fmt.Errorf("%w, which does not answer (%w): stop it", err, failed)
	}
	if c.deny != "" || c.max > 0 {
		closed()
		return nil, nil, usagef("--deny and --max-bytes are settings of a node that runs: " +
			"content.deny and content.max_bytes in its config.toml")
	}
	return s, func() error { closed(); return nil }, nil
}

// explainContent adds what to do about a refusal.
func explainContent(err error) error {
	for _, hint := range []struct {
		is   content.Reason
		then string
	}{
		{content.ReasonFull, "raise --max-bytes, or unpin something"},
		{content.ReasonTooLarge, "raise --max-bytes, or the setting content.max_content"},
		{content.ReasonDiskFull, "nothing of it was kept; free some space"},
		{content.ReasonPinned, "take the pin back first: waybill content unpin ROOT"},
		{content.ReasonAbsent, "waybill content ls shows what is there"},
		{content.ReasonDamaged, "waybill content scan removes what is damaged"},
	} {
		if errors.Is(err, hint.is) {
			return fmt.Errorf("%w; %s", err, hint.then)
		}
	}
	return err
}

func parseRoots(args []string) ([]rollup.Hash, error) {
	roots := make([]rollup.Hash, len(args))
	for i, a := range args {
		root, err := content.ParseRoot(a)
		if err != nil {
			return nil, usagef("root %q: want 64 digits of lower-case hexadecimal, as 'waybill "+
				"content ls' prints it", a)
		}
		roots[i] = root
	}
	return roots, nil
}

// added is a file that add took.
type added struct {
	File string `json:"file"`
	content.Info
}

func contentAdd() *cobra.Command {
	var pin bool
	var want, payers string
	cmd := &cobra.Command{
		Use:   "add FILE...",
		Short: "Take files into the store, and print their roots",
		Long: `Takes files, or standard input as '-'. A file is in the store when its line is
printed, also after a power cut. With --root it is refused unless it has this root.`,
		Example: `  waybill content add --home net/node0 *.mp4
  curl https://example.org/film.mp4 | waybill content add --home net/node0 --pin -`,
		Args: atLeastOne("one or more files, or -"),
	}
	with := storeFlags(cmd)
	cmd.Flags().BoolVar(&pin, "pin", false, "pin them, so that nothing makes them go")
	cmd.Flags().StringVar(&payers, "payers", "", payersHelp)
	cmd.Flags().StringVar(&want, "root", "", "the `root` that the only file has to have")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		var root *rollup.Hash
		if want != "" {
			roots, err := parseRoots([]string{want})
			if err != nil {
				return err
			}
			if root = &roots[0]; len(args) != 1 {
				return usagef("--root is for one file")
			}
		}
		how := remote.Adding{Placing: content.Placing{Root: root}, Pin: pin}
		if cmd.Flags().Changed("payers") {
			if how.Payers, err = parsePayers(payers); err != nil {
				return err
			}
		}
		return with(cmd.Context(), func(s remote.Store) error {
			list := []added{}
			for _, name := range args {
				info, err := addFile(cmd.Context(), s, cmd.InOrStdin(), name, how)
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				if list = append(list, added{name, info}); !*asJSON {
					fmt.Fprintf(cmd.OutOrStdout(), "%v  %s\n", info.Root, text.Name(name))
				}
			}
			if *asJSON {
				return printJSON(cmd.OutOrStdout(), list)
			}
			return nil
		})
	}
	return cmd
}

func addFile(ctx context.Context, s remote.Store, in io.Reader, name string,
	how remote.Adding) (content.Info, error) {
	how.Size = -1
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return content.Info{}, err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return content.Info{}, err
		}
		if !info.Mode().IsRegular() {
			return content.Info{}, errors.New("not a regular file; '-' takes standard input")
		}
		in, how.Size = f, info.Size()
	}
	return s.Add(ctx, in, how)
}

func contentList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List what the store has, the last used first",
		Args:  noArgs,
	}
	with := storeFlags(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return with(cmd.Context(), func(s remote.Store) error {
			list, err := s.List(cmd.Context())
			if err != nil {
				return err
			}
			if *asJSON {
				return printJSON(cmd.OutOrStdout(), list)
			}
			rows, w := listRows(&list), cmd.OutOrStdout()
			if len(rows) > 0 {
				text.Table(w, []string{"root", ">bytes", "used (UTC)", ""}, rows)
			}
			fmt.Fprintf(w, "%s, %s of %s on disk, %s of it pinned\n",
				text.Plural(len(list.Contents), "content"), text.Bytes(list.Bytes),
				text.Bytes(list.Max), text.Bytes(list.Pinned))
			return nil
		})
	}
	return cmd
}

// listRows are the rows of a listing: what is there, and what is private without being there.
func listRows(list *remote.Listing) (rows [][]string) {
	there := make(map[rollup.Hash]bool, len(list.Contents))
	for _, c := range list.Contents {
		var marks []string
		if c.Pinned {
			marks = append(marks, "pinned")
		}
		if len(c.Payers) > 0 {
			marks = append(marks, privateTo(c.Payers))
		}
		if c.Denied != "" {
			marks = append(marks, "denied: "+c.Denied)
		}
		there[c.Root] = true
		rows = append(rows, []string{c.Root.String(), text.Grouped(c.Size),
			c.Used.UTC().Format(time.DateTime), strings.Join(marks, ", ")})
	}
	for _, r := range list.Private {
		if !there[r.Root] {
			rows = append(rows, []string{r.Root.String(), "not here", "", privateTo(r.Payers)})
		}
	}
	return rows
}

func privateTo(payers []uint32) string {
	return "for clients of " + content.FormatPayers(payers)
}

func contentGet() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "get ROOT",
		Short: "Write a content out, verified on the way",
		Long: `Writes a content to standard output or a file. Every group of 16 KiB is verified
before it is written; where one is damaged the output ends and the exit code is 1.`,
		Args: exactly(1, "a root"),
	}
	with := storeFlags(cmd)
	cmd.Flags().StringVarP(&out, "out", "o", "", "write to this `file`, which must not be there")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		roots, err := parseRoots(args)
		if err != nil {
			return err
		}
		return with(cmd.Context(), func(s remote.Store) (err error) {
			if out == "" {
				_, err := s.CopyTo(cmd.Context(), roots[0], raw(cmd))
				return err
			}
			f, err := os.OpenFile(out, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
			if err != nil {
				return err
			}
			size, err := s.CopyTo(cmd.Context(), roots[0], f)
			if err = errors.Join(err, f.Close()); err != nil {
				return errors.Join(err, os.Remove(out))
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", out, text.Plural(size, "byte"))
			return nil
		})
	}
	return cmd
}

func contentScan() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "scan",
		Short: "Read and verify all contents, and remove damaged ones",
		Long: `Reads every content and its tree and verifies them against the root. What is damaged
is removed, so that the next request brings it again; the exit code is 1 then.`,
		Args: noArgs,
	}
	with := storeFlags(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return with(cmd.Context(), func(s remote.Store) error {
			scanned, err := s.Scan(cmd.Context())
			if err != nil {
				return err
			}
			if *asJSON {
				err = printJSON(cmd.OutOrStdout(), scanned)
			} else {
				for _, root := range scanned.Damaged {
					fmt.Fprintf(cmd.OutOrStdout(), "damaged, removed: %v\n", root)
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s read, %s\n",
					text.Plural(scanned.Contents, "content"), text.Bytes(scanned.Bytes))
			}
			if err == nil && len(scanned.Damaged) > 0 {
				err = errors.New(strconv.Itoa(len(scanned.Damaged)) + " damaged")
			}
			return err
		})
	}
	return cmd
}
