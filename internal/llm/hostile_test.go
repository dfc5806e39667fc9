package llm

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/salver-ml/salver/internal/mmap"
	"github.com/salver-ml/salver/internal/testkit"
	"github.com/salver-ml/salver/internal/textgen"
	"github.com/salver-ml/salver/internal/token"
)

// parsed loads a file in memory.
func parsed(file []byte) func(Options) (*Model, error) {
	return func(o Options) (*Model, error) { return Parse(file, o) }
}

// try loads a file that may be broken and generates with it. It must be refused,
// or work: a panic ends the test, a wait or much memory fails it.
func try(t *testing.T, what string, load func(Options) (*Model, error)) error {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := func() error {
		m, err := load(Options{Level: 3})
		if err != nil {
			return err
		}
		defer m.Close()
		m.ChatTemplate()
		m.Tokenizer().Encode("Once upon a time", token.EncodeOptions{AddSpecial: true})
		_, err = m.Generate(ctx, &textgen.Request{Prompt: []int32{1, 2}, MaxTokens: 2, Logprobs: 2, PromptLogprobs: -1}, func(*textgen.Event) error { return nil })
		if ctx.Err() != nil {
			t.Errorf("%s: it takes too long", what)
		}
		return err
	}()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 256<<20 {
		t.Errorf("%s: %d MiB were allocated", what, n>>20)
	}
	if err != nil && strings.Contains(err.Error(), "runtime error") {
		t.Errorf("%s: %v", what, err)
	}
	return err
}

// Bytes of a model's file are changed at random, most of them in what describes
// it. SALVER_MUTATIONS=N tries N files.
func TestBrokenFiles(t *testing.T) {
	n := mutations(t, 60)
	for _, format := range []string{"f32", "q4_0"} {
		whole, err := os.ReadFile(testkit.Assets(t, "models/stories260K/stories260K-"+format+".gguf"))
		if err != nil {
			t.Fatal(err)
		}
		described := bytes.Index(whole, []byte("output_norm")) + 2048
		for seed := range uint64(n) {
			what := format + " seed " + strconv.FormatUint(seed, 10)
			if n > 1000 {
				os.Stderr.WriteString(what + "\n")
			}
			try(t, what, parsed(mutate(whole, described, seed)))
		}
	}
}

// mutations is how many files to try.
func mutations(t *testing.T, usual int) int {
	s := os.Getenv("SALVER_MUTATIONS")
	if s == "" {
		return usual
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The same for the files of a folder, one at a time.
func TestBrokenFolders(t *testing.T) {
	for _, name := range []string{"llama-linear", "gpt2", "gemma3"} {
		dir := readGolden(t, name).folder(t)
		for _, file := range []string{"config.json", "tokenizer.json", "model.safetensors"} {
			path := filepath.Join(dir, file)
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for seed := range uint64(mutations(t, 20)) {
				var b []byte
				if file == "model.safetensors" {
					b = mutate(whole, min(len(whole)-8, 8+int(binary.LittleEndian.Uint64(whole))), seed)
				} else {
					b = mutateJSON(whole, seed)
				}
				if err := os.WriteFile(path, b, 0o644); err != nil {
					t.Fatal(err)
				}
				what := name + "/" + file + " seed " + strconv.FormatUint(seed, 10)
				try(t, what, func(o Options) (*Model, error) { return Load(dir, o) })
			}
			if err := os.WriteFile(path, whole, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// mutateJSON changes numbers to absurd ones, words to others, or cuts something out.
func mutateJSON(whole []byte, seed uint64) []byte {
	rng := rand.New(rand.NewPCG(seed, 2))
	odd := []string{"0", "-1", "1e300", "2147483648", "9223372036854775807", "1e-320", "null", "[]", "{}", `""`, "true", `"llama"`, strings.Repeat("[", 20000)}
	values := regexp.MustCompile(`-?[0-9][0-9.e+-]*|"[^"]*"|true|false|null`).FindAllIndex(whole, -1)
	at := values[rng.IntN(len(values))]
	if rng.IntN(10) == 0 {
		return slices.Concat(whole[:at[0]], whole[min(len(whole), at[1]+rng.IntN(100)):])
	}
	return slices.Concat(whole[:at[0]], []byte(odd[rng.IntN(len(odd))]), whole[at[1]:])
}

func mutate(whole []byte, described int, seed uint64) []byte {
	rng := rand.New(rand.NewPCG(seed, 1))
	b := bytes.Clone(whole)
	switch rng.IntN(8) {
	case 0:
		return b[:rng.IntN(len(b))]
	case 1:
		at := rng.IntN(described)
		return append(b[:at], b[min(len(b), at+1+rng.IntN(64)):]...)
	case 2: // weights
		for range 200 {
			b[described+rng.IntN(len(b)-described)] = byte(rng.Uint32())
		}
		return b
	}
	odd := []uint64{0, 1, 1 << 31, math.MaxUint32, 1 << 40, math.MaxInt64, math.MaxUint64, uint64(rng.IntN(300))}
	for range 1 + rng.IntN(3) {
		at := rng.IntN(min(described, len(b)-8))
		switch rng.IntN(4) {
		case 0:
			b[at] ^= 1 << rng.IntN(8)
		case 1:
			binary.LittleEndian.PutUint32(b[at:], uint32(odd[rng.IntN(len(odd))]))
		case 2:
			binary.LittleEndian.PutUint64(b[at:], odd[rng.IntN(len(odd))])
		default:
			b[at] = byte(rng.Uint32())
		}
	}
	return b
}

// Numbers that would make a model absurd are refused, or mean no harm.
func TestAbsurdHyperparameters(t *testing.T) {
	whole, err := os.ReadFile(testkit.Assets(t, "models/stories260K/stories260K-f32.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key     string
		values  []uint32
		refused bool
	}{
		{"llama.context_length", []uint32{0, 1, 2, 1<<31 - 1, 1 << 31, math.MaxUint32}, true},
		{"llama.context_length", []uint32{17, 1 << 20}, false},
		{"llama.block_count", []uint32{0, 1, 4, 6, 1e6, math.MaxUint32}, true},
		{"llama.attention.head_count", []uint32{0, 1, 3, 1 << 16, math.MaxUint32}, true},
		{"llama.attention.head_count_kv", []uint32{0, 3, 5, 16, math.MaxUint32}, true},
		{"llama.embedding_length", []uint32{0, 1, 63, 1 << 30, math.MaxUint32}, true},
		{"llama.feed_forward_length", []uint32{0, 1, 171, math.MaxUint32}, true},
		{"llama.rope.dimension_count", []uint32{1, 7, 16, math.MaxUint32}, true},
		{"llama.attention.layer_norm_rms_epsilon", []uint32{math.Float32bits(-1), 0x7fc00000, 0x7f800000}, true},
		{"llama.rope.freq_base", []uint32{0, math.Float32bits(-1), 0x7fc00000, 0x7f800000}, true},
		{"tokenizer.ggml.eos_token_id", []uint32{512, math.MaxUint32}, false},
		{"tokenizer.ggml.bos_token_id", []uint32{512, math.MaxUint32}, false},
	} {
		at := bytes.Index(whole, []byte(c.key))
		if at < 0 {
			t.Fatalf("%s is not in the file", c.key)
		}
		for _, v := range c.values {
			b := bytes.Clone(whole)
			binary.LittleEndian.PutUint32(b[at+len(c.key)+4:], v)
			err := try(t, c.key, parsed(b))
			t.Logf("%s = %d: %v", c.key, v, err)
			if c.refused && err == nil {
				t.Errorf("%s = %d is taken", c.key, v)
			}
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	file, err := os.ReadFile(testkit.Assets(t, "models/stories260K/stories260K-f32.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint32(file[bytes.Index(file, []byte("llama.context_length"))+24:], 1<<28)
	for _, c := range []struct {
		o    Options
		says string
	}{
		{Options{CacheBytes: 1 << 44}, "the cache of keys and values needs"},
		{Options{CacheBytes: 64 << 20, MaxMemory: 32 << 20}, "the cache of keys and values needs"},
		{Options{CacheBytes: 16 << 20, MaxMemory: 16<<20 + 64<<10 + int(mmap.InUse())}, "the limit is"},
	} {
		m, err := Parse(file, c.o)
		if err == nil {
			err = m.Warm()
			m.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
}
