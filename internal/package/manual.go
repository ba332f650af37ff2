package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/waybill-network/waybill/internal/cli"
)

// manuals are the man pages of all commands, made of what their --help says.
func manuals(version string, at time.Time) ([]file, error) {
	root := cli.Command()
	root.DisableAutoGenTag = true
	root.InitDefaultCompletionCmd()
	layOut(root)
	dir, err := os.MkdirTemp("", "waybill-manuals-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	header := &doc.GenManHeader{Section: "1", Date: &at, Source: "Waybill " + version,
		Manual: "Waybill"}
	if err := doc.GenManTree(root, header, dir); err != nil {
		return nil, err
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil {
		return nil, err
	}
	var pages []file
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		packed, err := compress(content)
		if err != nil {
			return nil, err
		}
		pages = append(pages,
			file{"usr/share/man/man1/" + filepath.Base(name) + ".gz", packed, 0o644})
	}
	return pages, nil
}

// layOut marks what is laid out in lines, so that a page keeps them: Markdown, by way of which
// pages are made, joins lines that are not indented by four.
func layOut(cmd *cobra.Command) {
	if cmd.Long == "" {
		cmd.Long = cmd.Short + "."
	}
	lines := strings.Split(cmd.Long, "\n")
	block := false
	var out []string
	for _, line := range lines {
		indented := strings.HasPrefix(line, " ")
		if indented != block && line != "" {
			out = append(out, "") // a block is a paragraph of its own
		}
		block = indented || block && line == ""
		if indented {
			line = "  " + line
		}
		out = append(out, escape(line, indented))
	}
	cmd.Long = strings.Join(out, "\n") + overview(cmd)
	for _, c := range cmd.Commands() {
		layOut(c)
	}
}

// overview lists a group's commands, which a page otherwise only refers to.
func overview(cmd *cobra.Command) string {
	if !cmd.HasAvailableSubCommands() {
		return ""
	}
	list := "\n\nIts commands:\n\n"
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			list += fmt.Sprintf("    %-12s %s\n", c.Name(), c.Short)
		}
	}
	return list
}

var special = regexp.MustCompile("[<*_\\[`]")

func escape(line string, verbatim bool) string {
	if verbatim {
		return line
	}
	return special.ReplaceAllString(line, `\$0`)
}

// completions are the shells' scripts, as the command prints them.
func completions() ([]file, error) {
	var files []file
	for shell, path := range map[string]string{
		"bash": "usr/share/bash-completion/completions/waybill",
		"zsh":  "usr/share/zsh/vendor-completions/_waybill",
		"fish": "usr/share/fish/vendor_completions.d/waybill.fish",
	} {
		var script, errOut bytes.Buffer
		if code := cli.Run(context.Background(), []string{"completion", shell}, nil, &script,
			&errOut); code != 0 {
			return nil, fmt.Errorf("%s: exit code %d: %s", shell, code, &errOut)
		}
		files = append(files, file{path, script.Bytes(), 0o644})
	}
	return files, nil
}
