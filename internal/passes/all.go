// Package passes lists the optimization passes in the order in which they run.
package passes

import "github.com/salver-ml/salver/internal/pass"

// All are the passes in order.
var All = []pass.Pass{}
