// Package demo holds small networks that this project trained itself, so that
// the server has something to show without a download. README.md says what
// they were trained on and how well they do; train/ holds the programs.
package demo

import (
	_ "embed"
	"fmt"
	"strings"
)

// Model is one embedded network.
type Model struct {
	Name        string
	Description string
	ONNX        []byte
	Input       string
	Output      string
	Labels      []string // of the output's classes, in order
	// SampleRequest is the JSON body of an inference request of the Open
	// Inference Protocol; SampleAnswer is the label that wins for its first row.
	SampleRequest []byte
	SampleAnswer  string
}

//go:embed models/digits.onnx
var digitsONNX []byte

//go:embed models/iris.onnx
var irisONNX []byte

//go:embed models/spirals.onnx
var spiralsONNX []byte

// Models gives the embedded networks. The caller must not change their bytes.
func Models() []Model {
	return []Model{
		{
			Name:          "digits",
			Description:   "handwritten digits, 28x28 grey: a convolutional network",
			ONNX:          digitsONNX,
			Input:         "image",
			Output:        "probabilities",
			Labels:        []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"},
			SampleRequest: request("image", "[1,1,28,28]", drawing()),
			SampleAnswer:  "3",
		},
		{
			Name:          "iris",
			Description:   "iris species from sepal length and width, petal length and width in cm",
			ONNX:          irisONNX,
			Input:         "measurements",
			Output:        "probabilities",
			Labels:        []string{"setosa", "versicolor", "virginica"},
			SampleRequest: request("measurements", "[1,4]", "5.1,3.5,1.4,0.2"),
			SampleAnswer:  "setosa",
		},
		{
			Name:          "spirals",
			Description:   "which of three spiral arms a point x, y in -1..1 belongs to",
			ONNX:          spiralsONNX,
			Input:         "points",
			Output:        "probabilities",
			Labels:        []string{"first", "second", "third"},
			SampleRequest: request("points", "[2,2]", "0.5,0.2,-0.6,0.1"),
			SampleAnswer:  "first",
		},
	}
}

// Curl is a command line that sends the sample request to a server, e.g. at
// "127.0.0.1:8000".
func (m Model) Curl(address string) string {
	return fmt.Sprintf("curl -s http://%s/v2/models/%s/infer -d '%s'", address, m.Name, m.SampleRequest)
}

func request(input, shape, data string) []byte {
	return fmt.Appendf(nil, `{"inputs":[{"name":%q,"shape":%s,"datatype":"FP32","data":[%s]}]}`, input, shape, data)
}

// three is a drawing of a 3 as the digits network takes it: 20 pixels high,
// its centre of mass in the middle.
var three = []string{
	"........#######.............",
	"......###########...........",
	".....####.....####..........",
	".....##........###..........",
	"................##..........",
	"................##..........",
	"...............###..........",
	".............####...........",
	".........#######............",
	".........########...........",
	"..............####..........",
	"................###.........",
	".................##.........",
	".................##.........",
	".................##.........",
	"....##..........###.........",
	"....###........####.........",
	".....####....####...........",
	"......##########............",
	"........######..............",
}

// drawing writes three as the data of a request.
func drawing() string {
	blank := strings.Repeat("0,", 28)
	var b strings.Builder
	b.WriteString(strings.Repeat(blank, 4))
	for _, row := range three {
		for _, c := range row {
			if c == '#' {
				b.WriteString("1,")
			} else {
				b.WriteString("0,")
			}
		}
	}
	b.WriteString(strings.Repeat(blank, 4))
	return strings.TrimSuffix(b.String(), ",")
}
