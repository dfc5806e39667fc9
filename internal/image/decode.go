package image

import (
	"bytes"
	"errors"
	"fmt"
	stdimage "image"
	"image/gif"
	stdjpeg "image/jpeg"
	"image/png"
	"io"
	"math"
	"os"

	"golang.org/x/image/bmp"
	"golang.org/x/image/webp"

	"github.com/salver-ml/salver/internal/image/jpeg"
)

// Limits bound what a picture file may ask for. They are checked against its
// header, before pixels are decoded.
type Limits struct {
	Bytes  int64 // of the file
	Pixels int   // width times height
}

// DefaultLimits allow pictures of any current camera: 128 Mi pixels take
// 384 MiB when decoded.
var DefaultLimits = Limits{Bytes: 256 << 20, Pixels: 128 << 20}

// format is one kind of file: how it begins, and its decoders.
type format struct {
	name   string
	match  func([]byte) bool
	config func(io.Reader) (stdimage.Config, error)
	decode func(io.Reader) (stdimage.Image, error)
	exif   func([]byte) []byte // the TIFF block inside the file, or nil
}

func prefix(s string) func([]byte) bool {
	return func(b []byte) bool { return bytes.HasPrefix(b, []byte(s)) }
}

var formats = []format{
	{"JPEG", prefix("\xff\xd8\xff"), stdjpeg.DecodeConfig, decodeJPEG, exifInJPEG},
	{"PNG", prefix("\x89PNG\r\n\x1a\n"), png.DecodeConfig, png.Decode, exifInPNG},
	{"GIF", prefix("GIF8"), gif.DecodeConfig, gif.Decode, nil},
	{"WebP", isWebP, webp.DecodeConfig, webp.Decode, exifInWebP},
	{"BMP", prefix("BM"), bmp.DecodeConfig, bmp.Decode, nil},
}

func isWebP(b []byte) bool {
	return len(b) >= 12 && string(b[:4]) == "RIFF" && string(b[8:12]) == "WEBP"
}

// DecodeFile reads and decodes a picture file under DefaultLimits.
func DecodeFile(path string) (*Pixels, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, DefaultLimits.Bytes+1))
	if err != nil {
		return nil, err
	}
	p, err := Decode(data, DefaultLimits)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// Decode reads a JPEG, PNG, GIF (its first frame), WebP or BMP and turns it
// upright by its Exif orientation. Transparency is dropped, 16-bit channels
// keep their upper 8 bits.
func Decode(data []byte, limits Limits) (*Pixels, error) {
	if int64(len(data)) > limits.Bytes {
		return nil, fmt.Errorf("image: file is larger than the limit of %d bytes", limits.Bytes)
	}
	for _, f := range formats {
		if f.match(data) {
			p, err := f.read(data, limits)
			if err != nil {
				return nil, fmt.Errorf("image: %s: %w", f.name, err)
			}
			return p, nil
		}
	}
	return nil, errors.New("image: unknown format: expected JPEG, PNG, GIF, WebP or BMP")
}

// decodeJPEG takes the standard library's decoder for the files that ours leaves
// to others. Sizes have been checked by now.
func decodeJPEG(r io.Reader) (stdimage.Image, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if m, err := jpeg.Decode(data, math.MaxInt); err == nil {
		return m, nil
	}
	return stdjpeg.Decode(bytes.NewReader(data))
}

func (f *format) read(data []byte, limits Limits) (*Pixels, error) {
	c, err := f.config(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	if c.Width <= 0 || c.Height <= 0 {
		return nil, fmt.Errorf("%dx%d: no pixels", c.Width, c.Height)
	}
	if c.Width > limits.Pixels/c.Height {
		return nil, fmt.Errorf("%dx%d is more than the limit of %d pixels", c.Width, c.Height, limits.Pixels)
	}
	m, err := f.decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	if b := m.Bounds(); b.Dx() != c.Width || b.Dy() != c.Height {
		return nil, fmt.Errorf("the first frame has %dx%d pixels, the picture %dx%d", b.Dx(), b.Dy(), c.Width, c.Height)
	}
	p := fromStd(m, f.name == "WebP")
	if f.exif == nil {
		return p, nil
	}
	return p.upright(orientation(f.exif(data))), nil
}

// fromStd copies a decoded picture. videoRange says that luma spans 16..235.
func fromStd(m stdimage.Image, videoRange bool) *Pixels {
	switch m := m.(type) {
	case *stdimage.Gray:
		return fromGray(m.Pix, m.Stride, 1, m.Rect)
	case *stdimage.Gray16:
		return fromGray(m.Pix, m.Stride, 2, m.Rect)
	case *stdimage.YCbCr:
		return fromYCbCr(m, videoRange)
	case *stdimage.NYCbCrA:
		return fromYCbCr(&m.YCbCr, videoRange)
	case *stdimage.NRGBA:
		return fromRGBx(m.Pix, m.Stride, 4, 1, m.Rect)
	case *stdimage.RGBA: // only from files without transparency: nothing to divide out
		return fromRGBx(m.Pix, m.Stride, 4, 1, m.Rect)
	case *stdimage.NRGBA64:
		return fromRGBx(m.Pix, m.Stride, 8, 2, m.Rect)
	case *stdimage.RGBA64:
		return fromRGBx(m.Pix, m.Stride, 8, 2, m.Rect)
	case *stdimage.Paletted:
		return fromPaletted(m)
	case *stdimage.CMYK:
		return fromCMYK(m)
	}
	return fromAny(m)
}

// fromGray takes the first of every step bytes.
func fromGray(pix []byte, stride, step int, r stdimage.Rectangle) *Pixels {
	p := NewPixels(r.Dx(), r.Dy(), 1)
	for y := range p.Height {
		dst := p.row(y)
		for x := range dst {
			dst[x] = pix[y*stride+x*step]
		}
	}
	return p
}

// fromRGBx takes R, G, B from pixels of step bytes, each channel's first byte.
func fromRGBx(pix []byte, stride, step, channel int, r stdimage.Rectangle) *Pixels {
	p := NewPixels(r.Dx(), r.Dy(), 3)
	for y := range p.Height {
		dst, src := p.row(y), pix[y*stride:]
		for x := range p.Width {
			s := src[x*step:]
			dst[3*x], dst[3*x+1], dst[3*x+2] = s[0], s[channel], s[2*channel]
		}
	}
	return p
}

func fromPaletted(m *stdimage.Paletted) *Pixels {
	table := make([][3]byte, 256)
	for i, c := range m.Palette {
		table[i] = rgb(c)
	}
	p := NewPixels(m.Rect.Dx(), m.Rect.Dy(), 3)
	for y := range p.Height {
		dst, src := p.row(y), m.Pix[y*m.Stride:]
		for x := range p.Width {
			copy(dst[3*x:], table[src[x]][:])
		}
	}
	return p
}

// fromCMYK converts as Pillow does: each ink is scaled by what black leaves.
func fromCMYK(m *stdimage.CMYK) *Pixels {
	p := NewPixels(m.Rect.Dx(), m.Rect.Dy(), 3)
	for y := range p.Height {
		dst, src := p.row(y), m.Pix[y*m.Stride:]
		for x := range p.Width {
			s := src[4*x : 4*x+4]
			rest := 255 - int(s[3])
			for c := range 3 {
				t := int(s[c])*rest + 128
				dst[3*x+c] = byte(max(rest-(t>>8+t)>>8, 0))
			}
		}
	}
	return p
}

func fromAny(m stdimage.Image) *Pixels {
	b := m.Bounds()
	p := NewPixels(b.Dx(), b.Dy(), 3)
	for y := range p.Height {
		dst := p.row(y)
		for x := range p.Width {
			c := rgb(m.At(b.Min.X+x, b.Min.Y+y))
			copy(dst[3*x:], c[:])
		}
	}
	return p
}
