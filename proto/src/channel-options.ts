const KiB = 1 << 10;
const MiB = 1 << 20;

/**
 * Bytes of data in one ReadRangeResponse. Measured from 16 KiB to 2 MiB, 512 KiB reads hot 16 MiB blocks the fastest, one at a time
 * and four at a time, with a fifth less CPU per byte on both sides than 64 KiB. Smaller messages pay more per message. Larger ones
 * gain nothing and cost memory: a member has one of them for each stream.
 */
export const MESSAGE_BYTES = 512 * KiB;

/** Options of every channel that reads. HTTP/2's default window of 64 KiB limits a stream to window / round trip: 9 MiB/s at 4 ms. */
export const readingChannelOptions = {
  "grpc-node.flow_control_window": 16 * MiB,
  "grpc.max_receive_message_length": 4 * MiB,
  // Detects a member that vanished without a FIN in 20 + 5 s. Faster pings are answered with ENHANCE_YOUR_CALM.
  "grpc.keepalive_time_ms": 20_000,
  "grpc.keepalive_timeout_ms": 5_000,
  "grpc.enable_channelz": 0,
};

/** The longest request that a member accepts. Most are a URL and some numbers, others are many URLs. */
export const MAX_REQUEST_BYTES = 256 * KiB;

/** Options of every member's listener. */
export const listenerOptions = {
  "grpc.max_receive_message_length": MAX_REQUEST_BYTES,
  "grpc.max_send_message_length": 4 * MiB,
  "grpc.enable_channelz": 0,
};
