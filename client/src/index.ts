export { CacheError, type ErrorCode } from "@frontcache/proto";
