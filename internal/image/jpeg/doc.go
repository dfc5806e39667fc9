// Package jpeg decodes baseline JPEG files with the inverse transform of libjpeg,
// whose pixels most models were trained on; the standard library's differs in
// the last bit of many samples.
//
// Progressive files, four components and unusual subsampling are not supported:
// Decode says ErrUnsupported and the caller takes another decoder.
package jpeg

import "errors"

// ErrUnsupported is the error for valid files that this package leaves to others.
var ErrUnsupported = errors.New("jpeg: this kind of file is not supported")
