package sinks

// Files says where and how a sink's data files lie, for readers that find them by their names: what `sluice sql` makes views of. It holds
// no credentials.
type Files struct {
	Place    Place
	Root     string // absolute folder, or the bucket and prefix: "acme-logs/prod"
	Endpoint string // of a store that isn't the provider's own: https://minio.example.com:9000
	Region   string
	// PathStyle says that the bucket stands in the URL's path instead of in the host's name.
	PathStyle bool
	Format    string // raw, ndjson, csv, parquet, arrow or arrow-stream
	Extension string // of file names without a compression's: ".ndjson"
	Nanos     bool   // of Parquet: timestamps have nanoseconds
	Streams   map[string]StreamFiles
	// Unsettled says that files of slices that aren't committed may lie beside the others: what names them must be asked for exactness.
	Unsettled bool
}

// StreamFiles is how the files of one stream lie.
type StreamFiles struct {
	// Folders are those below the root, outermost first: literal, or with placeholders such as log_id={partition}. {stream} and what doesn't
	// change in the life of a sink are filled in.
	Folders []string
	// Omitted are columns that the folders tell and the files leave out.
	Omitted []string
}

// Place is what a Files' root lies on.
type Place string

// The places.
const (
	OnDisk  Place = "disk"
	OnS3    Place = "s3"
	OnGCS   Place = "gcs"
	OnAzure Place = "azure"
)
