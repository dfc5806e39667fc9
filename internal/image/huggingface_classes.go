package image

import (
	"encoding/json"
	"fmt"
)

// Means and standard deviations that processors are named after.
var (
	half         = Numbers{0.5, 0.5, 0.5}
	imageNetMean = Numbers{0.485, 0.456, 0.406}
	imageNetStd  = Numbers{0.229, 0.224, 0.225}
	clipMean     = Numbers{0.48145466, 0.4578275, 0.40821073}
	clipStd      = Numbers{0.26862954, 0.26130258, 0.27577711}
)

// hfDefaults are the class defaults of transformers 5.23's image processors
// whose steps are resize, centre crop, rescale and normalise. Others (LeViT's
// enlarged shorter side, EfficientNet's second normalisation, …) are left out,
// so that they are refused rather than done half.
var hfDefaults = map[string]hfConfig{
	"ViT":         defaults(Bilinear, edges(224, 224), 0, half, half),
	"DeiT":        defaults(Bicubic, edges(256, 256), 224, half, half),
	"Beit":        defaults(Bicubic, edges(224, 224), 0, half, half),
	"CLIP":        shorter(Bicubic, 224, 224, clipMean, clipStd),
	"ConvNext":    cropPct(shorter(Bicubic, 384, 0, half, half), 224.0/256),
	"MobileNetV1": shorter(Bilinear, 256, 224, half, half),
	"MobileNetV2": shorter(Bilinear, 256, 224, half, half),
	"MobileViT":   bgr(shorter(Bicubic, 224, 256, nil, nil)),
	"Segformer":   defaults(Bilinear, edges(512, 512), 0, imageNetMean, imageNetStd),
	"Siglip":      shorterIfBare(defaults(Bicubic, edges(224, 224), 0, half, half)),
	"Blip":        defaults(Bicubic, edges(384, 384), 0, clipMean, clipStd),
	"Bit":         shorter(Bicubic, 224, 224, clipMean, clipStd),
	"Pvt":         defaults(Bicubic, edges(224, 224), 0, imageNetMean, imageNetStd),
}

func edges(w, h int) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"height": %d, "width": %d}`, h, w))
}

// defaults makes a class that resizes to size and, if crop is not 0, cuts a square.
func defaults(f Filter, size json.RawMessage, crop int, mean, std Numbers) hfConfig {
	resample, yes, cut, norm := int(f), true, crop > 0, mean != nil
	c := hfConfig{DoResize: &yes, Size: size, Resample: &resample, DoCrop: &cut, DoRescale: &yes, DoNorm: &norm, Mean: mean, Std: std}
	if crop > 0 {
		c.CropSize = edges(crop, crop)
	}
	return c
}

// shorter makes a class whose size is the shorter side's, a bare number too.
func shorter(f Filter, n, crop int, mean, std Numbers) hfConfig {
	return shorterIfBare(defaults(f, json.RawMessage(fmt.Sprintf(`{"shortest_edge": %d}`, n)), crop, mean, std))
}

// shorterIfBare makes a size that is one number the shorter side's.
func shorterIfBare(c hfConfig) hfConfig {
	square := false
	c.Square = &square
	return c
}

func cropPct(c hfConfig, pct float64) hfConfig {
	c.CropPct = &pct
	return c
}

func bgr(c hfConfig) hfConfig {
	yes := true
	c.FlipOrder = &yes
	return c
}
