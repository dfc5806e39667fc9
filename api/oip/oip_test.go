package oip

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/salver-ml/salver/internal/testkit"
)

var (
	comment   = regexp.MustCompile(`//[^\n]*`)
	statement = regexp.MustCompile(`(?s)(message|enum|oneof|service)\s+(\w+)\s*\{|rpc\s+(\w+)\s*\(\s*(stream )?\s*(\w+)\s*\)\s*returns\s*\(\s*(stream )?\s*(\w+)\s*\)|(?:(repeated)\s+)?(?:([\w.]+|map<[^>]+>)\s+)?(\w+)\s*=\s*(-?\d+)\s*;|\{|\}`)
)

// Every message, field, enum value and method of the published protos is here
// under the same name, number and type.
func TestPublishedProtos(t *testing.T) {
	for _, file := range []string{"specs/triton/protobuf/grpc_service.proto", "specs/triton/protobuf/model_config.proto", "specs/kserve/specification/protocol/open_inference_grpc.proto"} {
		text, err := os.ReadFile(testkit.Assets(t, file))
		if err != nil {
			t.Fatal(err)
		}
		scope := []string{"inference"}
		kinds := []string{""}
		fields := 0
		for _, m := range statement.FindAllStringSubmatch(comment.ReplaceAllString(string(text), ""), -1) {
			name := strings.Join(scope, ".")
			switch {
			case m[2] != "":
				kinds = append(kinds, m[1])
				if m[1] != "oneof" {
					scope = append(scope, m[2])
				}
			case m[0] == "{":
				kinds = append(kinds, "block")
			case m[0] == "}":
				last := len(kinds) - 1
				if k := kinds[last]; k != "oneof" && k != "block" {
					scope = scope[:len(scope)-1]
				}
				kinds = kinds[:last]
			case m[3] != "":
				checkMethod(t, name+"."+m[3], m[4] != "", m[5], m[6] != "", m[7])
			case kinds[len(kinds)-1] == "enum":
				// Enum values are siblings of their enum in protobuf's names.
				checkNumber(t, strings.Join(scope[:len(scope)-1], ".")+"."+m[10], m[11], "", "")
				fields++
			default:
				checkNumber(t, name+"."+m[10], m[11], m[8], m[9])
				fields++
			}
		}
		if fields < 50 {
			t.Errorf("%s: found only %d fields", file, fields)
		}
	}
}

func find(t *testing.T, name string) protoreflect.Descriptor {
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	return d
}

func checkNumber(t *testing.T, name, number, label, kind string) {
	n, _ := strconv.Atoi(number)
	switch d := find(t, name).(type) {
	case protoreflect.EnumValueDescriptor:
		if int(d.Number()) != n {
			t.Errorf("%s = %d, published is %d", name, d.Number(), n)
		}
	case protoreflect.FieldDescriptor:
		if int(d.Number()) != n || (label == "repeated") != d.IsList() || strings.HasPrefix(kind, "map<") != d.IsMap() || !d.IsMap() && !sameKind(d, kind) {
			t.Errorf("%s is %s %s = %d, published is %s %s = %d", name, d.Cardinality(), d.Kind(), d.Number(), label, kind, n)
		}
	}
}

func sameKind(d protoreflect.FieldDescriptor, kind string) bool {
	switch {
	case d.Message() != nil:
		return string(d.Message().Name()) == kind
	case d.Enum() != nil:
		return string(d.Enum().Name()) == kind
	}
	return d.Kind().String() == kind
}

func checkMethod(t *testing.T, name string, clientStream bool, in string, serverStream bool, out string) {
	if m, ok := find(t, name).(protoreflect.MethodDescriptor); ok {
		if string(m.Input().Name()) != in || string(m.Output().Name()) != out || m.IsStreamingClient() != clientStream || m.IsStreamingServer() != serverStream {
			t.Errorf("%s takes %s and gives %s, published is %s and %s", name, m.Input().Name(), m.Output().Name(), in, out)
		}
	}
}
