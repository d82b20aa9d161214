// Package report makes the account of a month: for each log and sink what was asked, covered and delivered, what the vendor says of it,
// what was unavailable and why, and by which versions it was done.
//
// A report is made of the ledger and the config alone. No clock, no locale and no order of a map is in it: the same ledger gives the same
// bytes, whenever and wherever it is asked. "As of" is the ledger's latest stamp. It reads beside a running host and changes nothing.
package report
