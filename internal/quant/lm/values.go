package lm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/tensor"
)

// values keeps what crosses from one stage of a walk to a later one in files,
// since it is activations of all the text: a row of float32 for each token, chunk
// after chunk.
type values struct {
	dir    string
	number map[*ir.Value]int // names the files, the same in each run
	files  map[*ir.Value]*os.File
}

func (v *values) path(x *ir.Value) string {
	return filepath.Join(v.dir, fmt.Sprintf("value-%d.f32", v.number[x]))
}

// file opens the file of a value, or makes it.
func (v *values) file(x *ir.Value) (*os.File, error) {
	if f := v.files[x]; f != nil {
		return f, nil
	}
	f, err := os.OpenFile(v.path(x), os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		v.files[x] = f
	}
	return f, err
}

// write keeps a chunk of a value.
func (v *values) write(x *ir.Value, chunk int, t *tensor.Tensor) error {
	f, err := v.file(x)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(t.Data, int64(chunk)*int64(len(t.Data)))
	return err
}

// read fills t with a chunk of a value.
func (v *values) read(x *ir.Value, chunk int, t *tensor.Tensor) error {
	f, err := v.file(x)
	if err != nil {
		return err
	}
	_, err = f.ReadAt(t.Data, int64(chunk)*int64(len(t.Data)))
	return err
}

// drop removes a value that nothing reads any more.
func (v *values) drop(x *ir.Value) error {
	if f := v.files[x]; f != nil {
		delete(v.files, x)
		f.Close()
	}
	err := os.Remove(v.path(x))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// close lets go of the files.
func (v *values) close() {
	for _, f := range v.files {
		f.Close()
	}
}
