package arch

import "github.com/salver-ml/salver/internal/ir"

// EncoderInputs are the names of an encoder graph's inputs, in order.
var EncoderInputs = []string{"tokens", "positions", "types", "sequences", "rows"}

// EncoderGraph makes a graph that reads whole texts:
//
//	tokens    int32[tokens]        ids, those of all texts one after the other
//	positions int32[tokens]        each one's place in its text, from Config.FirstPosition on
//	types     int32[tokens]        1 in the second of two texts that are read together, else 0
//	sequences int32[sequences, 2]  first token and number of tokens of each text
//	rows      int32[rows]          the tokens whose scores are wanted
//	→ vectors float32[tokens, Hidden], or with a head for classes
//	→ scores  float32[rows, Labels]
//
// An architecture that generates gives the vectors that it would make logits of.
func (a *Architecture) EncoderGraph(c *Config, w Weights) (*ir.Graph, error) {
	b := &Builder{Config: *c, weights: w, options: Options{Context: c.Context}, encodes: true, causal: 1}
	if a.Encoder {
		b.causal = 0
	}
	return a.graph(b, EncoderInputs)
}
