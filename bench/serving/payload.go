package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"google.golang.org/protobuf/proto"

	pb "github.com/salver-ml/salver/api/oip"
)

// side is the digit model's height and width.
const side = 28

// image is a grey disk with a soft edge, in steps of a 256th as pixels have them.
func image() []float32 {
	pixels := make([]float32, side*side)
	for i := range pixels {
		x, y := float64(i%side)-13.5, float64(i/side)-13.5
		v := math.Max(0, math.Min(1, 9-math.Abs(math.Hypot(x, y)-6)*3))
		pixels[i] = float32(math.Round(v*255) / 255)
	}
	return pixels
}

func raw(values []float32) []byte {
	b := make([]byte, 0, 4*len(values))
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

// httpRequest is a whole request, with the image in binary form or in JSON.
func httpRequest(inBinary bool) []byte {
	pixels := image()
	var head, body string
	if inBinary {
		json := fmt.Sprintf(`{"inputs":[{"name":"image","shape":[1,1,%d,%d],"datatype":"FP32","parameters":{"binary_data_size":%d}}],"outputs":[{"name":"probabilities","parameters":{"binary_data":true}}]}`, side, side, 4*len(pixels))
		head = fmt.Sprintf("Inference-Header-Content-Length: %d\r\n", len(json))
		body = json + string(raw(pixels))
	} else {
		var text []string
		for _, v := range pixels {
			text = append(text, fmt.Sprint(v))
		}
		head = "Content-Type: application/json\r\n"
		body = fmt.Sprintf(`{"inputs":[{"name":"image","shape":[1,1,%d,%d],"datatype":"FP32","data":[%s]}]}`, side, side, strings.Join(text, ","))
	}
	return fmt.Appendf(nil, "POST /v2/models/digits/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n%s\r\n%s", len(body), head, body)
}

// grpcRequest is an encoded ModelInferRequest.
func grpcRequest() ([]byte, error) {
	return proto.Marshal(&pb.ModelInferRequest{
		ModelName:        "digits",
		Inputs:           []*pb.ModelInferRequest_InferInputTensor{{Name: "image", Datatype: "FP32", Shape: []int64{1, 1, side, side}}},
		RawInputContents: [][]byte{raw(image())},
	})
}
