// Package guard holds a bound on what quantization may cost.
//
//	Outputs, Divergence   how far a model's answers are from those of another
//	Hold                  leaves layers out, or raises them, until a bound on accuracy holds
//	Allot                 bits for each layer under a budget of size: the least error for the money
//	Costs                 which layers integers make slower on a machine
package guard
