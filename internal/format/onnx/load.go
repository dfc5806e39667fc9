// Package onnx reads ONNX models into the intermediate representation and
// writes optimized graphs back. Weights are views of the file's bytes.
//
// Reading is safe on hostile input: sizes are compared before anything is
// allocated, nesting is bounded, and external data is read from the model's
// own folder only. Specification: onnx/onnx docs/IR.md, IR versions 3 to 13.
package onnx

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/mmap"
	"github.com/salver-ml/salver/internal/op"
)

// Model is a parsed model. Its constants alias the file's bytes until Close.
type Model struct {
	Graph     *ir.Graph
	IRVersion int
	Producer  string // name and version of the exporter
	Version   int64  // model_version
	Typed     bool   // the file states types of what its nodes compute
	files     []*mmap.File
	beside    []fs.FileInfo // of external data
}

// Close unmaps the model's files; constants must not be used afterwards.
func (m *Model) Close() error {
	var errs []error
	for _, f := range m.files {
		errs = append(errs, f.Close())
	}
	m.files = nil
	return errors.Join(errs...)
}

// Release lets the system take back the memory of the model's files; constants
// that are read afterwards are read from the files again.
func (m *Model) Release() {
	for _, f := range m.files {
		f.Release()
	}
}

// Load maps and parses a model file, with external data from its folder.
func Load(file string) (*Model, error) {
	m := &Model{}
	if _, err := os.Stat(filepath.Join(file, "saved_model.pb")); err == nil {
		return nil, fmt.Errorf("%s: %w", file, errSavedModel)
	}
	f, err := mmap.Open(file)
	if err != nil {
		return nil, err
	}
	m.files = append(m.files, f)
	root, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		m.Close()
		return nil, err
	}
	defer root.Close()
	err = m.parse(f.Bytes(), func(name string) ([]byte, error) {
		st, err := root.Stat(name) // first, as opening a pipe would wait for its writer
		if err != nil {
			return nil, err
		}
		if !st.Mode().IsRegular() {
			return nil, fmt.Errorf("%q is not a regular file (%v)", name, st.Mode().Type())
		}
		h, err := root.Open(name)
		if err != nil {
			return nil, err
		}
		defer h.Close()
		f, err := mmap.From(h)
		if err != nil {
			return nil, err
		}
		m.files, m.beside = append(m.files, f), append(m.beside, st)
		return f.Bytes(), nil
	})
	if err != nil {
		m.Close()
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return m, nil
}

// LoadFS reads a model from a file system, with external data from its folder.
func LoadFS(fsys fs.FS, file string) (*Model, error) {
	b, err := readRegular(fsys, file)
	if err != nil {
		return nil, err
	}
	m := &Model{}
	err = m.parse(b, func(name string) ([]byte, error) { return readRegular(fsys, path.Join(path.Dir(file), name)) })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return m, nil
}

// readRegular reads a file, and not a pipe, for whose writer opening it would wait.
func readRegular(fsys fs.FS, file string) ([]byte, error) {
	st, err := fs.Stat(fsys, file)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file but %s", file, st.Mode().Type())
	}
	return fs.ReadFile(fsys, file)
}

// Parse reads a model from memory; external data is not allowed.
func Parse(b []byte) (*Model, error) {
	m := &Model{}
	if err := m.parse(b, nil); err != nil {
		return nil, err
	}
	return m, nil
}

// The IR versions that are understood.
const minIR, maxIR = 3, 13

func (m *Model) parse(b []byte, open func(string) ([]byte, error)) error {
	if err := recognise(b); err != nil {
		return err
	}
	p, err := parseModel(b)
	if err != nil {
		return fmt.Errorf("not a readable ONNX model: %w", err)
	}
	if err := p.check(); err != nil {
		return err
	}
	im := &importer{model: p, ext: &external{open: open}}
	if m.Graph, err = im.run(); err != nil {
		return err
	}
	m.IRVersion, m.Version, m.Typed = int(p.irVersion), p.version, im.typed
	m.Producer = p.producer
	if p.producerVer != "" {
		m.Producer += " " + p.producerVer
	}
	return nil
}

func (p *modelProto) check() error {
	switch {
	case !p.sawGraph:
		return fmt.Errorf("not an ONNX model: it has no graph")
	case p.irVersion < minIR || p.irVersion > maxIR:
		return fmt.Errorf("IR version %d: expected %d to %d; convert the model with onnx.version_converter or export it again", p.irVersion, minIR, maxIR)
	}
	if v := p.opsets[""]; v > op.MaxOpset {
		return fmt.Errorf("opset %d of ai.onnx is newer than %d; export the model with opset_version=%d", v, op.MaxOpset, op.MaxOpset)
	}
	return nil
}
