package oip

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/salver-ml/salver/internal/serve"
)

// Param is the value of a request's parameter.
type Param struct {
	Kind  ParamKind
	Bool  bool
	Int   int64
	Text  string
	Float float64
}

// ParamKind says which field of a Param holds its value.
type ParamKind uint8

// The kinds of parameters.
const (
	ParamBool ParamKind = iota
	ParamInt
	ParamText
	ParamFloat
)

// String shows the value as an error would.
func (p Param) String() string {
	switch p.Kind {
	case ParamBool:
		return fmt.Sprint(p.Bool)
	case ParamInt:
		return fmt.Sprint(p.Int)
	case ParamText:
		return fmt.Sprintf("%q", p.Text)
	}
	return fmt.Sprint(p.Float)
}

// AsBool is the value of a boolean parameter.
func (p Param) AsBool(name string) (bool, error) {
	if p.Kind != ParamBool {
		return false, fmt.Errorf("parameter %q: expected true or false, found %s", name, p)
	}
	return p.Bool, nil
}

// AsCount is the value of a parameter that is an integer of at least 0.
func (p Param) AsCount(name string) (int, error) {
	if p.Kind != ParamInt || p.Int < 0 {
		return 0, fmt.Errorf("parameter %q: expected an integer of at least 0, found %s", name, p)
	}
	return int(p.Int), nil
}

// unset reports whether the value is one by which clients say "none".
func (p Param) unset() bool {
	return p == Param{Kind: p.Kind}
}

// SetParameter applies a parameter of a request: priority and timeout (the
// schedule policy). Those of the sequence extension are an error, because
// ignoring them would change the answer; other names are the client's own and
// have no effect, as the protocol allows.
func SetParameter(r *serve.Request, name string, p Param) error {
	switch name {
	case "priority":
		n, err := p.AsCount(name)
		r.Priority = uint64(n)
		return err
	case "timeout":
		n, err := p.AsCount(name)
		r.Timeout = time.Duration(min(int64(n), math.MaxInt64/1000)) * time.Microsecond
		return err
	case "sequence_id", "sequence_start", "sequence_end":
		if !p.unset() {
			return fmt.Errorf("parameter %q: sequences are not supported by this server, found %s", name, p)
		}
	}
	return nil
}

// TensorParameter checks a parameter of an input or output that the transport
// itself has no use for: those of the shared-memory extension are an error.
func TensorParameter(name string) error {
	if strings.HasPrefix(name, "shared_memory_") {
		return fmt.Errorf("parameter %q: shared memory is not supported by this server; send the tensor's contents", name)
	}
	return nil
}

// ErrLoadParameter refuses a parameter of a model's load: those called
// "file:…" would let a client write what the server runs.
func ErrLoadParameter(name string) error {
	return fmt.Errorf("parameter %q: expected config, the model's configuration as a string of JSON, or none; model files are loaded from the server's repository only", name)
}
