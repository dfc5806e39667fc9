package cli

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/testkit"
)

// stories is a small language model.
func stories(t *testing.T) string {
	t.Helper()
	return testkit.Assets(t, "models/stories260K/stories260K-f32.gguf")
}

// salver runs a command line and gives its status and what it printed.
func salver(in string, args ...string) (status int, out, errs string) {
	var o, e bytes.Buffer
	status = Main(args, strings.NewReader(in), &o, &e)
	return status, o.String(), e.String()
}

func TestRunLanguageModel(t *testing.T) {
	m := stories(t)
	const want = ", there was a little girl named Lily."
	for _, args := range [][]string{{"run", m, "Once upon a time", "--max-tokens", "20"}, {"run", m, "--max-tokens", "20", "--raw"}} {
		status, out, errs := salver("Once upon a time\n", args...)
		if status != exitOK || !strings.HasPrefix(out, want) || !strings.Contains(errs, "first token after") {
			t.Errorf("%v: status %d, %q, %q", args, status, out, errs)
		}
	}
	status, out, errs := salver("", "run", m, "Once upon a time", "--max-tokens", "20", "--json")
	var report answerReport
	if err := json.Unmarshal([]byte(out), &report); err != nil || status != exitOK || errs != "" {
		t.Errorf("--json: status %d, %v, %q, %q", status, err, out, errs)
	}
	if !strings.HasPrefix(report.Text, want) || report.Finish != "length" || report.PromptTokens != 5 || report.Tokens != 20 || report.LatencyMS < report.FirstTokenMS {
		t.Errorf("--json: %+v", report)
	}
	_, first, _ := salver("", "run", m, "The", "--max-tokens", "30", "--temperature", "1", "--seed", "7")
	_, again, _ := salver("", "run", m, "The", "--max-tokens", "30", "--temperature", "1", "--seed", "7", "--threads", "1")
	_, other, _ := salver("", "run", m, "The", "--max-tokens", "30", "--temperature", "1", "--seed", "8")
	if first != again || first == other {
		t.Errorf("seeds: %q, %q, %q", first, again, other)
	}
}

func TestLanguageModelMisuse(t *testing.T) {
	m := stories(t)
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"run", m, "a", "--input", "x=x.npy"}, exitMisuse, "not for language models"},
		{[]string{"run", m, "a", "--kv-type", "f8"}, exitMisuse, "f16 or f32"},
		{[]string{"run", m, "a", "--precision", "auto"}, exitMisuse, "fp32 or bf16"},
		{[]string{"bench", m, "--precision", "auto"}, exitMisuse, "fp32 or bf16"},
		{[]string{"run", m, "a", "--system", "b"}, exitFailure, "chat template"},
		{[]string{"run", m, "a", "--max-tokens", "100000"}, exitFailure, "context"},
		{[]string{"run", m, "\xff"}, exitFailure, "UTF-8"},
		{[]string{"run", m, "a", "--max-tokens", "-5"}, exitMisuse, "--max-tokens -5: expected 0 or more"},
		{[]string{"run", m, "a", "--temperature", "-1"}, exitMisuse, "--temperature -1: expected 0 to 100"},
		{[]string{"run", m, "a", "--temperature", "NaN"}, exitMisuse, "--temperature NaN: expected 0 to 100"},
		{[]string{"run", m, "a", "--top-p", "1.5"}, exitMisuse, "--top-p 1.5: expected 0 to 1"},
		{[]string{"run", m, "a", "--top-k", "-1"}, exitMisuse, "--top-k -1: expected 0 or more"},
		{[]string{"bench", m, "--prompt", "9999"}, exitMisuse, "--prompt 9999: expected"},
		{[]string{"bench", m, "--gen", "9999"}, exitMisuse, "--gen 9999: expected"},
		{[]string{"bench", m, "--concurrency", "0"}, exitMisuse, "concurrency"},
		{[]string{"perplexity", m, m, "--window", "100000"}, exitMisuse, "window"},
		{[]string{"perplexity", m, filepath.Join(t.TempDir(), "none")}, exitFailure, "no such file"},
		{[]string{"tokenize", "none.gguf", "a"}, exitFailure, "no such file"},
		{[]string{"run", "none.gguf", "a"}, exitFailure, "no such file"},
		{[]string{"run", m, "a", "--resize", "224"}, exitMisuse, "not for language models"},
	} {
		status, _, errs := salver("", c.args...)
		if status != c.status || !strings.Contains(errs, c.want) {
			t.Errorf("%v: status %d, %q; expected %d with %q", c.args[1:], status, errs, c.status, c.want)
		}
	}
}

// A template of the user's takes the place of the model's.
func TestChatTemplateFlag(t *testing.T) {
	m := stories(t)
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "template.jinja")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	_, plain, _ := salver("", "run", m, "Once upon a time", "--max-tokens", "9", "--raw")
	status, out, errs := salver("", "run", m, "Once", "--max-tokens", "9", "--system", "time", "--chat-template", file("{{ bos_token }}{{ messages[1].content }} upon a {{ messages[0].content }}"))
	if status != exitOK || out != plain {
		t.Errorf("status %d, %q, %q; expected %q", status, out, errs, plain)
	}
	for text, want := range map[string]string{"{% if %}": "template.jinja: chat template, line 1", " ": "no chat template", strings.Repeat("x", 2<<20): "more than 1048576 bytes"} {
		if status, _, errs := salver("", "run", m, "Once", "--chat-template", file(text)); status != exitFailure || !strings.Contains(errs, want) {
			t.Errorf("%.20q: status %d, %q; expected %q", text, status, errs, want)
		}
	}
	if status, _, errs := salver("", "serve", m, "--chat-template", "nothing.jinja"); status != exitFailure || !strings.Contains(errs, "--chat-template: open nothing.jinja") {
		t.Errorf("status %d, %q", status, errs)
	}
}

func TestTokenize(t *testing.T) {
	status, out, errs := salver("", "tokenize", stories(t), "--ids", "Hello world")
	if status != exitOK || out != "1 346 306 414 263 304 341\n" {
		t.Errorf("status %d, %q, %q", status, out, errs)
	}
}

func TestPerplexity(t *testing.T) {
	var goldens []struct {
		Text string
		PPL  float64
	}
	b, err := os.ReadFile(testkit.Assets(t, "models/stories260K/golden_perplexity.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &goldens); err != nil {
		t.Fatal(err)
	}
	for _, g := range goldens {
		text := filepath.Join(t.TempDir(), "text")
		if err := os.WriteFile(text, []byte(g.Text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, out, errs := salver("", "perplexity", stories(t), text, "--json")
		var r struct{ Perplexity float64 }
		if err := json.Unmarshal([]byte(out), &r); err != nil || math.Abs(r.Perplexity-g.PPL) > 1e-3*g.PPL {
			t.Errorf("%q, %q: expected %v", out, errs, g.PPL)
		}
		// Short windows see less, and those that overlap more than others.
		var apart, overlapping struct{ Perplexity float64 }
		_, out, _ = salver("", "perplexity", stories(t), text, "--json", "--window", "16")
		_, more, _ := salver("", "perplexity", stories(t), text, "--json", "--window", "16", "--stride", "4")
		if json.Unmarshal([]byte(out), &apart) != nil || json.Unmarshal([]byte(more), &overlapping) != nil || !(r.Perplexity < overlapping.Perplexity && overlapping.Perplexity < apart.Perplexity) {
			t.Errorf("perplexity %v, with short windows %v, overlapping %v", r.Perplexity, apart.Perplexity, overlapping.Perplexity)
		}
	}
}

func TestBenchLanguageModel(t *testing.T) {
	status, out, errs := salver("", "bench", stories(t), "--prompt", "20", "--gen", "10", "--concurrency", "1,4", "--shared-prefix", "64", "--rounds", "1", "--json")
	var r languageResult
	if err := json.Unmarshal([]byte(out), &r); status != exitOK || err != nil {
		t.Fatalf("status %d, %v, %q, %q", status, err, out, errs)
	}
	if !(r.PrefillTokS > 0 && r.DecodeTokS > 0 && r.DecodeBytesS > 0 && r.ReadBytesS > 0) || len(r.Streams) != 2 || r.Streams[1].N != 4 || !(r.Streams[1].GenTokS > 0) {
		t.Errorf("%+v", r)
	}
	if s := r.Streams[1]; s.Prefix != 64 || !(s.PrefixFoundP50MS > 0 && s.PrefixColdP50MS > 0) {
		t.Errorf("of prompts that begin alike: %+v", s)
	}
	if status, _, errs := salver("", "bench", stories(t), "--shared-prefix", "600", "--prompt", "20"); status != exitMisuse || !strings.Contains(errs, "--shared-prefix 600") {
		t.Errorf("status %d, %q", status, errs)
	}
}

func TestTalk(t *testing.T) {
	// Standard input that is no terminal is a prompt; commands are for terminals.
	m := &talk{flags: &samplingFlags{}, err: &bytes.Buffer{}}
	if err := m.command("/nonsense"); err == nil || !strings.Contains(err.Error(), "/help") {
		t.Error(err)
	}
	if err := m.command("/system be brief"); err == nil {
		t.Error("a system message without a template")
	}
	if err := m.command("/save"); err == nil {
		t.Error("/save without a name")
	}
}
