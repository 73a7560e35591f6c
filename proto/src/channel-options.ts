const KiB = 1 << 10;
const MiB = 1 << 20;

/**
 * Bytes of data in one ReadRangeResponse. Of the sizes from 16 KiB to 2 MiB, 512 KiB was the fastest for hot 16 MiB blocks, read
 * singly or four concurrently; it costs both sides a fifth less CPU per byte than 64 KiB. Smaller messages have more overhead.
 * Larger ones gain nothing and cost memory, because a member buffers one message per stream.
 */
export const MESSAGE_BYTES = 512 * KiB;

/**
 * Options of channels for reads. HTTP/2's default window of 64 KiB would limit a stream to window / round trip: 16 MiB/s at 4 ms.
 */
export const readingChannelOptions = {
  "grpc-node.flow_control_window": 16 * MiB,
  "grpc.max_receive_message_length": 4 * MiB,
  // Detects a member that vanished without a FIN in 20 + 5 s. Faster pings are answered with ENHANCE_YOUR_CALM.
  "grpc.keepalive_time_ms": 20_000,
  "grpc.keepalive_timeout_ms": 5_000,
  "grpc.enable_channelz": 0,
};

/** Maximum size of a request, bytes. Most requests are a URL and some numbers; some contain many URLs. */
export const MAX_REQUEST_BYTES = 256 * KiB;

/** Options of every member's listener. */
export const listenerOptions = {
  "grpc.max_receive_message_length": MAX_REQUEST_BYTES,
  "grpc.max_send_message_length": 4 * MiB,
  "grpc.enable_channelz": 0,
};
