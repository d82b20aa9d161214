// Package budget keeps the use of a vendor's API within what the vendor allows per key, namespace and time: requests are never
// exceeded, bytes at most by one block. It counts across slices, pipelines and restarts, in tables of the ledger's database.
//
// A request is reserved, durably, before it is sent, and settled afterwards:
//
//	grant, err := m.Acquire(ctx, budget.Request{Key: k, Namespace: "download", LimitRequests: 150, Window: 15 * time.Minute, Requests: 1, ...})
//	if !grant.Granted { ... ask again after grant.RetryAfter ... }
//	// the answer's headers have come
//	m.Settle(ctx, budget.Settlement{Reservation: grant.Reservation, Requests: 1, Vendor: what the headers say})
//	// the last byte has come, or the request has failed
//	m.Settle(ctx, budget.Settlement{Reservation: grant.Reservation, Requests: 1, Bytes: n, Done: true})
//
// # What counts, and for how long
//
//   - A request counts from its reservation until one window after its answer's headers or its failure; bytes until one window after
//     the last byte. A vendor that counts at arrival, at the answer or in between has counted within that time.
//   - A reservation that its owner never settled counts in full for one window after the owner's end (Abandon), or after the start
//     of the next Manager if the host ended too.
//   - Bytes are reserved in blocks. What an open answer has reserved counts until its last byte, with one exception, so that an
//     answer larger than the budget can end at all: when the answer itself asks for more, its own blocks count for one window.
//   - Of several users of a key, each with limits of its own, every limit holds, so the smallest applies. A user's limits are
//     forgotten when it is abandoned.
//   - Share of a limit (rounded down, at least 1) is used; the rest is left to other users of the key.
//
// # Clocks
//
// The wall clock is never used. Stamps are the boot's ID and its clock (CLOCK_BOOTTIME: it counts suspension and can't be set). In
// another boot the vendor's Date decides: the difference between that of the stamp and the first that is seen now, less a margin.
// Without one, what was counted counts for one window from the start.
//
// # The vendor's answers
//
// Retry-After blocks the namespace, for at most a day or two windows. A limit that is smaller than the settings' holds until an answer says
// otherwise, at most until its reset, which is taken as a day or two windows at most (without one: for a window); a larger one changes nothing: the settings are the operator's word. What
// is said to remain is a second count beside ours until its reset (without one: for a window), less what was in flight when it was
// said; both counts must allow a request.
//
// What it deliberately does not do: it never waits. Acquire answers at once and says when to ask again.
package budget
