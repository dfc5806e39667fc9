package arch

import "github.com/salver-ml/salver/internal/dtype/block"

// Weight is a tensor of a model file. Its bytes belong to the file's mapping.
type Weight struct {
	Format block.Format
	Shape  []int // rows first; a matrix is [outputs, inputs]
	Data   []byte
	// Order is the column that stands in each place of a matrix's rows; nil: all are
	// in their order.
	Order []int32
	// Scales multiply the rows of a matrix; nil: all are 1.
	Scales []float32
}

// Weights finds the tensors of a model by the names that GGUF has for them, such
// as "blk.0.attn_q.weight".
type Weights interface {
	Weight(name string) (Weight, bool)
	// Name is what the file calls a tensor, for errors.
	Name(name string) string
	// Err is why a tensor that the file has could not be read; nil if all could.
	Err() error
	// Rest are the tensors that nothing asked for, by the names that the file has.
	Rest() []string
}
