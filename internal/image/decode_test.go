package image

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	stdimage "image"
	"image/png"
	"path/filepath"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/npy"
)

// TestDecodesAsPillow compares pixels with Pillow's. They are equal but for the
// JPEGs that the standard library decodes: those may differ by the last bit of
// the inverse DCT, which colour conversion can turn into 3.
func TestDecodesAsPillow(t *testing.T) {
	files, err := filepath.Glob("testdata/*.npy")
	if err != nil || len(files) < 9 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		want, err := npy.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(f, ".npy")
		p, err := DecodeFile(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if p.Height != want.Shape[0] || p.Width != want.Shape[1] || p.Channels != 3 {
			t.Errorf("%s: %dx%dx%d, want %v", name, p.Width, p.Height, p.Channels, want)
			continue
		}
		limit := 0
		if strings.HasSuffix(name, "444.jpg") || strings.HasSuffix(name, "cmyk.jpg") { // progressive, four components
			limit = 3
		}
		for i, v := range p.Pix {
			if d := int(v) - int(want.Data[i]); d > limit || d < -limit {
				t.Errorf("%s: byte %d is %d, Pillow has %d", name, i, v, want.Data[i])
				break
			}
		}
	}
}

// withExif puts an eXIf chunk with an orientation after a PNG's header.
func withExif(file []byte, order binary.AppendByteOrder, o uint16) []byte {
	tiff := []byte("MM\x00*\x00\x00\x00\x08")
	if order == binary.AppendByteOrder(binary.LittleEndian) {
		tiff = []byte("II*\x00\x08\x00\x00\x00")
	}
	tiff = order.AppendUint16(tiff, 1)
	tiff = order.AppendUint16(tiff, 0x0112)
	tiff = order.AppendUint16(tiff, 3)
	tiff = order.AppendUint32(tiff, 1)
	tiff = order.AppendUint16(tiff, o)
	tiff = append(tiff, 0, 0, 0, 0, 0, 0)
	chunk := append([]byte("eXIf"), tiff...)
	var out []byte
	const header = 8 + 25
	out = append(out, file[:header]...)
	out = binary.BigEndian.AppendUint32(out, uint32(len(tiff)))
	out = append(out, chunk...)
	out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(chunk))
	return append(out, file[header:]...)
}

func encodePNG(t testing.TB, m stdimage.Image) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestOrientation(t *testing.T) {
	// Stored as  1 2 3
	//            4 5 6
	m := stdimage.NewGray(stdimage.Rect(0, 0, 3, 2))
	copy(m.Pix, []byte{1, 2, 3, 4, 5, 6})
	file := encodePNG(t, m)
	want := map[uint16]string{
		0: "3x2 1 2 3 4 5 6", 1: "3x2 1 2 3 4 5 6", 2: "3x2 3 2 1 6 5 4", 3: "3x2 6 5 4 3 2 1", 4: "3x2 4 5 6 1 2 3",
		5: "2x3 1 4 2 5 3 6", 6: "2x3 4 1 5 2 6 3", 7: "2x3 6 3 5 2 4 1", 8: "2x3 3 6 2 5 1 4", 9: "3x2 1 2 3 4 5 6",
	}
	for o, w := range want {
		for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
			p, err := Decode(withExif(file, order, o), DefaultLimits)
			if err != nil {
				t.Fatal(err)
			}
			if got := describe(p); got != w {
				t.Errorf("orientation %d: %s, want %s", o, got, w)
			}
		}
	}
}

func TestLimits(t *testing.T) {
	file := encodePNG(t, stdimage.NewGray(stdimage.Rect(0, 0, 100, 50)))
	for want, l := range map[string]Limits{
		"limit of 4999 pixels": {1 << 20, 4999},
		"limit of 10 bytes":    {10, 1 << 20},
	} {
		if _, err := Decode(file, l); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	// A header that promises 2^31-1 lines must be refused by the header alone.
	bomb := bytes.Clone(file)
	binary.BigEndian.PutUint32(bomb[20:], 1<<31-1)
	binary.BigEndian.PutUint32(bomb[29:], crc32.ChecksumIEEE(bomb[12:29]))
	if _, err := Decode(bomb, DefaultLimits); err == nil {
		t.Error("a picture of 100x2147483647 was decoded")
	}
	if _, err := Decode([]byte("no picture"), DefaultLimits); err == nil || !strings.Contains(err.Error(), "unknown format") {
		t.Error(err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(withExif(encodePNG(f, stdimage.NewRGBA(stdimage.Rect(0, 0, 3, 2))), binary.LittleEndian, 6))
	for _, name := range []string{"420.jpg", "lossy.webp", "frame.gif", "plain.bmp"} {
		p, err := filepath.Abs(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(readFile(f, p))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Decode(data, Limits{1 << 20, 1 << 16})
		if err == nil && len(p.Pix) != p.Width*p.Height*p.Channels {
			t.Errorf("%dx%dx%d with %d bytes", p.Width, p.Height, p.Channels, len(p.Pix))
		}
	})
}
