// Package testkit finds the material that tests use and compares numbers.
package testkit

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Assets gives the path of a file or folder of the test material: below
// $SALVER_ASSETS, or shared/assets beside the checkout. The test skips, saying
// why, where neither is there.
func Assets(t testing.TB, path string) string {
	t.Helper()
	p, err := Find(t, path)
	if err != nil {
		t.Skip(err)
	}
	return p
}

// Find is Assets for tests that can do without: it gives an error instead.
func Find(t testing.TB, path string) (string, error) {
	t.Helper()
	root := os.Getenv("SALVER_ASSETS")
	if root == "" {
		root = filepath.Join(moduleRoot(t), "..", "shared", "assets")
	}
	p := filepath.Join(root, path)
	if _, err := os.Stat(p); err != nil {
		return "", fmt.Errorf("test material %s is not here (set SALVER_ASSETS): %w", path, err)
	}
	return p, nil
}

func moduleRoot(t testing.TB) string {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the working directory")
		}
		dir = parent
	}
}
