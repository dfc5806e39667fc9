//go:build unix && !aix && !solaris && !illumos

package onnx_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/format/onnx"
	"golang.org/x/sys/unix"
)

// External data in a pipe is refused without waiting for somebody who writes to it.
func TestExternalDataInAPipe(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mkfifo(filepath.Join(dir, "w.bin"), 0o600); err != nil {
		t.Skip("no named pipes here:", err)
	}
	file := filepath.Join(dir, "m.onnx")
	m := model(node("Add", []string{"x", "w"}, []string{"y"}),
		field(5, msg(field(1, 2), field(2, 1), field(8, "w"), field(13, msg(field(1, "location"), field(2, "w.bin"))), field(14, 1))),
		value(11, "x", 2), value(12, "y", 2))
	if err := os.WriteFile(file, m, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := onnx.Load(file); err == nil || !strings.Contains(err.Error(), `"w.bin" is not a regular file`) {
		t.Errorf("got %v", err)
	}
	for _, name := range []string{"m.onnx", "w.bin"} {
		if _, err := onnx.LoadFS(os.DirFS(dir), name); err == nil || !strings.Contains(err.Error(), "w.bin: not a regular file") {
			t.Errorf("%s from a file system: %v", name, err)
		}
	}
}

// A SavedModel is a folder.
func TestFolderOfASavedModel(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "saved_model.pb"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := onnx.Load(dir); err == nil || !strings.Contains(err.Error(), "--saved-model") {
		t.Errorf("got %v", err)
	}
	if _, err := onnx.Load(t.TempDir()); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Errorf("got %v", err)
	}
}
