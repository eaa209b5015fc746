package sim

import (
	"bytes"
	"image"
	"image/color"
	_ "image/gif" // GIFs are read, and written as PNG
	"image/jpeg"
	"image/png"
)

// Sizes of pictures in points: the larger side of a thumbnail and of a preview.
const (
	thumbnailSize = 480
	previewSize   = 32
)

// fitted returns picture itself when no side is longer than size, otherwise a smaller one.
func fitted(picture image.Image, size int) image.Image {
	w, h := picture.Bounds().Dx(), picture.Bounds().Dy()
	if w <= size && h <= size || w == 0 || h == 0 {
		return picture
	}
	if w >= h {
		return scaled(picture, picture.Bounds(), size, max(h*size/w, 1))
	}
	return scaled(picture, picture.Bounds(), max(w*size/h, 1), size)
}

// squared returns the middle of a picture as a square of size points, as for avatars.
func squared(picture image.Image, size int) image.Image {
	b := picture.Bounds()
	side := min(b.Dx(), b.Dy())
	x, y := b.Min.X+(b.Dx()-side)/2, b.Min.Y+(b.Dy()-side)/2
	return scaled(picture, image.Rect(x, y, x+side, y+side), size, size)
}

// scaled scales from to w by h points, by nearest neighbour.
func scaled(picture image.Image, from image.Rectangle, w, h int) image.Image {
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			out.Set(x, y, color.RGBAModel.Convert(picture.At(from.Min.X+x*from.Dx()/w, from.Min.Y+y*from.Dy()/h)))
		}
	}
	return out
}

// encodedPicture encodes a picture as JPEG when kind says so, otherwise as PNG.
func encodedPicture(picture image.Image, kind string) []byte {
	var b bytes.Buffer
	var err error
	if kind == "image/jpeg" {
		err = jpeg.Encode(&b, picture, &jpeg.Options{Quality: 80})
	} else {
		err = png.Encode(&b, picture)
	}
	if err != nil {
		return nil
	}
	return b.Bytes()
}

// pictureFormat returns "png", "jpeg" or "gif", or "" if data is not a picture.
func pictureFormat(data []byte) string {
	_, format, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return ""
	}
	return format
}
