package tensorops

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
)

func init() {
	var types = op.Types{"T": nil}
	for _, dt := range op.AllTensors {
		if dt.Bits() > 0 {
			types["T"] = append(types["T"], dt)
		}
	}
	op.Register(&op.Op{
		Name: "BitCast", Versions: []int{26}, Doc: "the same bits read as another type of the same width",
		In: op.Ports("input:T"), Out: op.Ports("output:T2"), Types: op.Types{"T": types["T"], "T2": types["T"]},
		Attrs: op.Attrs{"to": op.Required(ir.KindInt)},
		Infer: bitCastInfer, Ref: bitCastRef, Rows: op.RowsBroadcast, Cases: bitCastCases{},
	})
}

func bitCastInfer(c *op.Infer) error {
	to := c.Node.DType("to")
	if from := c.In[0].DType; !to.Valid() || from.Valid() && to.Bits() != from.Bits() {
		return fmt.Errorf("to: expected a type of %d bits as %s has, found %s of %d", from.Bits(), from, to, to.Bits())
	}
	c.Set(0, to, c.In[0].Shape)
	return nil
}

func bitCastRef(c *op.Call) error {
	x := c.In[0]
	to := c.Node.DType("to")
	if to.Bits() != x.DType.Bits() {
		return fmt.Errorf("to: expected a type of %d bits as %s has, found %s of %d", x.DType.Bits(), x.DType, to, to.Bits())
	}
	copy(c.Output(0, to, x.Shape...).Data, x.Data)
	return nil
}
