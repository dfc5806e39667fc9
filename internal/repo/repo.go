// Package repo reads model repositories: folders in Triton's layout, and
// single model files. It finds models and versions and reads their
// configuration; it does not load them.
//
//	REPO/MODEL/config.pbtxt        optional
//	REPO/MODEL/LABELS.txt          named by label_filename
//	REPO/MODEL/VERSION/model.onnx  VERSION is a positive number
//
// A model file by itself is a model with the file's name without extension, and version 1.
//
// Everything is opened below the repository's folder: a name or a symbolic link
// that leads out of it is an error.
package repo

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// ConfigFile and ModelFile are the default names of files in a model's folder and its versions' folders.
const (
	ConfigFile = "config.pbtxt"
	ModelFile  = "model.onnx"
	// LanguageFile is that of a language model.
	LanguageFile = "model.gguf"
)

// Repository is a place with models.
type Repository struct {
	path string
	file bool // path is one model file
}

// Model is a model as found in a repository.
type Model struct {
	Name     string
	Config   *Config   // as written; never nil
	Versions []Version // those that the version policy selects, ascending; never empty
}

// Version is a version's model file.
type Version struct {
	Number int64
	Path   string
}

// Open looks at a path: a model file or a folder in Triton's layout.
func Open(path string) (*Repository, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("model repository: %w", err)
	}
	r := &Repository{path: path, file: !info.IsDir() || isCheckpoint(os.DirFS(path), ".") || isSavedModel(path)}
	if r.file {
		if !info.IsDir() && !info.Mode().IsRegular() {
			return nil, fmt.Errorf("model repository %s: expected a folder or a regular file, found %s", path, info.Mode().Type())
		}
		return r, CheckName(r.fileName())
	}
	return r, r.checkLayout()
}

// checkLayout recognises a model's own folder, and a folder of bare model files.
func (r *Repository) checkLayout() error {
	entries, err := os.ReadDir(r.path)
	if err != nil {
		return fmt.Errorf("model repository: %w", err)
	}
	folders, bare := 0, ""
	for _, e := range entries {
		_, isVersion := versionNumber(e.Name())
		switch {
		case e.Name() == ConfigFile || e.IsDir() && isVersion && hasModelFile(filepath.Join(r.path, e.Name())):
			return fmt.Errorf("model repository %s: this is a model's folder (it holds %s): give the folder above it", r.path, e.Name())
		case slices.Contains(modelExtensions, filepath.Ext(e.Name())):
			bare = e.Name()
		case !hidden(e.Name()):
			folders++
		}
	}
	if folders == 0 && bare != "" {
		ext := filepath.Ext(bare)
		return fmt.Errorf("model repository %s: expected MODEL/VERSION/%s, found the file %s: give the file itself, or move it to %s", r.path, "model"+ext,
			bare, path.Join(strings.TrimSuffix(bare, ext), "1", "model"+ext))
	}
	return nil
}

var modelExtensions = []string{filepath.Ext(ModelFile), filepath.Ext(LanguageFile)}

func hasModelFile(dir string) bool {
	for _, name := range []string{ModelFile, LanguageFile} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return isCheckpoint(os.DirFS(dir), ".")
}

// isCheckpoint reports whether a folder is a model of the Hugging Face Hub.
func isCheckpoint(fsys fs.FS, dir string) bool {
	if _, err := fs.Stat(fsys, path.Join(dir, "config.json")); err != nil {
		return false
	}
	weights, err := fs.Glob(fsys, path.Join(dir, "*.safetensors"))
	return err == nil && len(weights) > 0
}

// isSavedModel reports whether a folder is one model of TensorFlow's, not a
// repository: reading it says how to export it.
func isSavedModel(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "saved_model.pb"))
	return err == nil
}

// hidden entries of a repository are no models.
func hidden(name string) bool { return strings.HasPrefix(name, ".") || name == "lost+found" }

// Path is where the repository is.
func (r *Repository) Path() string { return r.path }

func (r *Repository) fileName() string {
	base := filepath.Base(r.path)
	if info, err := os.Stat(r.path); err == nil && info.IsDir() {
		return base
	}
	return strings.TrimSuffix(base, filepath.Ext(base))
}

// Names lists the models, in order. They may still turn out to be faulty.
func (r *Repository) Names() ([]string, error) {
	if r.file {
		return []string{r.fileName()}, nil
	}
	root, err := os.OpenRoot(r.path)
	if err != nil {
		return nil, fmt.Errorf("model repository: %w", err)
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, fmt.Errorf("model repository %s: %w", r.path, err)
	}
	var names []string
	for _, e := range entries {
		if !hidden(e.Name()) && (e.IsDir() || e.Type()&fs.ModeSymlink != 0) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Model reads one model. The error is a Problems with all that is wrong, or
// wraps fs.ErrNotExist if there is no such model.
func (r *Repository) Model(name string) (*Model, error) { return r.ModelWith(name, nil) }

// ModelWith is Model with a configuration in place of the one in the model's folder, unless it is nil.
func (r *Repository) ModelWith(name string, cfg *Config) (*Model, error) {
	if err := CheckName(name); err != nil {
		return nil, Problems{{Model: name, File: r.path, Message: err.Error()}}
	}
	if r.file {
		if name != r.fileName() {
			return nil, fmt.Errorf("model %q: %w", name, fs.ErrNotExist)
		}
		if cfg == nil {
			cfg = &Config{}
		}
		cfg.Name = name
		return &Model{Name: name, Config: cfg, Versions: []Version{{1, r.path}}}, nil
	}
	root, err := os.OpenRoot(r.path)
	if err != nil {
		return nil, fmt.Errorf("model repository: %w", err)
	}
	defer root.Close()
	info, err := root.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("model %q: %w", name, err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("model %q is not a folder: %w", name, fs.ErrNotExist)
	}
	s := &scan{r: r, root: root, model: &Model{Name: name, Config: &Config{Name: name}}}
	if cfg == nil {
		s.config()
	} else {
		s.use(cfg, "")
	}
	s.versions()
	s.labels()
	return s.model, s.problems.err()
}

// DryRun reads all models and returns everything that is wrong with them,
// among it the fields that are not supported.
func (r *Repository) DryRun() (models []string, problems Problems, err error) {
	models, err = r.Names()
	for _, name := range models {
		_, err := r.Model(name)
		if ps, ok := errors.AsType[Problems](err); ok {
			problems = append(problems, ps...)
		} else if err != nil {
			problems = append(problems, Problem{Model: name, Message: err.Error()})
		}
	}
	return models, problems, err
}

// scan reads one model's folder.
type scan struct {
	r        *Repository
	root     *os.Root
	model    *Model
	problems Problems
}

func (s *scan) failf(file, format string, args ...any) {
	if file != "" {
		file = filepath.Join(s.r.path, s.model.Name, file)
	}
	s.problems = append(s.problems, Problem{Model: s.model.Name, File: file, Message: fmt.Sprintf(format, args...)})
}

// open opens a regular file of the model's folder.
func (s *scan) open(file string) (*os.File, error) {
	file = path.Join(s.model.Name, filepath.ToSlash(file))
	info, err := s.root.Stat(file) // first, as opening a pipe would wait for its writer
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	return s.root.Open(file)
}

func (s *scan) config() {
	f, err := s.open(ConfigFile)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		s.failf(ConfigFile, "%v", err)
		return
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, maxConfigBytes+1))
	if err != nil {
		s.failf(ConfigFile, "%v", err)
		return
	}
	cfg, err := Parse(filepath.Join(s.r.path, s.model.Name, ConfigFile), src)
	ps, _ := errors.AsType[Problems](err)
	for _, p := range ps {
		p.Model = s.model.Name
		s.problems = append(s.problems, p)
	}
	if cfg != nil {
		s.use(cfg, ConfigFile)
	}
}

func (s *scan) use(cfg *Config, file string) {
	if cfg.Name != "" && cfg.Name != s.model.Name {
		s.failf(file, "name is %q, but the model's folder is called %q: they must be equal", cfg.Name, s.model.Name)
	}
	cfg.Name = s.model.Name
	s.model.Config = cfg
}

// versionNumber reads the name of a version's folder.
func versionNumber(name string) (int64, bool) {
	n, err := strconv.ParseInt(name, 10, 64)
	return n, err == nil && n > 0 && name[0] != '0' && name[0] != '+'
}

func (s *scan) versions() {
	entries, err := fs.ReadDir(s.root.FS(), s.model.Name)
	if err != nil {
		s.failf("", "%v", err)
		return
	}
	var found []int64
	for _, e := range entries {
		if n, ok := versionNumber(e.Name()); ok {
			found = append(found, n)
		}
	}
	slices.Sort(found)
	if len(found) == 0 {
		s.failf("", "it has no version: expected %s", filepath.Join(s.r.path, s.model.Name, "1", ModelFile))
		return
	}
	for _, n := range s.selected(found) {
		s.version(n)
	}
}

// selected applies the version policy.
func (s *scan) selected(found []int64) []int64 {
	switch p := s.model.Config.VersionPolicy; {
	case p.All != nil:
		return found
	case p.Specific != nil:
		var picked []int64
		for _, n := range p.Specific.Versions {
			if !slices.Contains(found, n) {
				s.failf("", "version_policy asks for version %d; there are %v", n, found)
			} else if !slices.Contains(picked, n) {
				picked = append(picked, n)
			}
		}
		if len(p.Specific.Versions) == 0 {
			s.failf(ConfigFile, "version_policy.specific lists no versions")
		}
		slices.Sort(picked)
		return picked
	case p.Latest != nil:
		return found[max(0, len(found)-max(1, p.Latest.NumVersions)):]
	}
	return found[len(found)-1:]
}

// version finds a version's model file.
func (s *scan) version(n int64) {
	dir := strconv.FormatInt(n, 10)
	name := s.model.Config.DefaultModelFilename
	if name == "" && isCheckpoint(s.root.FS(), path.Join(s.model.Name, dir)) {
		s.model.Versions = append(s.model.Versions, Version{n, filepath.Join(s.r.path, s.model.Name, dir)})
		return
	}
	f, err := s.open(filepath.Join(dir, cmp.Or(name, ModelFile)))
	if name == "" && errors.Is(err, fs.ErrNotExist) {
		name = LanguageFile
		f, err = s.open(filepath.Join(dir, name))
	}
	name = cmp.Or(name, ModelFile)
	if errors.Is(err, fs.ErrNotExist) {
		s.failf("", "version %s has no %s; its folder has %s", dir, cmp.Or(s.model.Config.DefaultModelFilename, ModelFile), s.listing(dir))
		return
	}
	if err != nil {
		s.failf(filepath.Join(dir, name), "%v", err)
		return
	}
	f.Close()
	s.model.Versions = append(s.model.Versions, Version{n, filepath.Join(s.r.path, s.model.Name, dir, name)})
}

func (s *scan) listing(dir string) string {
	entries, err := fs.ReadDir(s.root.FS(), path.Join(s.model.Name, dir))
	if err != nil || len(entries) == 0 {
		return "nothing"
	}
	var names []string
	for _, e := range entries[:min(len(entries), 8)] {
		names = append(names, strconv.Quote(e.Name()))
	}
	if len(entries) > 8 {
		names = append(names, fmt.Sprintf("and %d more", len(entries)-8))
	}
	return strings.Join(names, ", ")
}

// maxLabels bounds a file of labels.
const maxLabels = 1 << 20

func (s *scan) labels() {
	for _, o := range s.model.Config.Output {
		if o.LabelFilename == "" {
			continue
		}
		labels, err := s.readLabels(o.LabelFilename)
		if err != nil {
			s.failf(o.LabelFilename, "labels of output %q: %v", o.Name, err)
			continue
		}
		if s.model.Config.Labels == nil {
			s.model.Config.Labels = map[string][]string{}
		}
		s.model.Config.Labels[o.Name] = labels
	}
}

// readLabels reads a label per line.
func (s *scan) readLabels(file string) ([]string, error) {
	f, err := s.open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var labels []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if labels = append(labels, strings.TrimRight(lines.Text(), "\r")); len(labels) > maxLabels {
			return nil, fmt.Errorf("it has more than %d lines", maxLabels)
		}
	}
	return labels, lines.Err()
}
