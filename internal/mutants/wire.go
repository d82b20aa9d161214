package main

// wireMutants are the mistakes of sinks that send records to receivers, by what they promise.
var wireMutants = []mutant{
	{
		name: "postgres: the driver may read a batch that Append has let go of",
		file: "sinks/postgres/copy.go", old: "c.mu.Lock()\n\tdefer c.mu.Unlock()\n\tdefer func() {", new: "defer func() {",
		test: "^TestServer$/^connection_lost$",
	},
	{
		name: "object: the client may close a body that is being sent",
		file: "sinks/object/store/s3.go", old: "Transport: straight{tr}", new: "Transport: tr",
		pkg: "./sinks/object/store", test: "^TestRedirectsOfWrites$",
	},
	{
		name: "splunk_hec: a slice is committed before it is acknowledged",
		file: "sinks/splunkhec/sink.go", old: "if err := t.settle(ctx); err != nil {", new: "if err := ctx.Err(); err != nil {",
		test: "^TestKilled$",
	},
	{
		name: "splunk_hec: any 200 counts",
		file: "sinks/splunkhec/client.go", old: "case resp.StatusCode == http.StatusOK && (r.Acks != nil ||", new: "case resp.StatusCode == http.StatusOK || (r.Acks != nil ||",
		test: "^TestAnswers$",
	},
	{
		name: "splunk_hec: a channel with requests that aren't acknowledged is used again",
		file: "sinks/splunkhec/sink.go", old: "if err := t.settle(ctx); err != nil {", new: "if err := t.settle(ctx); err != nil {\n\t\t\tt.sink.giveChannel(t.channel)",
		test: "^TestChannels$",
	},
	{
		name: "splunk_hec: what a server says of the token is shown",
		file: "sinks/splunkhec/client.go", old: "bytes.ReplaceAll(text, []byte(token), []byte(\"***\"))", new: "bytes.Clone(text)",
		test: "^TestAnswers$",
	},
	{
		name: "splunk_hec: everything is a dead letter where nothing fits",
		file: "sinks/splunkhec/sink.go", old: "t.ends[from]-begin <= sending.Small", new: "t.ends[from]-begin < 0",
		test: "^TestAnswers$",
	},
	{
		name: "senders: a slice goes on after an error",
		file: "sinks/attempt/attempt.go", old: "\tcase a.broken != nil:\n\t\treturn nil, a.broken\n", new: "",
		test: "^TestAttempt$",
	},
	{
		name: "senders: an account of other rows is committed",
		file: "sinks/attempt/attempt.go", old: "|| account.Delivered.Rows != a.rows", new: "",
		test: "^TestAttempt$",
	},
	{
		name: "senders: a type without an ID fails the first batch",
		file: "sinks/attempt/attempt.go", old: "err = recordid.Check(st.Schema, st.DigestColumns)", new: "_ = recordid.Check(st.Schema, st.DigestColumns)",
		test: "^TestCheck$",
	},
	{
		name: "senders: a redirect takes the token elsewhere",
		file: "sinks/sending/sending.go", old: "return http.ErrUseLastResponse", new: "return nil",
		test: "^TestClient$",
	},
	{
		name: "senders: a receiver's time isn't kept",
		file: "sinks/sending/sending.go", old: "wait := fault.RetryAfterOf(err)", new: "wait := 0 * fault.RetryAfterOf(err)",
		test: "^TestPatiently$",
	},
}
