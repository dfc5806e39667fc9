package archtest

import (
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// maxLines bounds a source file; shorter is better by far.
const maxLines = 600

// long are files that may be longer, with the reason.
var long = map[string]string{
	"internal/batch/batch_test.go": "one fake model serves all tests of the batcher",
}

func TestFilesAreShort(t *testing.T) {
	for _, f := range files(t, ".go", ".js", ".css", ".py") {
		text := read(t, f)
		if n := strings.Count(text, "\n"); n > maxLines && !generated(text) && long[f] == "" {
			t.Errorf("%s has %d lines, expected at most %d: split it by what it does, or give a reason in style_test.go", f, n, maxLines)
		}
	}
}

// Assembly is for amd64, and leaves with -tags noasm.
func TestAssemblyIsTagged(t *testing.T) {
	for _, f := range files(t, ".s") {
		if !strings.HasSuffix(f, "_amd64.s") {
			t.Errorf("%s: expected a name that ends in _amd64.s", f)
		}
		if !regexp.MustCompile(`(?m)^//go:build amd64 && !noasm$`).MatchString(read(t, f)) {
			t.Errorf("%s: expected the line //go:build amd64 && !noasm", f)
		}
	}
}

// What is left undone belongs in an issue.
func TestNoLeftovers(t *testing.T) {
	leftover := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`)
	for _, f := range files(t, ".go", ".s", ".js", ".css", ".html", ".py", ".md", ".proto", ".sh", ".yaml") {
		for i, line := range strings.Split(read(t, f), "\n") {
			if m := leftover.FindString(line); m != "" {
				t.Errorf("%s:%d: %s", f, i+1, m)
			}
		}
	}
}

// Every package says what it is for, and has a name that tells more than that
// things were put there.
func TestPackages(t *testing.T) {
	documented, first := map[string]bool{}, map[string]string{}
	for _, f := range files(t, ".go") {
		if strings.HasSuffix(f, "_test.go") || strings.Contains(f, "/testdata/") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f, read(t, f), parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		dir := path.Dir(f)
		documented[dir] = documented[dir] || parsed.Doc != nil
		first[dir] = f
		if slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "misc", "base"}, parsed.Name.Name) {
			t.Errorf("%s: package %s: a package is named for what it does", f, parsed.Name.Name)
		}
	}
	for dir, f := range first {
		if !documented[dir] {
			t.Errorf("%s: no file of the package says what it is for (such as %s)", dir, f)
		}
	}
}
