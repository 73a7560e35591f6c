export { type AccessKey, CacheError, type ErrorCode, type MemberInfo } from "@frontcache/proto";
export { CacheClient, type ObjectStat } from "./cache-client.js";
export type { LocalReport } from "./local/local-reads.js";
export type { TlsOptions } from "./members/access.js";
export type { Evicted, EvictSelector } from "./members/ports.js";
export type { CallOptions, ConnectOptions, ReadOptions, StreamOptions } from "./options.js";
export type { ByteStream } from "./range-stream.js";
export type { WarmFailure, WarmSummary } from "./warm-count.js";
export type { WarmOptions, WarmTarget } from "./warming.js";
