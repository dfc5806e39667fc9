package repo

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/salver-ml/salver/internal/testkit"
)

var update = flag.Bool("update", false, "write the goldens")

func TestParseReadsAllForms(t *testing.T) {
	const src = `
# a comment
name: "digits" platform: 'onnxruntime_' "onnx"; max_batch_size: 0x10,
input [ { name: "a" data_type: TYPE_FP32 dims: [ 1, 28, 28 ] optional: true },
        { name: "b", data_type: 9, dims: -1, dims: [3,], reshape { shape: [] } }, ]
output: < name: "y\x41\102\u00e9\n" data_type: TYPE_STRING dims: [ - 1 ] label_filename: "labels.txt" >
version_policy: { specific { versions: [1, 3] } }
instance_group { count: 2 kind: KIND_CPU }
dynamic_batching {
  preferred_batch_size: [ 4, 8 ]
  max_queue_delay_microseconds: 100
  priority_levels: 2 default_priority_level: 2
  default_queue_policy { timeout_action: DELAY max_queue_size: 0 }
  priority_queue_policy [ { key: 1 value: { timeout_action: REJECT default_timeout_microseconds: 5 allow_timeout_override: True } } ]
}
parameters { key: "precision" value { string_value: "int8" } }
parameters { key: "level" value { string_value: "3" } }
model_warmup [ { name: "w" batch_size: 2 inputs { key: "a" value: { data_type: TYPE_FP32 dims: [1,28,28] random_data: true } } } ]
response_cache { enable: false }
optimization { input_pinned_memory { enable: false } priority: PRIORITY_DEFAULT graph { level: 0 } }
`
	cfg, err := Parse("config.pbtxt", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(cfg, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/all_forms.json"
	if *update {
		if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(string(want)) != string(got) {
		t.Errorf("got\n%s\nexpected (-update writes it)\n%s", got, want)
	}
}

func TestParseProblems(t *testing.T) {
	tests := []struct{ src, want string }{
		{`name: "a`, `c:1:7: this string has no closing " on its line`},
		{`name: "\q"`, `c:1:9: unknown escape \q`},
		{`name: "\ud800"`, `c:1:9: 0xd800 is not a Unicode character`},
		{`name: "\xff"`, `c:1:7: this string is not valid UTF-8`},
		{"name \"a\"", `c:1:6: expected ':' or a message after name, found "a"`},
		{"input {\n name: \"a\"", `c:2:11: expected "}", found the end of the file`},
		{"input { name: \"a\" >", `c:1:19: expected a field name, found ">"`},
		{"input: [ {} {} ]", `c:1:13: expected ',' or ']' in the list of input, found "{"`},
		{"[a.b]: 1", "c:1:1: extension and Any fields are not supported"},
		{"name: §", `c:1:7: unexpected character '§'`},
		{"max_batch_size: 4.5", "c:1:17: max_batch_size: expected a value of type int32, found 4.5"},
		{"max_batch_size: 99999999999", "c:1:17: max_batch_size: expected a value of type int32, found 99999999999"},
		{"max_batch_size: -1", "c:1:17: max_batch_size: expected 0 to 1048576, found -1"},
		{"max_batch_size: 0b1", "c:1:17: max_batch_size: expected a value of type int32, found 0b1"},
		{`max_batch_size: "4"`, `c:1:17: max_batch_size: expected a value of type int32, found "4"`},
		{"max_batch_size { }", "c:1:16: max_batch_size: expected a value of type int32, found a message"},
		{"input: 3", `c:1:8: input: expected a message { … }, found "3"`},
		{"max_batch_size: 4 max_batch_size: 5", "c:1:19: max_batch_size: given twice, first at 1:1"},
		{"max_bach_size: 4", "c:1:1: max_bach_size: unknown field of ModelConfig; is max_batch_size meant?"},
		{"version_policy { latest {} all {} }", "c:1:28: version_policy.all: only one of latest, all, specific may be given; latest is at 1:18"},
		{"dynamic_batching {}\nensemble_scheduling {}", "c:2:1: ensemble_scheduling: only one of dynamic_batching, sequence_batching, ensemble_scheduling may be given; dynamic_batching is at 1:1\nc:2:1: ensemble_scheduling: not supported: ensembles are not supported"},
		{"input { name: \"a\" data_type: TYPE_FP3 }", "c:1:30: input.data_type: TYPE_FP3: unknown DataType; is TYPE_FP32 meant?"},
		{"input { name: \"a\" dims: 0 }", "c:1:25: input.dims: expected a positive dimension, or -1 for any, found 0"},
		{"input [ { name: \"a\" }, { name: \"a\" } ]", "c:1:1: input: \"a\" is described twice"},
		{"\n\n  instance_group { kind: KIND_GPU }", "c:3:26: instance_group.kind: not supported: KIND_GPU: this server computes on the CPU: use KIND_CPU or KIND_AUTO"},
		{"optimization { cuda { graphs: true } }", "c:1:16: optimization.cuda: not supported: this server computes on the CPU"},
		{"input { name: \"a\" allow_ragged_batch: true }", "c:1:19: input.allow_ragged_batch: not supported: ragged batching is not supported"},
		{`platform: "tensorrt_plan"`, `c:1:11: platform: "tensorrt_plan" is not supported: expected one of ["" "onnxruntime_onnx"]`},
		{`default_model_filename: "../m.onnx"`, `c:1:25: default_model_filename: "../m.onnx" is not a file inside the model's folder`},
		{`name: "a/b"`, `c:1:7: name: model name "a/b": expected 1 to 128 letters, digits, '.', '_' or '-', not beginning with '.'; rename the file or folder`},
		{`parameters { value {} }`, "c:1:12: parameters: the entry has no key"},
		{`parameters: "x"`, `c:1:13: parameters: expected an entry { key: … value: … }, found "x"`},
		{`metric_tags { key: "a" value: "b" }`, "c:1:1: metric_tags: not supported: metrics carry the labels model and version only"},
		{"max_batch_size: 4 dynamic_batching { preferred_batch_size: 8 }", "c:1:19: dynamic_batching.preferred_batch_size: expected 1 to max_batch_size (4), found 8"},
		{"dynamic_batching { priority_levels: 3 }", "c:1:1: dynamic_batching.default_priority_level: expected 1 to priority_levels (3), found 0"},
		{"dynamic_batching { preserve_ordering: true priority_levels: 2 default_priority_level: 1 }", "c:1:1: dynamic_batching.preserve_ordering: can't be kept with 2 priority levels"},
		{strings.Repeat("input{", 40), "c:1:199: messages are nested more than 32 deep"},
	}
	for _, tt := range tests {
		_, err := Parse("c", []byte(tt.src))
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s\n got %v\nwant %s", tt.src, err, tt.want)
		}
	}
}

func TestParseTellsAllProblemsAtOnce(t *testing.T) {
	src := "runtime: \"x\"\nresponse_cache { enable: true }\nmax_batch_size: a\nsequence_batching { }\n"
	_, err := Parse("c", []byte(src))
	ps, _ := errors.AsType[Problems](err)
	var lines []int
	for _, p := range ps {
		lines = append(lines, p.Line)
	}
	if !slices.Equal(lines, []int{1, 2, 3, 4}) || !ps[0].Unsupported || ps[2].Unsupported {
		t.Errorf("got %+v", ps)
	}
}

// TestLargeFilesTakeLittleTime parses large files that are made to take long.
func TestLargeFilesTakeLittleTime(t *testing.T) {
	for _, unit := range []string{"input{}", "x:1 ", "a{", "name:'' ", "input{dims:[1,1,1]}", "parameters{key:\"\"value{}}", "n", "1", "[", "#"} {
		start := testkit.Clock()
		_, err := Parse("c", []byte(strings.Repeat(unit, maxConfigBytes/4/len(unit))))
		if ps, ok := errors.AsType[Problems](err); err != nil && (!ok || len(ps) > maxProblems+1) {
			t.Errorf("%q: %d problems", unit, len(ps))
		}
		if d := testkit.Clock() - start; d > 20*time.Second {
			t.Errorf("%q took %v", unit, d)
		}
	}
}

// TestSchemaKnowsEveryField compares schema.txt with Triton's own file.
func TestSchemaKnowsEveryField(t *testing.T) {
	src, err := os.ReadFile(testkit.Assets(t, "specs/triton/protobuf/model_config.proto"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]int{}
	for _, m := range modelConfig().messages {
		for _, f := range m.fields {
			known[f.name]++
		}
	}
	text := regexp.MustCompile(`//.*|@@.*`).ReplaceAllString(string(src), "")
	field := regexp.MustCompile(`(?m)^\s*(?:repeated\s+)?(?:map<[^>]*>|[A-Za-z0-9_]+)\s+([a-z][a-z0-9_]*)\s*=\s*\d+;`)
	n := 0
	for _, m := range field.FindAllStringSubmatch(text, -1) {
		n++
		if known[m[1]]--; known[m[1]] < 0 {
			t.Errorf("schema.txt lacks a field %s", m[1])
		}
	}
	for name, left := range known {
		if left > 0 {
			t.Errorf("schema.txt has a field %s too often", name)
		}
	}
	if n < 100 {
		t.Errorf("only %d fields found in model_config.proto", n)
	}
	value := regexp.MustCompile(`(?m)^\s*([A-Z][A-Z0-9_]*)\s*=\s*(\d+);`)
	values := map[string]bool{}
	for _, e := range modelConfig().enums {
		for _, v := range e.values {
			values[v] = true
		}
	}
	for _, m := range value.FindAllStringSubmatch(text, -1) {
		if !values[m[1]] {
			t.Errorf("schema.txt lacks the enum value %s", m[1])
		}
	}
}

func TestSchemaTypesExist(t *testing.T) {
	s := modelConfig()
	scalars := []string{"string", "bool", "int32", "int64", "uint32", "uint64", "float", "double"}
	for _, m := range s.messages {
		for _, f := range m.fields {
			if s.messages[f.typ] == nil && s.enums[f.typ] == nil && !slices.Contains(scalars, f.typ) {
				t.Errorf("%s.%s has the unknown type %s", m.name, f.name, f.typ)
			}
		}
	}
	for rule := range valueRules {
		m, f, _ := strings.Cut(rule, ".")
		if s.messages[m] == nil || s.messages[m].field(f) == nil {
			t.Errorf("a rule is for the unknown field %s", rule)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`name: "digits" input [ { dims: [ -1, 28 ] } ] # x`))
	f.Add([]byte(`dynamic_batching { preferred_batch_size: [ 4, 8, ]; priority_queue_policy { key: 1 value {} } }`))
	f.Add([]byte(`parameters { key: "a\x41\u00e9\101" 'b' value < string_value: "" > }`))
	f.Add([]byte(`model_warmup { inputs { key: "x" value { zero_data: true } } } optimization { cuda { graphs: t } }`))
	f.Fuzz(func(t *testing.T, src []byte) {
		cfg, err := Parse("c", src)
		if err == nil {
			if _, err := json.Marshal(cfg); err != nil {
				t.Fatal(err)
			}
			return
		}
		ps, ok := errors.AsType[Problems](err)
		if !ok || len(ps) == 0 {
			t.Fatalf("%T %v", err, err)
		}
	})
}
