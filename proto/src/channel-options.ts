import type { ChannelOptions } from "@grpc/grpc-js";

const KiB = 1 << 10;
const MiB = 1 << 20;

/**
 * Bytes of data in one ReadRangeResponse. 64 KiB was the fastest of 16 KiB to 1 MiB by test/bench/grpc-hot.ts: larger
 * messages are gathered from more HTTP/2 frames and copied once more, smaller ones pay more per message.
 */
export const MESSAGE_BYTES = 64 * KiB;

/** For every channel that reads: HTTP/2's default window of 64 KiB holds a stream to window / round trip, 9 MiB/s at 4 ms. */
export const readingChannelOptions: ChannelOptions = {
  "grpc-node.flow_control_window": 16 * MiB,
  "grpc.max_receive_message_length": 4 * MiB,
  // A member that vanished without a FIN is noticed in 20 + 5 s. Faster pings are answered with ENHANCE_YOUR_CALM.
  "grpc.keepalive_time_ms": 20_000,
  "grpc.keepalive_timeout_ms": 5_000,
  "grpc.enable_channelz": 0,
};

/** For every member's listener. */
export const listenerOptions: ChannelOptions = {
  // Requests are a URL and some numbers; nothing large ever comes in.
  "grpc.max_receive_message_length": 256 * KiB,
  "grpc.max_send_message_length": 4 * MiB,
  "grpc.enable_channelz": 0,
};
