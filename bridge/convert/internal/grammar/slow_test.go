package grammar

import (
	"strings"
	"testing"
	"time"
)

// A row of emoticons, each of which needs lookahead to the next, takes no longer
// than other text.
func TestARowOfEmoticonsIsReadInTime(t *testing.T) {
	for _, d := range []Dialect{V31, V36, V32} {
		began := time.Now()
		Parse(strings.Repeat(":#", 8<<10), d)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s: %v", d, took)
		}
	}
}
