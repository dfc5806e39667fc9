package tune

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var host = Host{CPU: "Z80", ISA: "generic", Program: "v1"}

// sample is a cache with all that a file can hold.
func sample(t testing.TB) *Cache {
	t.Helper()
	c := NewCache(host)
	for _, l := range []Layer{
		{Layer: "MatMul(float32[2,3]) <b>", Threads: 2, Choices: Choices{"tile-rows": "7", "split": "rows"}, Micros: 1.5, DefaultUS: 2},
		{Layer: "MatMul(float32[2,3]) <b>", Threads: 1, Choices: Choices{"tile-rows": "14"}},
	} {
		if err := c.addLayer(&l); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.addModel(&Model{Model: "abc", Name: "m.onnx", Layers: []Exact{{"Conv", Choices{"algorithm": "winograd"}}}}); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCacheIsWrittenAndRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "tuning.json")
	if err := sample(t).Save(path); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path, host)
	if err != nil {
		t.Fatal(err)
	}
	want, err := sample(t).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Bytes()
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("written, read and written: %v\n%s\nwant\n%s", err, got, want)
	}
	if !strings.Contains(string(got), "<b>") {
		t.Error("a layer is not written as it is")
	}
	if c.Layers() != 2 || c.Models() != 1 {
		t.Errorf("%d layers, %d models", c.Layers(), c.Models())
	}
}

func TestOtherHostsAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tuning.json")
	if err := sample(t).Save(path); err != nil {
		t.Fatal(err)
	}
	for want, h := range map[string]Host{
		`processor "Z80"`:        {"6502", host.ISA, host.Program},
		"kernels for generic":    {host.CPU, "avx2", host.Program},
		"measured by salver v1,": {host.CPU, host.ISA, "v2"},
	} {
		_, err := Load(path, h)
		if other := (*OtherHostError)(nil); !errors.As(err, &other) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want a refusal with %q", h, err, want)
		}
		if c, err := LoadOrNew(path, h); err != nil || c.Layers() != 0 || c.Host != h {
			t.Errorf("%v: a new cache has %v, %v", h, c, err)
		}
	}
	if _, err := Load(path+"x", host); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestParseIsStrict(t *testing.T) {
	good, err := sample(t).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	text := string(good)
	for want, bad := range map[string]string{
		"unknown field":      strings.Replace(text, `"us"`, `"ns"`, 1),
		"expected \"salver":  strings.Replace(text, "tuning 1", "tuning 2", 1),
		"closing brace":      text + "{}",
		"threads is 0":       strings.Replace(text, `"threads": 1`, `"threads": 0`, 1),
		"with 2 threads":     strings.Replace(text, `"threads": 1`, `"threads": 2`, 1),
		"no negative time":   strings.Replace(text, `"us": 1.5`, `"us": -1.5`, 1),
		"not a tuning cache": text[:len(text)/2],
		"layer has 0 bytes":  strings.Replace(text, `"layer": "Conv"`, `"layer": ""`, 1),
		"expected names of":  strings.Replace(text, `"winograd"`, `""`, 1),
		"expected 1 to":      strings.Replace(text, `"model": "abc"`, `"model": ""`, 1),
	} {
		if _, err := Parse([]byte(bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
}

// FuzzParse: whatever is read is written and read the same.
func FuzzParse(f *testing.F) {
	good, err := sample(f).Bytes()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"format": "salver tuning 1", "cpu": "", "isa": "", "program": "", "layers": [], "models": [{"model": "a", "name": "", "layers": null}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse(b)
		if err != nil {
			return
		}
		once, err := c.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(once)
		if err != nil {
			t.Fatalf("%v\n%s", err, once)
		}
		if twice, err := again.Bytes(); err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%v\n%s\n%s", err, once, twice)
		}
	})
}

func TestDefaultFile(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", dir)
	path, err := DefaultFile()
	if err != nil {
		t.Skip(err)
	}
	if filepath.Base(path) != "tuning.json" || os.Getenv("HOME") == "" && !strings.HasPrefix(path, dir) {
		t.Error(path)
	}
	h := ThisHost()
	if h.CPU == "" || h.ISA == "" || h.Program == "" {
		t.Errorf("%+v", h)
	}
}
