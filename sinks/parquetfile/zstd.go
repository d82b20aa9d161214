package parquetfile

import (
	"sync"

	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/klauspost/compress/zstd"
)

// pageZstd compresses pages with encoders that are used again and hold a window of two pages: the library's own hold 16 MiB each.
type pageZstd struct {
	compress.Codec
	encoders sync.Pool
}

// setCodec makes the library take pageZstd, once in a process.
var setCodec = sync.OnceValue(func() error {
	own, err := compress.GetCodec(compress.Codecs.Zstd)
	if err != nil {
		return err
	}
	compress.RegisterCodec(compress.Codecs.Zstd, &pageZstd{Codec: own})
	return nil
})

// EncodeLevel implements compress.Codec. There is one level.
func (z *pageZstd) EncodeLevel(dst, src []byte, _ int) []byte {
	e, ok := z.encoders.Get().(*zstd.Encoder)
	if !ok {
		var err error
		e, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithZeroFrames(true),
			zstd.WithWindowSize(2*pageSize), zstd.WithLowerEncoderMem(true))
		if err != nil {
			return z.Codec.EncodeLevel(dst, src, zstdLevel) // no option of these is refused
		}
	}
	defer z.encoders.Put(e)
	return e.EncodeAll(src, dst[:0])
}
