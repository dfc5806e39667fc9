package archtest

import (
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rooms are the folders of internal in their order: a package may import the
// packages of its own room and of rooms that stand before it.
var rooms = []string{
	// numbers and machines
	"dtype", "shape", "tensor", "cpu", "mmap", "pool", "kernels",
	// text, and what a language model is to those who serve it
	"token", "chat", "textgen",
	// the engine
	"ir", "op", "npy", "image", "ops", "format", "pass", "passes", "plan", "provider", "exec", "engine", "llm", "explain", "quant", "tune", "conformance",
	// the server
	"repo", "batch", "limit", "serve", "oip", "auth", "rest", "grpcapi", "openaiapi", "obs", "ui", "demo",
	// what joins them
	"backend", "cli",
}

// server are the rooms that know nothing of the engine: backend joins the two.
var server = []string{"repo", "batch", "limit", "serve", "oip", "auth", "rest", "grpcapi", "openaiapi", "obs", "ui", "demo"}

// shared are the rooms that the server's may import too.
var shared = []string{"dtype", "tensor", "token", "chat", "textgen"}

// testOnly are packages that only tests may import; the order does not bind them.
var testOnly = []string{
	"internal/testkit", "internal/archtest", "internal/mmap/guard", "internal/kernels/kerneltest",
	"internal/ops/optest", "internal/passes/passtest", "internal/provider/providertest", "internal/serve/servetest",
	"api/oip/oipgrpc", // grpc-go, which the program does not link
}

// foreign says which packages from outside the standard library a folder may
// import. Every folder may import golang.org/x/sys and golang.org/x/text.
var foreign = map[string][]string{
	"internal/format/onnx": {"google.golang.org/protobuf/encoding/protowire"},
	"internal/token":       {"google.golang.org/protobuf/encoding/protowire"}, // SentencePiece models
	"internal/image":       {"go.yaml.in/yaml/v4", "golang.org/x/image"},
	"internal/ops/image":   {"golang.org/x/image"}, // the formats of the ImageDecoder operator
	"api/oip":              {"google.golang.org/protobuf"},
	"api/oip/oipgrpc":      {"google.golang.org/grpc"},
	"internal/grpcapi":     {"google.golang.org/protobuf/encoding/protowire"},
	"internal/grpcapi/rpc": {"golang.org/x/net/http2/hpack"},
	"internal/cli":         {"github.com/spf13/cobra", "github.com/spf13/pflag"},
}

// emulator handles a signal in C, under a build tag of tests alone.
const emulator = "internal/cpu/amxemu"

// forbidden are packages of the standard library that nothing but emulator may import.
var forbidden = map[string]string{
	"C":       "the binary is static and cross-compiles: no cgo",
	"os/exec": "models are data: nothing starts a program",
	"plugin":  "models are data: nothing loads code",
}

// edge is one import of one file.
type edge struct {
	file, from, to string // folders below the root for this module's packages
	line           int
}

func edges(t *testing.T) []edge {
	t.Helper()
	var list []edge
	for _, f := range files(t, ".go") {
		if strings.HasSuffix(f, "_test.go") || ownModule(t, f) || strings.Contains(f, "/testdata/") {
			continue
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, f, read(t, f), parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range parsed.Imports {
			to, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if to == module {
				to = "."
			}
			list = append(list, edge{f, path.Dir(f), strings.TrimPrefix(to, module+"/"), set.Position(spec.Pos()).Line})
		}
	}
	return list
}

func TestImports(t *testing.T) {
	for _, e := range edges(t) {
		if reason := e.wrong(); reason != "" {
			t.Errorf("%s:%d: %s imports %s: %s", e.file, e.line, e.from, e.to, reason)
		}
	}
}

// wrong gives the rule that an import breaks, or "".
func (e edge) wrong() string {
	if reason := forbidden[e.to]; reason != "" && e.from != emulator {
		return reason
	}
	if first, _, _ := strings.Cut(e.to, "/"); strings.Contains(first, ".") && e.to != "." {
		return e.wrongForeign()
	}
	if !below(e.to, "internal") && !below(e.to, "api") && !below(e.to, "cmd") && e.to != "." {
		return "" // the standard library
	}
	if slices.Contains(testOnly, e.to) && !slices.Contains(testOnly, e.from) {
		return "only tests may import it"
	}
	if slices.Contains(testOnly, e.from) {
		return ""
	}
	return e.wrongOrder()
}

func (e edge) wrongForeign() string {
	allowed := []string{"golang.org/x/sys", "golang.org/x/text"}
	for dir, list := range foreign {
		if below(e.from, dir) {
			allowed = append(allowed, list...)
		}
	}
	if !slices.ContainsFunc(allowed, func(a string) bool { return below(e.to, a) }) {
		return "outside the standard library this folder may import only " + strings.Join(allowed, ", ")
	}
	return ""
}

func (e edge) wrongOrder() string {
	from, to := room(e.from), room(e.to)
	switch {
	case below(e.to, "cmd"):
		return "a command is not a library"
	case from == "" && to == "":
		return "" // the root, api and cmd among themselves
	case from == "" && below(e.from, "api"):
		return "api holds what goes over the wire and imports nothing of internal"
	case from == "":
		return ""
	case to == "" && e.to == ".":
		return "internal packages do not import the public library, which stands on them"
	case to == "":
		return ""
	}
	i, j := slices.Index(rooms, from), slices.Index(rooms, to)
	switch {
	case i < 0 || j < 0:
		return "a folder of internal has no place in the order of rooms: give it one in imports_test.go and ARCHITECTURE.md"
	case j > i:
		return "imports go downwards, and " + to + " stands above " + from
	case slices.Contains(server, from) && !slices.Contains(server, to) && !slices.Contains(shared, to):
		return "the server knows the engine only through serve.Backend"
	}
	return ""
}

// room is the folder of internal that a package stands in, or "".
func room(dir string) string {
	rest, ok := strings.CutPrefix(dir, "internal/")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

func below(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// The rules themselves: each case is an import that must be refused, or not.
func TestRules(t *testing.T) {
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{"internal/exec", "internal/plan", true},
		{"internal/plan", "internal/exec", false},
		{"internal/kernels/softmax", "internal/kernels/elemwise", true},
		{"internal/rest/inferbody", "internal/rest/jsonnum", true},
		{"internal/rest", "internal/tensor", true},
		{"internal/rest", "internal/ir", false},
		{"internal/serve", "internal/engine", false},
		{"internal/backend", "internal/engine", true},
		{"internal/cli", "internal/serve", true},
		{"internal/cli", ".", false},
		{"internal/nowhere", "internal/dtype", false},
		{"internal/exec", "internal/testkit", false},
		{"internal/ops/optest", "internal/op", true},
		{"internal/ir", "C", false},
		{"internal/cpu", "C", false},
		{emulator, "C", true},
		{"internal/ir", "unsafe", true},
		{"internal/exec", "os/exec", false},
		{"internal/exec", "golang.org/x/sys/unix", true},
		{"internal/exec", "google.golang.org/protobuf/encoding/protowire", false},
		{"internal/format/onnx", "google.golang.org/protobuf/encoding/protowire", true},
		{"internal/format/onnx", "google.golang.org/protobuf/proto", false},
		{"internal/rest", "google.golang.org/grpc", false},
		{"internal/grpcapi", "google.golang.org/grpc/codes", false},
		{"internal/grpcapi", "api/oip/oipgrpc", false},
		{"api/oip", "internal/dtype", false},
		{".", "internal/engine", true},
		{"cmd/salver", "internal/cli", true},
	} {
		reason := edge{from: c.from, to: c.to}.wrong()
		if (reason == "") != c.ok {
			t.Errorf("%s imports %s: allowed %v, expected %v (%s)", c.from, c.to, reason == "", c.ok, reason)
		}
	}
}
