export {
  type AccessKey,
  type ByteSpan,
  CacheError,
  type Completion,
  type ConflictReason,
  type ErrorCode,
  type MemberInfo,
  ValueConflict,
  type ValueEvent,
  type ValueInfo,
} from "@frontcache/proto";
export { CacheClient, type ObjectStat, type ReadRequest } from "./cache-client.js";
export type { Log, LogEntry, LogEvent } from "./client-log.js";
export type { FallbackOptions, FallbackReport } from "./fallback/fallback.js";
export type { LocalReport } from "./local/local-reads.js";
export type { TlsOptions } from "./members/access.js";
export type { Evicted, EvictSelector } from "./members/ports.js";
export type { NearDiskReport } from "./near/disk/near-disk.js";
export type { NearReport } from "./near/near-cache.js";
export type { ObjectFile } from "./object-file.js";
export type { Range } from "./object-reads.js";
export type { CallOptions, ConnectOptions, NearOptions, ReadOptions, StreamOptions } from "./options.js";
export type { ByteStream } from "./range-stream.js";
export type { Availability, FoundValue, ReadStreamOptions } from "./values/elcache-values.js";
export type { ValueClientStats } from "./values/latency-stats.js";
export type { GetValueOptions, PutValueOptions, ValueOptions } from "./values/stored-values.js";
export type { ValueLock } from "./values/value-lock.js";
export type { ValueObjects } from "./values/value-objects.js";
export type { ValueWriter } from "./values/value-writer.js";
export type { WarmFailure, WarmSummary } from "./warm-count.js";
export type { WarmOptions, WarmTarget } from "./warming.js";
export type { CopyOptions } from "./writing/copy-object.js";
export type { DeleteFailure, DeleteSummary } from "./writing/delete-objects.js";
export type { ListedObject, ListedPrefix, ListOptions } from "./writing/list-objects.js";
export type { Written } from "./writing/multipart.js";
export type { PutOptions } from "./writing/put-object.js";
export type { PutBody, PutFile } from "./writing/put-source.js";
