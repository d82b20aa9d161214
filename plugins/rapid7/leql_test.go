package rapid7

import "testing"

func TestCalculation(t *testing.T) {
	tests := map[string]string{
		"where(/.*/)":                            "",
		"where(calculate)":                       "",
		"where(/calculate(/)":                    "",
		`where(/a\/calculate(count)/)`:           "",
		`where("groupby(x)")`:                    "",
		`where('it\'s calculate(')`:              "",
		"where(a) calculate(count)":              "calculate",
		"where(a) CALCULATE (count)":             "calculate",
		"where(a)groupby(b)":                     "groupby",
		"where(/x/) GroupBy\t(b) calculate(sum)": "groupby",
		"where(recalculate(x))":                  "",
	}
	for query, want := range tests {
		if got := Calculation(query); got != want {
			t.Errorf("Calculation(%q) = %q, want %q", query, got, want)
		}
	}
}
