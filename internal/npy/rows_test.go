package npy

import (
	"bytes"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/tensor"
)

// Rows, however they are grouped, are those of the whole array.
func TestRows(t *testing.T) {
	a, err := OpenArchive(golden)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	seen := 0
	for _, name := range a.Names() {
		whole, err := a.Read(name)
		if err != nil || whole.Rank() == 0 {
			continue
		}
		seen++
		for n := 1; n <= whole.Shape[0]+1; n++ {
			r, err := a.Rows(name)
			if err != nil {
				t.Fatal(err)
			}
			joined := tensor.New(whole.DType, whole.Shape...)
			at, row := 0, 1
			if whole.Shape[0] > 0 {
				row = whole.Len() / whole.Shape[0]
			}
			for r.Next() < whole.Shape[0] {
				k := min(n, whole.Shape[0]-r.Next())
				if at%2 == 1 { // skipped rows are taken from the whole
					joined.CopyElements(r.Next()*row, whole, r.Next()*row, k*row)
					err = r.Skip(k)
				} else {
					var part *tensor.Tensor
					from := r.Next()
					if part, err = r.Read(k); err == nil {
						joined.CopyElements(from*row, part, 0, k*row)
					}
				}
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				at++
			}
			if !reflect.DeepEqual(joined.Data, whole.Data) || !reflect.DeepEqual(joined.Strings, whole.Strings) || r.DType() != whole.DType {
				t.Errorf("%s: %d rows at a time differ from the whole", name, n)
			}
			if _, err := r.Read(1); err == nil {
				t.Errorf("%s: a row behind the last", name)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d arrays have rows", seen)
	}
}

func TestRowsOfFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.npy")
	if err := WriteFile(path, tensor.FromSlice([]float32{1, 2, 3, 4, 5, 6}, 3, 2)); err != nil {
		t.Fatal(err)
	}
	r, err := OpenRows(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Skip(1); err != nil {
		t.Fatal(err)
	}
	if x, err := r.Read(2); err != nil || x.String() != "float32[2,2]" || tensor.Of[float32](x)[0] != 3 {
		t.Errorf("%v %v", x, err)
	}
	var b bytes.Buffer
	if err := Write(&b, tensor.New(dtype.Float32, 2, 3)); err != nil {
		t.Fatal(err)
	}
	for cut, want := range map[int]string{b.Len() - 1: "expected 12 bytes, found 11", b.Len() + 5: "5 bytes follow"} {
		data := append(b.Bytes(), make([]byte, 5)...)[:cut]
		r, err := newRows(nopCloser{bytes.NewReader(data)})
		if err == nil {
			if _, err = r.Read(1); err == nil {
				_, err = r.Read(1)
			}
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d bytes: %v, expected %q", cut, err, want)
		}
	}
}

type nopCloser struct{ *bytes.Reader }

func (nopCloser) Close() error { return nil }

// What Decode reads is read by rows too, with the same elements; what it refuses
// is refused at some row, or is longer than what was asked for.
func FuzzRows(f *testing.F) {
	f.Add(file("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 1)}", "abcdefgh"), 1)
	f.Add(file("{'descr': '>i2', 'fortran_order': False, 'shape': (4,)}", "abcdefgh"), 2)
	f.Add(file("{'descr': '|S2', 'fortran_order': False, 'shape': (2,)}", "ab\x00\x00"), 3)
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		r, err := newRows(nopCloser{bytes.NewReader(data)})
		if err != nil {
			return
		}
		whole, wrong := Decode(data)
		for step := 0; step < 100 && len(r.Shape()) > 0 && r.Next() < r.Shape()[0]; step++ {
			from, k := r.Next(), min(max(n, 1), r.Shape()[0]-r.Next())
			x, err := r.Read(k)
			if err != nil && wrong == nil {
				t.Fatalf("rows %d to %d: %v", from, from+k, err)
			}
			if err != nil {
				return
			}
			if wrong == nil {
				part := tensor.New(whole.DType, x.Shape...)
				part.CopyElements(0, whole, from*(x.Len()/k), x.Len())
				if !bytes.Equal(part.Data, x.Data) || !slices.Equal(part.Strings, x.Strings) {
					t.Fatalf("rows %d to %d differ from the whole", from, from+k)
				}
			}
		}
	})
}
