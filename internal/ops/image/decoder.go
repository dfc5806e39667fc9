package image

import (
	"bytes"
	"fmt"
	"strings"

	"golang.org/x/image/tiff"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/image"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
)

func init() {
	op.Register(&op.Op{
		Name: "ImageDecoder", Versions: []int{20}, Doc: "the pixels [height, width, channels] of a JPEG, PNG, WebP, BMP, GIF, TIFF or PNM file",
		In: op.Ports("encoded_stream:uint8"), Out: op.Ports("image:uint8"), Attrs: op.Attrs{"pixel_format": op.Default(ir.Str("RGB"))},
		Infer: decoderInfer, Ref: decoderRef, Cases: decoderCases{},
	})
}

// channels of a pixel format.
func channels(n *ir.Node) (int, error) {
	switch f := n.Str("pixel_format"); f {
	case "RGB", "BGR":
		return 3, nil
	case "Grayscale":
		return 1, nil
	default:
		return 0, fmt.Errorf("pixel_format: expected RGB, BGR or Grayscale, found %q", f)
	}
}

func decoderInfer(c *op.Infer) error {
	n, err := channels(c.Node)
	c.Set(0, dtype.Uint8, shape.Shape{shape.Unknown(), shape.Unknown(), shape.Const(n)})
	return err
}

// decoderRef gives an empty image for what cannot be decoded, as ONNX says.
func decoderRef(c *op.Call) error {
	n, err := channels(c.Node)
	if err != nil {
		return err
	}
	p, err := decodePicture(c.In[0].Data)
	if err != nil {
		c.Output(0, dtype.Uint8, 0, 0, n)
		return nil
	}
	if p = p.RGB(); n == 1 {
		p = p.Gray()
	}
	out := c.Output(0, dtype.Uint8, p.Height, p.Width, n).Data
	copy(out, p.Pix)
	if c.Node.Str("pixel_format") == "BGR" {
		for i := 0; i+2 < len(out); i += 3 {
			out[i], out[i+2] = out[i+2], out[i]
		}
	}
	return nil
}

func decodePicture(b []byte) (*image.Pixels, error) {
	switch {
	case bytes.HasPrefix(b, []byte("II*\x00")) || bytes.HasPrefix(b, []byte("MM\x00*")):
		return decodeTIFF(b)
	case len(b) > 1 && b[0] == 'P' && strings.IndexByte("123456", b[1]) >= 0:
		return decodePNM(b)
	}
	return image.Decode(b, image.DefaultLimits)
}

func decodeTIFF(b []byte) (*image.Pixels, error) {
	c, err := tiff.DecodeConfig(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	if c.Width < 1 || c.Height < 1 || c.Width > image.DefaultLimits.Pixels/c.Height {
		return nil, fmt.Errorf("%dx%d is not within 1 and %d pixels", c.Width, c.Height, image.DefaultLimits.Pixels)
	}
	m, err := tiff.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	p := image.NewPixels(c.Width, c.Height, 3)
	at := 0
	for y := m.Bounds().Min.Y; y < m.Bounds().Max.Y; y++ {
		for x := m.Bounds().Min.X; x < m.Bounds().Max.X && at+2 < len(p.Pix); x++ {
			r, g, b, _ := m.At(x, y).RGBA()
			p.Pix[at], p.Pix[at+1], p.Pix[at+2] = byte(r>>8), byte(g>>8), byte(b>>8)
			at += 3
		}
	}
	return p, nil
}
