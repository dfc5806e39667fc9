// Package whole writes files that appear under their names only when they are
// complete, so that an error, a full disk or an interruption leaves nothing, or
// the file that was there before.
package whole

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
)

// Write writes a file through a buffer: first under another name in the same
// folder.
func Write(path string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".salver-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	b := bufio.NewWriterSize(f, 1<<20)
	if err := write(b); err != nil {
		return err
	}
	if err := b.Flush(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
