"""ONNX files of the demo models, written node by node.

No exporter is used, so that the bytes depend on nothing but the weights.
"""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8


class Builder:
    """Collects a chain of nodes; each call takes and returns a value's name."""

    def __init__(self, name, doc):
        self.name, self.doc = name, doc
        self.nodes, self.weights = [], []

    def weight(self, name, value):
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype=np.asarray(value).dtype), name))
        return name

    def node(self, op, inputs, output, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def conv(self, x, name, layer, stride):
        w = self.weight(name + ".weight", layer.weight.detach().numpy())
        return self.node("Conv", [x, w], name, kernel_shape=list(layer.kernel_size), strides=[stride, stride])

    def batchnorm(self, x, name, layer):
        parts = {"scale": layer.weight, "bias": layer.bias, "mean": layer.running_mean, "var": layer.running_var}
        names = [self.weight(f"{name}.{k}", v.detach().numpy()) for k, v in parts.items()]
        return self.node("BatchNormalization", [x, *names], name, epsilon=layer.eps)

    def gemm(self, x, name, layer):
        w = self.weight(name + ".weight", layer.weight.detach().numpy())
        b = self.weight(name + ".bias", layer.bias.detach().numpy())
        return self.node("Gemm", [x, w, b], name, transB=1)

    def save(self, path, input_name, input_shape, output_name, classes):
        graph = helper.make_graph(
            self.nodes, self.name,
            [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, ["batch", *input_shape])],
            [helper.make_tensor_value_info(output_name, TensorProto.FLOAT, ["batch", classes])],
            initializer=self.weights)
        model = helper.make_model(graph, producer_name="salver", doc_string=self.doc,
                                  opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        path.write_bytes(model.SerializeToString())
        return len(model.SerializeToString())
