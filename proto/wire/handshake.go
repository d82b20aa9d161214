package wire

import (
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/experimental"

	"github.com/sluice-io/sluice/proto/arena"
	"github.com/sluice-io/sluice/proto/shm"
)

// ProtocolVersion is the version of the plugin protocol that this build speaks.
const ProtocolVersion = 1

// PluginSetName is the one name under which a plugin process serves.
const PluginSetName = "sluice"

const (
	// MaxMessage is the longest message, in bytes, that either side accepts. A record of 16 MiB travels alone.
	MaxMessage = 64 << 20
	// MaxFree is the longest message, in bytes, that travels without credit.
	MaxFree = 64 << 10
	// MaxRows is the most rows that one frame may hold: columns with one value in the slice are spread over as many.
	MaxRows = 1 << 16
	// MaxSpread is the most bytes that a read's columns with one value and null columns may take once they are spread over the rows of its
	// frames.
	MaxSpread = 64 << 20
	// MaxDeadPiece is the most bytes of a dead letter that one message may carry.
	MaxDeadPiece = 1 << 20
)

// Both HTTP/2 windows are set: setting one leaves the other at 64 KiB. Credit bounds memory, so the windows only have to
// be wide enough not to stall.
const (
	httpWindow  = 8 << 20
	socketBytes = 256 << 10
)

// Handshake is what host and plugin must agree on before they talk. The cookie only tells a plugin from a program that a
// person started by mistake; it is no secret.
var Handshake = plugin.HandshakeConfig{
	ProtocolVersion:  ProtocolVersion,
	MagicCookieKey:   "SLUICE_PLUGIN",
	MagicCookieValue: "b7d2f0c6-sluice-plugin-v1",
}

// Features lists the optional parts of the protocol that this build knows. One is used only if both sides name it; a side that has shared
// memory names FeatureSharedMemory, too.
func Features(shared *shm.Memory) []string {
	if shared == nil {
		return []string{FeatureNullColumns, FeatureMeasure}
	}
	return []string{FeatureNullColumns, FeatureMeasure, FeatureSharedMemory}
}

// FeatureNullColumns is the feature of frames that leave out columns which are null in every row.
const FeatureNullColumns = "null_columns"

// FeatureMeasure is the feature of sources that may be asked what the vendor itself says of a range.
const FeatureMeasure = "measure"

// FeatureSharedMemory is the feature of batches whose frames lie in memory that both sides have mapped: package shm.
const FeatureSharedMemory = "shared_memory"

// SharedMemoryVar is the environment variable that tells a plugin the number of the open file of that memory.
const SharedMemoryVar = "SLUICE_SHARED_MEMORY"

// ServerOptions returns the options of a gRPC server that takes part in the protocol.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(Codec()),
		grpc.MaxRecvMsgSize(MaxMessage),
		grpc.MaxSendMsgSize(MaxMessage),
		grpc.InitialWindowSize(httpWindow),
		grpc.InitialConnWindowSize(httpWindow),
		grpc.ReadBufferSize(socketBytes),
		grpc.WriteBufferSize(socketBytes),
	}
}

// DialOptions returns the options of a gRPC client that takes part in the protocol, all but the transport's credentials. shared is
// the memory in which the server may put frames, or nil.
func DialOptions(shared *shm.Memory) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultCallOptions(
			grpc.ForceCodecV2(CodecWith(arena.NewPool(idleReceived), shared)),
			grpc.MaxCallRecvMsgSize(MaxMessage),
			grpc.MaxCallSendMsgSize(MaxMessage),
		),
		grpc.WithInitialWindowSize(httpWindow),
		grpc.WithInitialConnWindowSize(httpWindow),
		grpc.WithReadBufferSize(socketBytes),
		grpc.WithWriteBufferSize(socketBytes),
		grpc.WithDisableRetry(),
		experimental.WithBufferPool(&dataBuffers{}),
	}
}
