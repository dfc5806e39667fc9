package whole

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// An error leaves the file that was there, and nothing beside it.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	text := func(s string, err error) func(io.Writer) error {
		return func(w io.Writer) error {
			_, werr := io.WriteString(w, s)
			return errors.Join(werr, err)
		}
	}
	if err := Write(path, text("one", nil)); err != nil {
		t.Fatal(err)
	}
	full := errors.New("disk full")
	if err := Write(path, text("two", full)); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "one" {
		t.Errorf("the file holds %q, %v", b, err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
		t.Errorf("the folder holds %v, %v", list, err)
	}
	if err := Write(filepath.Join(dir, "missing", "a"), text("", nil)); err == nil {
		t.Error("no error for a folder that is not there")
	}
}

// What is no file, such as a device or a folder, is not replaced.
func TestWriteRefusesWhatIsNoFile(t *testing.T) {
	path := t.TempDir()
	err := Write(path, func(io.Writer) error { t.Error("written"); return nil })
	if info, stat := os.Stat(path); err == nil || stat != nil || !info.IsDir() {
		t.Errorf("got %v, %v", err, stat)
	}
}
