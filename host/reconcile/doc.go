// Package reconcile holds what was delivered of a log, day by day, against what the vendor itself says of those days: its usage figures,
// or its counts.
//
// Usage is told by the vendor's own accounting, in which a record may weigh more than its bytes. So a log's ratio is calibrated by the
// log's own days, with what the vendor seems to count for each record beside its bytes, and a day that leaves it is flagged. What the package can't find is a loss that is the same on each day: that is in the
// ratio, which is why the ratio is shown. It reads no ledger and asks no vendor: Days puts together what others read.
//
//	late := reconcile.Late(receipts, known)
//	days := reconcile.Days(reconcile.Entries(receipts, late), covered, measures)
//	result := reconcile.Judge(days)
package reconcile
