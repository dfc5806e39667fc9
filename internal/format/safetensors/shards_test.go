package safetensors

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
)

const (
	shard1 = "model-00001-of-00002.safetensors"
	shard2 = "model-00002-of-00002.safetensors"
	index  = `{"metadata":{"total_size":8,"more":[1,{"x":null}]},"weight_map":{"a":"` + shard1 + `","c":"` + shard2 + `","b":"` + shard1 + `"}}`
)

func folder(t *testing.T, change func(map[string]string)) string {
	t.Helper()
	files := map[string]string{
		indexName: index,
		shard1:    string(write(t, map[string]string{"format": "pt"}, tensor("a", dtype.Int8, 3), tensor("b", dtype.Float32, 1))),
		shard2:    string(write(t, map[string]string{"format": "pt", "x": "y"}, tensor("c", dtype.Int8, 1))),
	}
	if change != nil {
		change(files)
	}
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestShards(t *testing.T) {
	dir := folder(t, nil)
	for _, path := range []string{dir, filepath.Join(dir, indexName)} {
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(f.Tensors) != 3 || !f.Has("a") || !f.Has("b") || !f.Has("c") || f.Metadata["x"] != "y" || f.Metadata["format"] != "pt" {
			t.Errorf("%v, %v", f.Tensors, f.Metadata)
		}
		if x, err := f.Tensor("c"); err != nil || len(x.Data) != 1 || x.Data[0] != 1 {
			t.Error(x, err)
		}
		f.Release()
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestFolderOfOneFile(t *testing.T) {
	dir := folder(t, func(m map[string]string) {
		m[singleName] = m[shard2]
		delete(m, indexName)
	})
	f, err := Open(dir)
	if err != nil || len(f.Tensors) != 1 {
		t.Fatal(f, err)
	}
	f.Close()
}

// A download cache keeps the files elsewhere and links to them.
func TestLinksAreFollowed(t *testing.T) {
	dir, links := folder(t, nil), t.TempDir()
	for _, name := range []string{indexName, shard1, shard2} {
		if err := os.Symlink(filepath.Join(dir, name), filepath.Join(links, name)); err != nil {
			t.Skip("no symbolic links here: ", err)
		}
	}
	f, err := Open(links)
	if err != nil || len(f.Tensors) != 3 {
		t.Fatal(f, err)
	}
	f.Close()
}

func TestShardsRefuse(t *testing.T) {
	to := func(name string) func(map[string]string) {
		return func(m map[string]string) { m[indexName] = strings.Replace(index, shard2, name, 1) }
	}
	text := func(s string) func(map[string]string) {
		return func(m map[string]string) { m[indexName] = s }
	}
	for name, c := range map[string]struct {
		change func(map[string]string)
		err    string
	}{
		"nothing":        {func(m map[string]string) { delete(m, indexName) }, "has no weights: expected model.safetensors or"},
		"missing":        {func(m map[string]string) { delete(m, shard2) }, shard2},
		"damaged":        {func(m map[string]string) { m[shard2] = m[shard2][:20] }, shard2 + ": the header has"},
		"up":             {to("../x.safetensors"), `weight_map names "../x.safetensors", expected files NAME.safetensors in the index's folder`},
		"absolute":       {to("/x.safetensors"), "in the index's folder"},
		"below":          {to("x/y.safetensors"), "in the index's folder"},
		"backslash":      {to(`x\\y.safetensors`), "in the index's folder"},
		"no safetensors": {to("pytorch_model.bin"), "in the index's folder"},
		"empty name":     {to(""), "in the index's folder"},
		"other place":    {func(m map[string]string) { m[indexName] = strings.Replace(index, `"b":"`+shard1, `"b":"`+shard2, 1) }, shard1 + ` has tensor "b", which by the index it has not`},
		"lacks":          {func(m map[string]string) { m[shard2] = string(write(t, nil)) }, `tensor "c" is not in ` + shard2},
		"unlisted":       {func(m map[string]string) { m[indexName] = strings.Replace(index, `,"b":"`+shard1+`"`, "", 1) }, `has tensor "b"`},
		"metadata": {func(m map[string]string) {
			m[shard2] = string(write(t, map[string]string{"format": "tf"}, tensor("c", dtype.Int8, 1)))
		}, `"tf" as "format" in its metadata, an earlier shard "pt"`},
		"twice":     {text(`{"weight_map":{"a":"x.safetensors","a":"y.safetensors"}}`), `"a" occurs twice`},
		"field":     {text(`{"weights":{}}`), `"weights": this field is not known`},
		"no map":    {text(`{"metadata":{}}`), "weight_map names no tensor"},
		"value":     {text(`{"weight_map":{"a":1}}`), "found 1, expected a string"},
		"not JSON":  {text(`weights`), "invalid character"},
		"cut":       {text(index[:60]), "unexpected EOF"},
		"behind":    {text(index + "1"), "found 1 after the JSON"},
		"not UTF-8": {text("{\"\xff\":1}"), "not UTF-8"},
	} {
		if f, err := Open(folder(t, c.change)); err == nil || f != nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: got %v, expected %q", name, err, c.err)
		}
	}
}

func FuzzIndex(f *testing.F) {
	for _, s := range []string{index, `{"weight_map":{"a":"x.safetensors"}}`, `{"metadata":[[[[1e9]]]],"weight_map":{}}`, "", "{", `{"weight_map":{"a":"../x.safetensors"}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		shards, err := parseIndex(b)
		for _, name := range shards {
			if err == nil && filepath.Base(name) != name {
				t.Errorf("%q is not in the folder", name)
			}
		}
	})
}
