package token

import (
	"path/filepath"
	"testing"

	"github.com/salver-ml/salver/internal/format/gguf"
	"github.com/salver-ml/salver/internal/testkit"
)

func BenchmarkEncode(b *testing.B) {
	text := slurp(b, testkit.Assets(b, "text/tinyshakespeare-600k.txt"))
	dir := testkit.Assets(b, "tokenizers/gguf-vocab")
	for _, name := range []string{"gpt-2", "llama-bpe", "qwen2", "llama-spm", "gemma-4", "deepseek-llm", "bert-bge"} {
		b.Run(name, func(b *testing.B) {
			tok := openGGUF(b, filepath.Join(dir, "ggml-vocab-"+name+".gguf"))
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				tok.Encode(text, EncodeOptions{ParseSpecial: true})
			}
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	dir := testkit.Assets(b, "tokenizers/gguf-vocab")
	for _, name := range []string{"llama-bpe", "qwen2", "llama-spm", "gemma-4"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				openGGUF(b, filepath.Join(dir, "ggml-vocab-"+name+".gguf"))
			}
		})
	}
	b.Run("gemma-4 by scores", func(b *testing.B) { // as SentencePiece has it
		f, err := gguf.Open(filepath.Join(dir, "ggml-vocab-gemma-4.gguf"))
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		scores := make([]float32, len(f.Metadata["tokenizer.ggml.tokens"].([]string)))
		for i := range scores {
			scores[i] = -float32(i)
		}
		f.Metadata["tokenizer.ggml.model"], f.Metadata["tokenizer.ggml.scores"] = "llama", scores
		for b.Loop() {
			if _, err := FromGGUF(f.Metadata); err != nil {
				b.Fatal(err)
			}
		}
	})
}
