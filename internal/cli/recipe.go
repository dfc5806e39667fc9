package cli

import (
	"github.com/salver-ml/salver/internal/image"
	"github.com/spf13/cobra"
)

// recipeFlags say how pictures become inputs.
type recipeFlags struct {
	spec             image.Spec
	scale, mean, std string
}

func (f *recipeFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.spec.Resize, "resize", "", "pictures: WxH, N (shorter side) or letterbox:WxH")
	fl.StringVar(&f.spec.Filter, "filter", "", "pictures: bilinear, bicubic, lanczos, box, hamming or nearest, antialiased")
	fl.StringVar(&f.spec.Pad, "pad", "", "pictures: ground of letterbox, 0 to 255")
	fl.StringVar(&f.spec.Crop, "crop", "", "pictures: WxH or N, from the middle")
	fl.StringVar(&f.spec.Color, "color", "", "pictures: rgb, bgr or gray")
	fl.StringVar(&f.scale, "scale", "", "pictures: factor of the bytes, e.g. 1/255")
	fl.StringVar(&f.mean, "mean", "", "pictures: subtracted after scaling, one number or one a channel")
	fl.StringVar(&f.std, "std", "", "pictures: divisor after that")
	fl.StringVar(&f.spec.Layout, "layout", "", "pictures: nchw or nhwc")
}

// given reports whether any of them is.
func (f *recipeFlags) given() bool {
	s := &f.spec
	return s.Resize+s.Filter+s.Pad+s.Crop+s.Color+s.Layout+f.scale+f.mean+f.std != ""
}

// parse reads the numbers among the flags.
func (f *recipeFlags) parse() (image.Spec, error) {
	for _, n := range []struct {
		flag, text string
		to         *image.Numbers
	}{{"scale", f.scale, &f.spec.Scale}, {"mean", f.mean, &f.spec.Mean}, {"std", f.std, &f.spec.Std}} {
		if n.text == "" {
			continue
		}
		v, err := image.ParseNumbers(n.text)
		if err != nil {
			return f.spec, misusef("--%s: %w", n.flag, err)
		}
		*n.to = v
	}
	return f.spec, nil
}
