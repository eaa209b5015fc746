package event

import (
	"os"
	"testing"
)

// BenchmarkOneEvent measures all decoding and encoding of one message between a side
// and the handler that delivers it.
func BenchmarkOneEvent(b *testing.B) {
	matrix, err := os.ReadFile(fixture(KindMXMessage, 0))
	if err != nil {
		b.Fatal(err)
	}
	chat, err := os.ReadFile(fixture(KindRCMessage, 0))
	if err != nil {
		b.Fatal(err)
	}
	b.Run("mx", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, e, err := ReadMatrix(matrix, "")
			if err != nil {
				b.Fatal(err)
			}
			deliver(b, e)
		}
	})
	b.Run("rc", func(b *testing.B) {
		e, err := Decode(KindRCMessage, chat) // what the Rocket.Chat client has read
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			deliver(b, e)
		}
	})
}

func deliver(b *testing.B, e Event) {
	b.Helper()
	stored, err := Encode(e)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := Decode(e.Kind(), stored); err != nil {
		b.Fatal(err)
	}
}
