// Package conformance runs suites of models with expected outputs: ONNX
// backend tests, models with goldens beside them, and folders of trained models
// with a meta.json. Anything that runs a model can be measured by it.
package conformance

import (
	"archive/zip"
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// source is a folder or a zip of cases, with the manifest beside it, if any.
type source struct {
	fsys     fs.FS
	close    func() error
	manifest map[string]entry
}

// entry is what a manifest says of a case.
type entry struct {
	category string
	diff     float64 // how far a peer's optimized run is from its unoptimized one
}

func open(file string) (*source, error) {
	st, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	s := &source{close: func() error { return nil }}
	dir := file
	if st.IsDir() {
		s.fsys = os.DirFS(file)
	} else {
		z, err := zip.OpenReader(file)
		if err != nil {
			return nil, fmt.Errorf("%s: expected a folder or a zip of cases: %w", file, err)
		}
		s.fsys, s.close = z, z.Close
		dir = filepath.Dir(file)
	}
	s.manifest, err = readManifest(filepath.Join(dir, "manifest.tsv"), filepath.Base(file))
	return s, err
}

// readManifest reads a manifest.tsv; a missing one is empty. Its columns are
// found by their names: zip, suite, dir, category, or path, max_abs_diff_ort_optimized.
func readManifest(file, zipName string) (map[string]entry, error) {
	f, err := os.Open(file)
	if err != nil {
		if os.IsNotExist(err) {
			return nil, nil
		}
		return nil, err
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	var head []string
	m := map[string]entry{}
	for sc.Scan() {
		row := strings.Split(sc.Text(), "\t")
		if head == nil {
			head = row
			continue
		}
		get := func(col string) string {
			if i := slices.Index(head, col); i >= 0 && i < len(row) {
				return row[i]
			}
			return ""
		}
		if z := get("zip"); z != "" && z != zipName && strings.HasSuffix(zipName, ".zip") {
			continue
		}
		name := get("path")
		if name == "" {
			name = path.Join(get("suite"), get("dir"))
		}
		diff, _ := strconv.ParseFloat(get("max_abs_diff_ort_optimized"), 64)
		m[name] = entry{category: get("category"), diff: diff}
	}
	return m, sc.Err()
}
