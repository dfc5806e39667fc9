package openaiapi

import (
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/salver-ml/salver/internal/rest"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/serve/servetest"
	"github.com/salver-ml/salver/internal/textgen"
)

// python finds an interpreter that has a package: $SALVER_PYTHON, or python3.
func python(t *testing.T, module string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a Python program")
	}
	name := os.Getenv("SALVER_PYTHON")
	if name == "" {
		name = "python3"
	}
	if out, err := exec.Command(name, "-I", "-c", "import "+module).CombinedOutput(); err != nil {
		t.Skipf("%s has no package %s (set SALVER_PYTHON to one that has): %s", name, module, out)
	}
	return name
}

// clientServer serves what the scripts in testdata expect.
func clientServer(t *testing.T) string {
	t.Helper()
	m, full, broken := servetest.NewText(), servetest.NewText(), servetest.NewText()
	m.Answer = func(prompt string, choice int) string {
		switch turn := prompt[strings.LastIndex(prompt, "<|im_start|>user")+1:]; {
		case !strings.Contains(prompt, "<|im_start|>"):
			return prompt[strings.LastIndex(prompt, " "):]
		case strings.Contains(turn, "42"):
			return "it is 42"
		case strings.Contains(turn, "call"):
			return "<think>hm</think><tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</tool_call>"
		}
		return "say hi to you" + strings.Repeat("!", choice)
	}
	full.Refuse = &textgen.FullError{Waiting: 3}
	broken.Fail = errors.New("broken")
	core := serve.New(serve.Options{})
	for name, b := range map[string]serve.Backend{"m": m, "e": servetest.NewEncoder(), "full": full, "broken": broken} {
		if err := core.Register(name, 1, b, nil); err != nil {
			t.Fatal(err)
		}
	}
	s := httptest.NewServer(rest.New(core, rest.Options{APIs: APIs(core, Options{Version: "v1"})}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestClients(t *testing.T) {
	for _, name := range []string{"openai", "ollama", "anthropic"} {
		t.Run(name, func(t *testing.T) {
			interpreter := python(t, name)
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			out, err := exec.CommandContext(ctx, interpreter, "testdata/"+name+"_client.py", clientServer(t)).CombinedOutput()
			if err != nil || !strings.HasSuffix(string(out), "ok\n") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
