package jsonnum

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
)

// check32 compares with strconv, which rounds correctly.
func check32(t *testing.T, s string) {
	t.Helper()
	want, werr := strconv.ParseFloat(s, 32)
	got, next, err := Float32([]byte(s), 0)
	if (werr != nil) != (err != nil) {
		t.Fatalf("%s: error %v, strconv says %v", s, err, werr)
	}
	if err == nil && (math.Float32bits(got) != math.Float32bits(float32(want)) || next != len(s)) {
		t.Fatalf("%s: got %x (read %d of %d bytes), want %x", s, math.Float32bits(got), next, len(s), math.Float32bits(float32(want)))
	}
}

func TestFloat32Corners(t *testing.T) {
	for _, s := range []string{"0", "-0", "0.0", "1", "-1", "10", "0.1", "1e0", "1E+5", "1e-5", "16777216", "16777217", "16777219",
		"16777217.0000000000000000001", "16777216.9999999999999999999", "3.4028234663852886e38", "3.4028235677973366e38", "3.4028235677973367e38", "1e39", "-1e39", "1e400",
		"1.1754943508222875e-38", "1.401298464324817e-45", "7.006492321624085e-46", "7.006492321624086e-46", "1e-46", "1e-400", "0.00000000000000000000000000000001",
		"18446744073709551615", "18446744073709551616", "99999999999999999999", "0.000000000000000000000000000000000000011754943508222875",
		"1000000000000000000000000000000", "0.10000000149011612", "123456789012345678901234567890e-20", "1e999999999999", "0e999999999999", "8.5899345920000001e9"} {
		check32(t, s)
		check32(t, "-"+trimMinus(s))
	}
}

func trimMinus(s string) string {
	if s[0] == '-' {
		return s[1:]
	}
	return s
}

// Ties and their neighbours are where a double rounding would show.
func TestFloat32NearTies(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		bits := r.Uint32() &^ (1 << 31)
		if bits>>23 >= 254 {
			continue
		}
		lo, hi := math.Float32frombits(bits), math.Float32frombits(bits+1)
		mid := (float64(lo) + float64(hi)) / 2
		for _, f := range []float64{mid, math.Nextafter(mid, 0), math.Nextafter(mid, math.Inf(1))} {
			check32(t, strconv.FormatFloat(f, 'g', -1, 64))
			check32(t, strconv.FormatFloat(f, 'e', 25, 64))
			check32(t, strconv.FormatFloat(f, 'f', 18, 64))
		}
	}
}

func TestFloat32Random(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 100000 {
		f := math.Float32frombits(r.Uint32())
		if f != f || math.IsInf(float64(f), 0) {
			continue
		}
		check32(t, strconv.FormatFloat(float64(f), 'g', -1, 32))
		check32(t, strconv.FormatFloat(float64(f), 'g', -1, 64))
		check32(t, fmt.Sprintf("%d.%d", r.Uint64()>>(r.Uint32()%64), r.Uint64()>>(r.Uint32()%64)))
	}
}

func TestFloat64(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 100000 {
		f := math.Float64frombits(r.Uint64())
		if f != f || math.IsInf(f, 0) {
			continue
		}
		for _, s := range []string{strconv.FormatFloat(f, 'g', -1, 64), fmt.Sprintf("%d.%d", r.Uint64()>>(r.Uint32()%64), r.Uint32())} {
			want, _ := strconv.ParseFloat(s, 64)
			got, _, err := Float64([]byte(s), 0)
			if err != nil || math.Float64bits(got) != math.Float64bits(want) {
				t.Fatalf("%s: got %v %v, want %v", s, got, err, want)
			}
		}
	}
	if _, _, err := Float64([]byte("1e309"), 0); !errors.Is(err, ErrRange) {
		t.Error("1e309 is in range:", err)
	}
}

// The grammar is that of encoding/json.
func TestGrammar(t *testing.T) {
	for _, s := range []string{"", "-", "+1", ".5", "5.", "01", "-01", "1e", "1e+", "0x10", "--1", "1.e5", "Infinity", "NaN", "1_0", "00", "-0", "0", "0e0", "1.5E-3", "12345678", "123456789.12345678"} {
		_, next := scan([]byte(s), 0)
		if valid := json.Valid([]byte(s)) && s != ""; valid != (next == len(s) && s != "") {
			t.Errorf("%q: read %d bytes, json.Valid says %v", s, next, valid)
		}
	}
}

func TestIntegers(t *testing.T) {
	for _, c := range []struct {
		text string
		bits int
		want string // the int result or error, and the uint result or error
	}{
		{"0", 8, "0 0"}, {"-0", 8, "0 0"}, {"127", 8, "127 127"}, {"128", 8, "out of range 128"}, {"-128", 8, "-128 out of range"}, {"-129", 8, "out of range out of range"},
		{"255", 8, "out of range 255"}, {"256", 8, "out of range out of range"}, {"32767", 16, "32767 32767"}, {"2147483648", 32, "out of range 2147483648"},
		{"9007199254740993", 64, "9007199254740993 9007199254740993"}, {"9223372036854775807", 64, "9223372036854775807 9223372036854775807"},
		{"-9223372036854775808", 64, "-9223372036854775808 out of range"}, {"9223372036854775808", 64, "out of range 9223372036854775808"},
		{"18446744073709551615", 64, "out of range 18446744073709551615"}, {"18446744073709551616", 64, "out of range out of range"},
		{"99999999999999999999999", 64, "out of range out of range"}, {"1.0", 32, "not an integer not an integer"}, {"1e2", 32, "not an integer not an integer"}, {"x", 8, "not a number not a number"},
	} {
		b := []byte(c.text)
		s, _, err := Int(b, 0, c.bits)
		u, _, uerr := Uint(b, 0, c.bits)
		if got := show(s, err) + " " + show(u, uerr); got != c.want {
			t.Errorf("%s as %d bits: %s, want %s", c.text, c.bits, got, c.want)
		}
	}
}

func show(v any, err error) string {
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(v)
}

func TestAppendFloat(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 50000 {
		f := math.Float32frombits(r.Uint32())
		s := AppendFloat(nil, float64(f), 32)
		if f != f || math.IsInf(float64(f), 0) {
			if s[0] != '"' {
				t.Fatalf("%v is written as %s", f, s)
			}
			continue
		}
		g, next, err := Float32(s, 0)
		if err != nil || next != len(s) || math.Float32bits(f) != math.Float32bits(g) || !json.Valid(s) {
			t.Fatalf("%v is written as %s, which reads as %v, %v", f, s, g, err)
		}
	}
	for v, want := range map[float64]string{0: "0.0", 1: "1.0", -3: "-3.0", 0.5: "0.5", 1e30: "1e+30", math.NaN(): `"NaN"`, math.Inf(-1): `"-Infinity"`, math.Copysign(0, -1): "-0.0"} {
		if got := string(AppendFloat(nil, v, 64)); got != want && !(v == 0 && got == "-0.0") {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}

func FuzzFloat32(f *testing.F) {
	f.Add("0.1")
	f.Add("16777217")
	f.Add("123456789.123456789e-3")
	f.Fuzz(func(t *testing.T, s string) {
		if _, next := scan([]byte(s), 0); next == len(s) && s != "" && len(s) < 300 {
			check32(t, s)
		}
	})
}

func BenchmarkFloat32(b *testing.B) {
	r := rand.New(rand.NewPCG(9, 10))
	for _, bits := range []int{32, 64} {
		var text []byte
		for range 10000 {
			text = strconv.AppendFloat(text, float64(r.Float32()), 'g', -1, bits)
			text = append(text, ',')
		}
		b.Run(fmt.Sprint("digits of float", bits), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				for i := 0; i < len(text); i++ {
					_, i, _ = Float32(text, i)
				}
			}
		})
	}
}

func BenchmarkAppendFloat(b *testing.B) {
	r := rand.New(rand.NewPCG(9, 10))
	v := make([]float32, 1000)
	for i := range v {
		v[i] = r.Float32()
	}
	var text []byte
	for b.Loop() {
		text = text[:0]
		for _, f := range v {
			text = append(AppendFloat(text, float64(f), 32), ',')
		}
		b.SetBytes(int64(len(text)))
	}
}
