package cli

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "rewrite docs/CLI.md")

const page = "../../docs/CLI.md"

// docs/CLI.md is made from the commands.
func TestDocs(t *testing.T) {
	root := newRoot(&env{in: strings.NewReader(""), out: io.Discard, err: io.Discard})
	var b strings.Builder
	b.WriteString("# The command line\n\nThis page is made from the commands: run `go test ./internal/cli -update` after a change there.\n\n" +
		"Exit status: 0 done, 1 it could not be done, 2 the command line is wrong. Results go to stdout, everything else to stderr.\n")
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			describe(&b, c)
		}
	}
	if *update {
		if err := os.WriteFile(page, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != b.String() {
		t.Error("docs/CLI.md is not what the commands say: run go test ./internal/cli -update")
	}
}

func describe(b *strings.Builder, c *cobra.Command) {
	text := c.Long
	if text == "" {
		text = c.Short + "."
	}
	fmt.Fprintf(b, "\n## salver %s\n\n```\n%s\n\n%s\n```\n", c.Name(), c.UseLine(), text)
	if c.HasExample() {
		fmt.Fprintf(b, "\n```sh\n%s\n```\n", unindent(c.Example))
	}
	if flags := c.LocalFlags().FlagUsages(); flags != "" {
		fmt.Fprintf(b, "\n```\n%s```\n", flags)
	}
}

func unindent(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], "  ")
	}
	return strings.Join(lines, "\n")
}

// Every command has an example.
func TestExamples(t *testing.T) {
	root := newRoot(&env{in: strings.NewReader(""), out: io.Discard, err: io.Discard})
	for _, c := range root.Commands() {
		if c.Example == "" && c.IsAvailableCommand() {
			t.Errorf("salver %s has no example", c.Name())
		}
	}
}
