package forecast

import "math"

// Estimate is a figure with the range that 8 of 10 such figures are expected to lie in.
type Estimate struct {
	Low  float64 `json:"low"`
	Mid  float64 `json:"mid"`
	High float64 `json:"high"`
}

// Exactly is an estimate without doubt.
func Exactly(n float64) Estimate { return Estimate{n, n, n} }

// within returns an estimate around a figure whose relative deviation is sigma.
func within(mid, sigma float64) Estimate {
	const eightOfTen = 1.28
	spread := math.Min(eightOfTen*sigma, 3)
	down := 1 - spread
	if spread > 0.5 { // a figure isn't negative
		down = 0.5 / (0.5 + spread)
	}
	return Estimate{mid * down, mid, mid * (1 + spread)}
}

// Plus adds figures that may be wrong together.
func (e Estimate) Plus(o Estimate) Estimate {
	return Estimate{e.Low + o.Low, e.Mid + o.Mid, e.High + o.High}
}

// Times scales an estimate.
func (e Estimate) Times(f float64) Estimate { return Estimate{e.Low * f, e.Mid * f, e.High * f} }
