const KiB = 1 << 10;
const MiB = 1 << 20;

/**
 * Bytes of data in one ReadRangeResponse. Of 16 KiB to 2 MiB, 512 KiB read hot 16 MiB blocks the fastest, one at a time
 * and four at a time, with a fifth less CPU a byte on both sides than 64 KiB. Smaller messages pay more per message;
 * larger ones gain nothing more and cost memory: a member holds one of them for each stream.
 */
export const MESSAGE_BYTES = 512 * KiB;

/** For every channel that reads: HTTP/2's default window of 64 KiB holds a stream to window / round trip, 9 MiB/s at 4 ms. */
export const readingChannelOptions = {
  "grpc-node.flow_control_window": 16 * MiB,
  "grpc.max_receive_message_length": 4 * MiB,
  // A member that vanished without a FIN is noticed in 20 + 5 s. Faster pings are answered with ENHANCE_YOUR_CALM.
  "grpc.keepalive_time_ms": 20_000,
  "grpc.keepalive_timeout_ms": 5_000,
  "grpc.enable_channelz": 0,
};

/** The longest request that a member receives: most are a URL and some numbers, others many URLs. */
export const MAX_REQUEST_BYTES = 256 * KiB;

/** For every member's listener. */
export const listenerOptions = {
  "grpc.max_receive_message_length": MAX_REQUEST_BYTES,
  "grpc.max_send_message_length": 4 * MiB,
  "grpc.enable_channelz": 0,
};
