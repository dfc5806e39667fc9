package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/format/gguf"
)

// chatModel is the demo's.
var chatModel = filepath.Join("..", "demo", "models", "tiny-chat-draft.gguf")

// quantizeTo runs the command and gives its status and what it said.
func quantizeTo(t *testing.T, out string, args ...string) (status int, said string) {
	t.Helper()
	var stdout, stderr output
	status = Main(append([]string{"quantize", chatModel, "-o", out}, args...), strings.NewReader(""), &stdout, &stderr)
	return status, stdout.String() + stderr.String()
}

// A language model becomes a GGUF file by every method, and nothing else is left.
func TestQuantizeLanguage(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.txt")
	if err := os.WriteFile(text, []byte(strings.Repeat("What is the opposite of hot? It is cold. ", 30)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		file string
		args []string
	}{
		{"q4_0", []string{"--type", "Q4_0"}},
		{"measured", []string{"--type", "IQ4_NL", "--data", text, "--max-tokens", "64"}},
		{"gptq", []string{"--method", "gptq", "--data", text, "--max-tokens", "64"}},
		{"awq", []string{"--method", "awq", "--type", "Q4_1", "--data", text, "--max-tokens", "64"}},
		{"hqq", []string{"--method", "hqq"}},
		{"floats", []string{"--type", "F16", "--bits", "4", "--group", "16"}},
	} {
		out := filepath.Join(dir, c.file+".gguf")
		if status, said := quantizeTo(t, out, append(c.args, "--allow-requantize", "--threads", "1")...); status != exitOK {
			t.Errorf("%v: status %d, %s", c.args, status, said)
			continue
		}
		f, err := gguf.Open(out)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 7 {
		t.Errorf("the folder holds %v, %v", list, err)
	}
}

// What is wrong is said before anything is computed.
func TestQuantizeLanguageRefuses(t *testing.T) {
	out, binary := filepath.Join(t.TempDir(), "out.gguf"), filepath.Join(t.TempDir(), "text.txt")
	if err := os.WriteFile(binary, []byte("\x00\x01text"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(t.TempDir(), "words.txt")
	if err := os.WriteFile(text, []byte("some words"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"chunks of 1 tokens: expected 2 to":      {"--method", "gptq", "--allow-requantize", "--data", text, "--max-tokens", "1"},
		"chunks of 99999 tokens: expected 2 to":  {"--method", "gptq", "--allow-requantize", "--data", text, "--max-tokens", "99999"},
		"--allow-requantize":                     {"--type", "Q4_0"},
		"give --data":                            {"--method", "gptq"},
		"expected one of Q4_K_M":                 {"--type", "Q9"},
		"models of tensors":                      {"--method", "dynamic"},
		"as a folder":                            {"--format", "gptq", "-o", filepath.Join(t.TempDir(), "out")},
		"is read too":                            {"-o", chatModel},
		"PATTERN=TYPE":                           {"--tensor-type", "q4_0"},
		"byte 0 is 0x00: expected text in UTF-8": {"--method", "gptq", "--allow-requantize", "--data", binary},
		"expected fp32 or bf16":                  {"--method", "gptq", "--data", binary, "--precision", "fp16"},
		"it needs --data":                        {"--precision", "bf16"},
		"expected a number above 0":              {"--method", "gptq", "--damp", "nan"},
		"no such file or directory":              {"-o", filepath.Join(out, "nowhere", "out.gguf")},
	} {
		if status, said := quantizeTo(t, out, args...); status == exitOK || !strings.Contains(said, want) {
			t.Errorf("%v: status %d, %q, expected %q", args, status, said, want)
		}
	}
	if _, err := os.Stat(out); !os.IsNotExist(err) {
		t.Errorf("a file is left: %v", err)
	}
}

// A pattern that no tensor matches is told.
func TestQuantizeLanguageWarnsOfPatterns(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.gguf")
	status, said := quantizeTo(t, out, "--type", "Q4_0", "--allow-requantize", "--tensor-type", "nonsense=q6_k", "--tensor-type", "ffn_up=q8_0")
	if status != exitOK || strings.Count(said, "warning: no tensor is called") != 1 || !strings.Contains(said, "called nonsense") {
		t.Errorf("status %d, %q", status, said)
	}
}
