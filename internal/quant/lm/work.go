package lm

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/salver-ml/salver/internal/format/whole"
)

// work is a folder in which a run keeps what is done, stage by stage. It belongs
// to one model, text and recipe; another run does not continue it.
type work struct {
	dir   string
	state state
}

// state is the file state.json.
type state struct {
	Key  string `json:"key"`  // of model, text and recipe
	Next int    `json:"next"` // the stage to begin with
}

const stateName = "state.json"

// openWork makes the folder, or continues a run of the same key. A folder of
// something else is an error: it may hold hours of work.
func openWork(dir, key string) (*work, error) {
	w := &work{dir: dir, state: state{Key: key}}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(filepath.Join(dir, stateName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		list, err := os.ReadDir(dir)
		if err == nil && len(list) > 0 {
			err = fmt.Errorf("%s is not empty, and no work to continue: remove it", dir)
		}
		if err != nil {
			return nil, err
		}
		return w, w.reached(0)
	case err != nil:
		return nil, err
	}
	var old state
	if err := json.Unmarshal(b, &old); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, stateName), err)
	}
	if old.Key != key || old.Next < 0 {
		return nil, fmt.Errorf("%s holds an interrupted run with another model, text or flags: remove it, or continue that run with its own flags", dir)
	}
	w.state = old
	return w, nil
}

// keyOf names what a run depends on.
func keyOf(parts ...any) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%+v\n", p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// identity is what tells one model's files from others: names, sizes and times.
func identity(path string) (string, error) {
	var b strings.Builder
	err := filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			fmt.Fprintf(&b, "%s %d %d\n", name, info.Size(), info.ModTime().UnixNano())
		}
		return err
	})
	return b.String(), err
}

// reached notes that all stages before next are done.
func (w *work) reached(next int) error {
	w.state.Next = next
	b, err := json.Marshal(w.state)
	if err != nil {
		return err
	}
	return whole.Write(filepath.Join(w.dir, stateName), func(f io.Writer) error {
		_, err := f.Write(b)
		return err
	})
}

// save keeps what a stage gave.
func (w *work) save(stage int, write func(io.Writer) error) error {
	return whole.Write(w.result(stage), write)
}

// result is the file of a stage.
func (w *work) result(stage int) string { return filepath.Join(w.dir, fmt.Sprintf("stage-%d", stage)) }

// tensor is the file of a tensor that is rounded by itself.
func (w *work) tensor(i int) string { return filepath.Join(w.dir, fmt.Sprintf("tensor-%d", i)) }

// saveImportance keeps that of a stage's matrices.
func (w *work) saveImportance(stage int, im *Importance) error {
	return whole.Write(filepath.Join(w.dir, fmt.Sprintf("importance-%d", stage)), im.Write)
}

// importance joins that of all stages.
func (w *work) importance() (*Importance, error) {
	paths, err := filepath.Glob(filepath.Join(w.dir, "importance-*"))
	if err != nil {
		return nil, err
	}
	all := &Importance{byTensor: map[string][]float32{}}
	for _, path := range paths {
		im, err := ReadImportance(path)
		if err != nil {
			return nil, err
		}
		maps.Copy(all.byTensor, im.byTensor)
		all.Dataset, all.Chunks, all.Size = im.Dataset, im.Chunks, im.Size
	}
	return all, nil
}

// results are the files of all stages.
func (w *work) results() ([]string, error) { return filepath.Glob(filepath.Join(w.dir, "stage-*")) }

// remove takes the folder away when its results are in the output.
func (w *work) remove() error { return os.RemoveAll(w.dir) }
