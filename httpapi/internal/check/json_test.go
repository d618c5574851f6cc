package check

import "testing"

func TestHalfCharacter(t *testing.T) {
	for text, want := range map[string]bool{
		`""`: false, `"\ufffd"`: false, `"\ud83d\ude00\ud83d\ude00"`: false, `"\\ud800"`: false, `"😀\u00e9"`: false,
		`"\ud83d"`: true, `"\ude00"`: true, `"\ud83d\n\ude00"`: true, `"\ud83dud83d"`: true, `"\\\ud83d"`: true,
	} {
		if got := halfCharacter([]byte(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}
