package salver_test

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log"

	"github.com/salver-ml/salver"
)

//go:embed internal/demo/models/iris.onnx
var models embed.FS

// A model that lies in the program itself.
func ExampleOpenFS() {
	m, err := salver.OpenFS(models, "internal/demo/models/iris.onnx", salver.WithThreads(1))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	fmt.Println("takes", m.Inputs())
	fmt.Println("gives", m.Outputs())
	// Output:
	// takes ["measurements" float32[batch,4]]
	// gives ["probabilities" float32[batch,3]]
}

func ExampleOpen() {
	m, err := salver.Open("internal/demo/models/spirals.onnx")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	fmt.Println(m.Inputs()[0].Name, m.Inputs()[0].Shape)

	_, err = salver.Open("internal/demo/models/spiral.onnx")
	fmt.Println("a missing file:", errors.Is(err, fs.ErrNotExist))
	// Output:
	// points [-1 2]
	// a missing file: true
}

// Two flowers, given by name; the outputs are new tensors.
func ExampleSession_Run() {
	m, err := salver.Open("internal/demo/models/iris.onnx")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	flowers := salver.FromSlice([]float32{
		5.1, 3.5, 1.4, 0.2,
		6.3, 3.3, 6.0, 2.5,
	}, 2, 4)
	out, err := m.Run(context.Background(), map[string]*salver.Tensor{"measurements": flowers})
	if err != nil {
		log.Fatal(err)
	}
	p := salver.Data[float32](out["probabilities"])
	fmt.Printf("%.2f\n%.2f\n", p[:3], p[3:])
	// Output:
	// [1.00 0.00 0.00]
	// [0.00 0.00 1.00]
}

// What does not fit the model is an error that says so.
func ExampleSession_Run_wrongShape() {
	m, err := salver.Open("internal/demo/models/iris.onnx")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	_, err = m.Run(context.Background(), map[string]*salver.Tensor{"measurements": salver.NewTensor(salver.Float32, 2, 5)})
	fmt.Println(err)
	// Output:
	// salver: input "measurements": expected float32[batch,4], found float32[2,5]: dimension 1 is 5 instead of 4
}

// Inputs and outputs in the model's order, in memory of the caller: after the
// first run with a shape nothing is allocated any more.
func ExampleSession_RunInto() {
	m, err := salver.Open("internal/demo/models/iris.onnx")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	in := salver.NewTensor(salver.Float32, 1, 4)
	out := salver.NewTensor(salver.Float32, 1, 3)
	inputs, outputs := []*salver.Tensor{in}, []*salver.Tensor{out}
	for _, flower := range [][]float32{{5.1, 3.5, 1.4, 0.2}, {5.7, 2.8, 4.1, 1.3}} {
		copy(salver.Data[float32](in), flower)
		if err := m.RunInto(context.Background(), inputs, outputs); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%.2f\n", salver.Data[float32](out))
	}
	// Output:
	// [1.00 0.00 0.00]
	// [0.00 1.00 0.00]
}
