// Package whole writes files that appear under their names only when they are
// complete, so that an error, a full disk or an interruption leaves nothing, or
// the file that was there before.
package whole

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Write writes a file through a buffer: first under another name in the same
// folder. It refuses a path that is a folder, a device or a pipe, which the file
// would replace.
func Write(path string, write func(io.Writer) error) (err error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no file (%s): expected the name of a file", path, info.Mode())
	}
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
