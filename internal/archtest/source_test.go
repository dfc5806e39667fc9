package archtest

import (
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/salver-ml/salver"

var root = os.DirFS("../..")

// files lists the repository's files with one of the given endings, by slash
// path from its root. Folders with a dot in front and ignored ones are left out.
func files(t *testing.T, endings ...string) []string {
	t.Helper()
	var list []string
	err := fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != "." && (strings.HasPrefix(d.Name(), ".") || slices.Contains([]string{"dist", "node_modules", "venv"}, d.Name())):
			return fs.SkipDir
		case !d.IsDir() && slices.ContainsFunc(endings, func(e string) bool { return strings.HasSuffix(p, e) }):
			list = append(list, p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) == 0 {
		t.Fatalf("found no files that end in %q", endings)
	}
	return list
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := fs.ReadFile(root, name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// generated reports whether a Go or assembly file was written by a program.
func generated(text string) bool {
	head, _, _ := strings.Cut(text, "\npackage ")
	return strings.HasPrefix(head, "// Code generated ") || strings.Contains(head, "\n// Code generated ")
}

// ownModule reports whether a file belongs to a module of its own, such as a tool's.
func ownModule(t *testing.T, file string) bool {
	t.Helper()
	for dir := path.Dir(file); dir != "."; dir = path.Dir(dir) {
		if _, err := fs.Stat(root, path.Join(dir, "go.mod")); err == nil {
			return true
		}
	}
	return false
}
