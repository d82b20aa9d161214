// Package forecast says what a run will weigh and how long it will take, before a byte is moved, and what that rests on.
//
//	weights := forecast.Weights{Profile: forecast.NewProfile(hints), Usage: forecast.NewUsage(measures, ...)}
//	bytes, rows, basis := weights.Of(slice)
//	pace := forecast.PaceOf(runs)
//	result := forecast.Simulate(lanes, budgets)
//
// Weights come from what the vendor itself says of a day, split by the profile of the log's hours, else from that profile alone. A
// range stands beside each figure: what comes from days of the past is as uncertain as those days differ from their own profile.
//
// Simulate runs the slices through the vendor's budget as a run would: so many at a time, each request counted until a window after
// its answer, bytes until a window after the last one. Retry-After, failures and slices that turn out too large for the vendor's cap
// aren't foreseen, except as far as they made earlier runs ask more often.
//
// The package asks nobody and writes nothing.
package forecast
