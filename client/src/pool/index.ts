/** A pool of values that are in memory or on a local disk, and load when somebody asks for them. */
export { CacheError, type ErrorCode } from "@frontcache/proto";
export { bytesCodec, type Codec, jsonCodec } from "./codec.js";
export type { PersistedValues } from "./persisted-values.js";
export { Pool, type PoolOptions, type PoolReport, type SaveOptions } from "./pool.js";
export type { PoolBudget } from "./pool-values.js";
export type { Loaded, LoadOptions, MutableLoaded, Pooled } from "./pooled.js";
export type { DirectoryOptions } from "./value-directory.js";
