// Package qrcode draws QR codes for pages.
package qrcode

import (
	"fmt"
	"strings"

	"rsc.io/qr"
)

// quiet is the white border that ISO 18004 wants around a QR code, in modules.
const quiet = 4

// Drawing is a QR code: a square of Side by Side modules, its border included, and the dark ones as the data of
// an SVG path. It is to be shown dark on white in any theme.
type Drawing struct {
	Side int
	Path string
}

// Draw draws a text. It must stand beside the drawing as well: not everybody sees that, or has a camera.
func Draw(text string) (Drawing, error) {
	c, err := qr.Encode(text, qr.M)
	if err != nil {
		return Drawing{}, fmt.Errorf("draw a QR code: %w", err)
	}
	var b strings.Builder
	for y := range c.Size {
		for x := 0; x < c.Size; x++ {
			from := x
			for c.Black(x, y) { // false outside
				x++
			}
			if x > from {
				_, _ = fmt.Fprintf(&b, "M%d %dh%dv1h-%dz", from+quiet, y+quiet, x-from, x-from)
			}
		}
	}
	return Drawing{c.Size + 2*quiet, b.String()}, nil
}
