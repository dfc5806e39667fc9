package repo

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tree writes files below a new folder; a content of "-> X" makes a symbolic link.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			err = os.Symlink(target, p)
		} else {
			err = os.WriteFile(p, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func open(t *testing.T, path string) *Repository {
	t.Helper()
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestModelsAndVersions(t *testing.T) {
	dir := tree(t, map[string]string{
		"plain/1/model.onnx":        "x",
		"plain/3/model.onnx":        "x",
		"plain/10/model.onnx":       "x",
		"plain/01/model.onnx":       "x",
		"all/config.pbtxt":          `version_policy { all {} }`,
		"all/1/model.onnx":          "x",
		"all/2/model.onnx":          "x",
		"two/config.pbtxt":          `version_policy { latest { num_versions: 2 } }`,
		"two/1/model.onnx":          "x",
		"two/2/model.onnx":          "x",
		"two/3/model.onnx":          "x",
		"named/config.pbtxt":        `name: "named" version_policy { specific { versions: [4] } } default_model_filename: "net.onnx" output { name: "y" label_filename: "l.txt" }`,
		"named/4/net.onnx":          "x",
		"named/l.txt":               "cat\r\ndog\n",
		".git/config":               "",
		"README":                    "",
		"linked/1/model.onnx":       "-> ../../plain/1/model.onnx",
		"..data/should/not/be/seen": "",
	})
	r := open(t, dir)
	names, err := r.Names()
	if err != nil || !slices.Equal(names, []string{"all", "linked", "named", "plain", "two"}) {
		t.Fatalf("names %q, %v", names, err)
	}
	want := map[string][]int64{"plain": {10}, "all": {1, 2}, "two": {2, 3}, "named": {4}, "linked": {1}}
	for name, versions := range want {
		m, err := r.Model(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []int64
		for _, v := range m.Versions {
			got = append(got, v.Number)
		}
		if !slices.Equal(got, versions) {
			t.Errorf("%s: versions %v, expected %v", name, got, versions)
		}
	}
	m, _ := r.Model("named")
	if p := filepath.Join(dir, "named/4/net.onnx"); m.Versions[0].Path != p || !slices.Equal(m.Config.Labels["y"], []string{"cat", "dog"}) {
		t.Errorf("got %+v", m)
	}
	if _, err := r.Model("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a model that is not there: %v", err)
	}
}

func TestFaultyModels(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	dir := tree(t, map[string]string{
		"ok/1/model.onnx":        "x",
		"empty/README":           "x",
		"other/1/model.plan":     "x",
		"other/1/notes.txt":      "x",
		"out/1/model.onnx":       "-> " + secret,
		"up/1/model.onnx":        "-> ../../../" + filepath.Base(filepath.Dir(secret)) + "/secret",
		"cfg/config.pbtxt":       "-> " + secret,
		"cfg/1/model.onnx":       "x",
		"wrong/config.pbtxt":     "name: \"right\"\nresponse_cache { enable: true }",
		"wrong/1/model.onnx":     "x",
		"missing/config.pbtxt":   `version_policy { specific { versions: [1, 7] } }`,
		"missing/1/model.onnx":   "x",
		"labels/config.pbtxt":    `output { name: "y" label_filename: "none.txt" }`,
		"labels/1/model.onnx":    "x",
		"bad name/1/model.onnx":  "x",
		"folder/1/model.onnx/xx": "x",
	})
	tests := map[string]string{
		"empty":    "model empty: it has no version: expected DIR/empty/1/model.onnx",
		"other":    `model other: version 1 has no model.onnx; its folder has "model.plan", "notes.txt"`,
		"out":      "DIR/out/1/model.onnx: statat out/1/model.onnx: path escapes from parent",
		"up":       "DIR/up/1/model.onnx: statat up/1/model.onnx: path escapes from parent",
		"cfg":      "DIR/cfg/config.pbtxt: statat cfg/config.pbtxt: path escapes from parent",
		"wrong":    "DIR/wrong/config.pbtxt:2:18: response_cache.enable: not supported: there is no response cache\nDIR/wrong/config.pbtxt: name is \"right\", but the model's folder is called \"wrong\": they must be equal",
		"missing":  "model missing: version_policy asks for version 7; there are [1]",
		"labels":   "DIR/labels/none.txt: labels of output \"y\": statat labels/none.txt: no such file or directory",
		"bad name": "DIR: model name \"bad name\": expected 1 to 128 letters, digits, '.', '_' or '-', not beginning with '.'; rename the file or folder",
		"folder":   "DIR/folder/1/model.onnx: it is not a regular file",
		"../x":     "DIR: model name \"../x\": expected 1 to 128 letters, digits, '.', '_' or '-', not beginning with '.'; rename the file or folder",
	}
	r := open(t, dir)
	for name, want := range tests {
		_, err := r.Model(name)
		if err == nil || strings.ReplaceAll(err.Error(), dir, "DIR") != want {
			t.Errorf("%s\n got %v\nwant %s", name, err, want)
		}
	}
	models, problems, err := r.DryRun()
	if err != nil || len(models) != 11 || len(problems) != len(tests) { // "wrong" has two, and ../x is not here
		t.Errorf("dry run of %q: %v\n%v", models, err, problems)
	}
	unsupported := 0
	for _, p := range problems {
		if p.Model == "" {
			t.Errorf("no model in %+v", p)
		}
		if p.Unsupported {
			unsupported++
		}
	}
	if unsupported != 1 {
		t.Errorf("%d unsupported fields, expected 1", unsupported)
	}
}

func TestSingleFile(t *testing.T) {
	dir := tree(t, map[string]string{"squeezenet-v1.1.onnx": "x", "bad name.onnx": "x", "m/config.pbtxt": "", "v/1/model.onnx": "x"})
	r := open(t, filepath.Join(dir, "squeezenet-v1.1.onnx"))
	names, err := r.Names()
	if err != nil || !slices.Equal(names, []string{"squeezenet-v1.1"}) {
		t.Errorf("%q %v", names, err)
	}
	m, err := r.Model("squeezenet-v1.1")
	if err != nil || len(m.Versions) != 1 || m.Versions[0].Number != 1 {
		t.Errorf("%+v %v", m, err)
	}
	if _, err := r.Model("squeezenet"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("another name: %v", err)
	}
	saved := tree(t, map[string]string{"saved_model.pb": "x", "variables/variables.index": "x"})
	if r, err := Open(saved); err != nil || !r.file {
		t.Errorf("a SavedModel is one model, not a repository: %+v %v", r, err)
	}
	bare := tree(t, map[string]string{"a.onnx": "x"})
	for path, want := range map[string]string{
		filepath.Join(dir, "bad name.onnx"): "rename the file",
		filepath.Join(dir, "none"):          "no such file",
		filepath.Join(dir, "m"):             "give the folder above it",
		filepath.Join(dir, "v"):             "give the folder above it",
		bare:                                "give the file itself, or move it to a/1/model.onnx",
	} {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, expected %q", path, err, want)
		}
	}
}

// Language models are GGUF files, and folders of the Hugging Face Hub.
func TestLanguageModels(t *testing.T) {
	dir := tree(t, map[string]string{
		"small/1/model.gguf":           "x",
		"hub/2/config.json":            "{}",
		"hub/2/model.safetensors":      "x",
		"both/1/model.gguf":            "x",
		"both/1/model.onnx":            "x",
		"Qwen2.5-0.5B/config.json":     "{}",
		"Qwen2.5-0.5B/a-1.safetensors": "x",
	})
	r := open(t, dir)
	for name, want := range map[string]string{"small": "1/model.gguf", "hub": "2", "both": "1/model.onnx"} {
		m, err := r.Model(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Versions[0].Path; got != filepath.Join(dir, name, filepath.FromSlash(want)) {
			t.Errorf("%s is %s, expected %s", name, got, want)
		}
	}
	single := open(t, filepath.Join(dir, "Qwen2.5-0.5B"))
	if names, err := single.Names(); err != nil || !slices.Equal(names, []string{"Qwen2.5-0.5B"}) {
		t.Errorf("the folder is %v, %v", names, err)
	}
}
