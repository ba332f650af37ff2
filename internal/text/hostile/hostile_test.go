package hostile_test

import (
	"strings"
	"testing"

	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/internal/text/hostile"
)

// TestThrough: the checker finds each kind of what must not come through, and nothing in what is
// fit.
func TestThrough(t *testing.T) {
	for _, bad := range []string{"\x1b[31m", "a\nFORGED", "  FORGED", "\u202e", "\u200b", "\r",
		"\u3164", "\u009b", "\xff", strings.Repeat("n", 50_000), hostile.Text} {
		if hostile.Through(bad) == nil {
			t.Errorf("%.40q came through", bad)
		}
	}
	for _, good := range []string{"", "12\u202f345\tacks\nand more", "é ÷ … →",
		text.Line(hostile.Text)} {
		if err := hostile.Through(good); err != nil {
			t.Errorf("%.40q: %v", good, err)
		}
	}
}

func TestFill(t *testing.T) {
	var v struct {
		A string
		B []struct{ C [2]string }
		D *string
		e string
	}
	hostile.Fill(&v)
	if v.A != hostile.Text || len(v.B) != 1 || v.B[0].C[1] != hostile.Text || *v.D != hostile.Text ||
		v.e != "" {
		t.Errorf("%+v", v)
	}
}
