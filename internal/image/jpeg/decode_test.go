package jpeg

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	stdjpeg "image/jpeg"
	"math"
	"math/rand/v2"
	"testing"
)

// picture makes a smooth picture with some noise.
func picture(w, h int) *image.RGBA {
	r := rand.New(rand.NewPCG(1, 2))
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.Set(x, y, color.RGBA{byte(128 + 100*math.Sin(float64(x)/9)), byte(4*y + r.IntN(20)), byte(x + y), 255})
		}
	}
	return m
}

func encode(t testing.TB, m image.Image, quality int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := stdjpeg.Encode(&b, m, &stdjpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestNearStandardLibrary compares samples with another decoder, whose inverse
// transform rounds differently.
func TestNearStandardLibrary(t *testing.T) {
	grey := image.NewGray(image.Rect(0, 0, 37, 21))
	for i := range grey.Pix {
		grey.Pix[i] = byte(i * 7)
	}
	for _, m := range []image.Image{picture(64, 48), picture(37, 21), picture(1, 1), picture(17, 3), grey} {
		for _, quality := range []int{30, 75, 100} {
			b := encode(t, m, quality)
			got, err := Decode(b, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			want, err := stdjpeg.Decode(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			if got.Bounds() != want.Bounds() {
				t.Fatalf("bounds %v, expected %v", got.Bounds(), want.Bounds())
			}
			compare(t, got, want)
		}
	}
}

func compare(t *testing.T, got, want image.Image) {
	t.Helper()
	near := func(what string, a, b []byte, strideA, strideB, w, h int) {
		for y := range h {
			for x := range w {
				if d := int(a[y*strideA+x]) - int(b[y*strideB+x]); d > 2 || d < -2 {
					t.Fatalf("%s at %d, %d: %d, expected about %d", what, x, y, a[y*strideA+x], b[y*strideB+x])
				}
			}
		}
	}
	w, h := got.Bounds().Dx(), got.Bounds().Dy()
	switch g := got.(type) {
	case *image.Gray:
		s := want.(*image.Gray)
		near("grey", g.Pix, s.Pix, g.Stride, s.Stride, w, h)
	case *image.YCbCr:
		s := want.(*image.YCbCr)
		if g.SubsampleRatio != s.SubsampleRatio {
			t.Fatalf("subsampling %v, expected %v", g.SubsampleRatio, s.SubsampleRatio)
		}
		near("Y", g.Y, s.Y, g.YStride, s.YStride, w, h)
		near("Cb", g.Cb, s.Cb, g.CStride, s.CStride, (w+1)/2, (h+1)/2)
		near("Cr", g.Cr, s.Cr, g.CStride, s.CStride, (w+1)/2, (h+1)/2)
	}
}

func TestBadFiles(t *testing.T) {
	b := encode(t, picture(40, 30), 75)
	if _, err := Decode(b, 40*30-1); err == nil {
		t.Error("a picture above the limit is accepted")
	}
	if _, err := Decode([]byte("PNG"), 1<<20); err == nil {
		t.Error("another kind of file is accepted")
	}
	progressive := bytes.Replace(b, []byte{0xff, 0xc0}, []byte{0xff, 0xc2}, 1)
	if _, err := Decode(progressive, 1<<20); !errors.Is(err, ErrUnsupported) {
		t.Errorf("progressive: %v, expected %v", err, ErrUnsupported)
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 3000 { // nothing panics
		c := bytes.Clone(b[:r.IntN(len(b))+1])
		for range 3 {
			c[r.IntN(len(c))] = byte(r.Uint32())
		}
		Decode(c, 1<<16)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(f, picture(20, 10), 75))
	f.Fuzz(func(_ *testing.T, b []byte) { Decode(b, 1<<16) })
}

func BenchmarkDecode(b *testing.B) {
	data := encode(b, picture(1024, 768), 85)
	b.Run("ours", func(b *testing.B) {
		for b.Loop() {
			Decode(data, 1<<30)
		}
	})
	b.Run("standard library", func(b *testing.B) {
		for b.Loop() {
			stdjpeg.Decode(bytes.NewReader(data))
		}
	})
}
